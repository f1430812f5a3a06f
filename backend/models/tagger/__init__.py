"""The interface of taggers: loaded versions of any tier."""

import operator
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from statistics import median
from typing import Any

from tagalong.ner.document import Document, Prediction

MEASURED_RUNS = 9  # their median ignores a pause of the machine


@dataclass(frozen=True, slots=True)
class DecodingStats:
    """Counts of the work that decoding takes, which add up over documents."""

    documents: int = 0
    passes: int = 0  # model calls in sequence, summed over windows
    slots: int = 0  # words tagged
    tokens: int = 0  # run through the model, without padding and the shared prefix
    accepted: int = 0  # slots whose drafted tag was right

    def __add__(self, other: "DecodingStats") -> "DecodingStats":
        return DecodingStats(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: "DecodingStats") -> "DecodingStats":
        return DecodingStats(*map(operator.sub, astuple(self), astuple(other)))

    def to_json(self) -> dict[str, int]:
        """The counts under the names that reports and Prometheus series have always used."""
        counts = asdict(self)
        counts["agreed"] = counts.pop("accepted")
        return counts


class ThroughputEstimate:
    """Characters per second: the median of the latest runs that were long enough to measure it."""

    def __init__(self, *, min_characters: int = 0, min_seconds: float = 0.0) -> None:
        self._min_characters, self._min_seconds = min_characters, min_seconds
        self._seconds_per_character: deque[float] = deque(maxlen=MEASURED_RUNS)
        self._lock, self._active_runs = threading.Lock(), 0

    @contextmanager
    def measure(self, characters: int) -> Iterator[None]:
        """Measure one run; runs at the same time share the time."""
        with self._lock:
            self._active_runs += 1
            runs = self._active_runs
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                runs = max(runs, self._active_runs)
                self._active_runs -= 1
        self.update(characters, (time.perf_counter() - start) / runs)

    def update(self, characters: int, seconds: float, *, reset: bool = False) -> None:
        """Add a measurement; `reset` takes it alone, however short it was."""
        is_long = characters >= self._min_characters and seconds >= self._min_seconds
        with self._lock:
            if reset:
                self._seconds_per_character.clear()
            if characters and (reset or is_long):
                self._seconds_per_character.append(seconds / characters)

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document takes; empty before the first measurement."""
        with self._lock:
            if not self._seconds_per_character:
                return []
            seconds_per_character = median(self._seconds_per_character)
        return [seconds_per_character * len(document.text) for document in documents]


class DocumentTagger(ABC):
    """Finds entities in documents.

    A subclass needs `predict`, and overrides all or none of `encode`, `split`, `run` and `decode`.
    The server calls `run` on a thread of the tagger, and the others on the thread of a request.
    """

    version: str  # named in every prediction
    labels: tuple[str, ...]  # that it can find, in the order of the labelling config
    streams: int = 1  # calls of `run` that may be in progress at the same time
    parts_per_turn: int = 4  # of one request, that are queued together
    runtime_name: str = "PyTorch"  # the library and the arithmetic, as people read them
    can_use_openvino: bool = False  # whether PyTorch runs it on a CPU, where OpenVINO is faster
    decoding_stats: DecodingStats | None = None  # of all its work; None where it is not counted

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of this version, without what loaded ones share; 0 if unknown."""
        return 0

    @abstractmethod
    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included."""

    def encode(self, documents: Sequence[Document]) -> Sequence[Any]:
        """Prepare each document for `run`."""
        return documents

    def split(self, encoded: Any) -> Sequence[Any]:
        """Split one encoded document into parts of about an abstract, at least one."""
        return [encoded]

    def run(self, parts: Sequence[Any]) -> list[Any]:
        """Run the model on encoded documents or their parts, which may be of several requests."""
        return self.predict(parts)

    def decode(self, encoded: Any, outputs: Sequence[Any]) -> Prediction:  # noqa: ARG002
        """Make the prediction of one document from what `run` returned for its parts, in order."""
        (prediction,) = outputs
        return prediction

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:  # noqa: ARG002
        """Seconds that each document takes without other work; empty where nothing is known."""
        return []

    def config_to_json(self) -> Mapping[str, Any]:
        """Settings that the manifest keeps beside the recipe."""
        return {}

    def calibration_to_json(self) -> Mapping[str, Any]:
        """Values fitted on dev, for the manifest."""
        return {}

    def warm_up(self) -> None:  # noqa: B027 (most taggers need none)
        """Prepare for the first request; called once, after loading."""
