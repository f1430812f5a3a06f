"""Passes run by OpenVINO."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from backend.engine.crowd import Crowd
from backend.engine.library import (
    Arithmetic,
    arithmetic,
    capabilities,
    cause,
    openvino,
    usable_cpus,
)
from backend.forward import Batch
from backend.viterbi import Scores
from ner.errors import EngineError

BATCH = 1024  # sub-words of a batch
SHAPES = 512  # of batches, whose kernels each kind of layer keeps: 40 MB more than 48 of them
INPUTS = ("input_ids", "attention_mask")  # in the order the engine takes them
MOST_LANES = 8  # with more CPUs, each lane gets several
PAYS_AFTER = 64  # batches in a crowd, before lanes are made for them

log = logging.getLogger(__name__)


class EngineForward:
    """Runs an engine on the CPUs that this process may use.

    One batch at a time on all of them is soonest done, but for that they wait for each other at
    every layer, and while Python works on one of them, for that. So once many come at the same
    time, each is run by itself on one CPU: a quarter more of them in as much time. The lanes for
    that take some hundred megabytes, and are made when they are first needed.

    Args:
        path: Of the model in OpenVINO's format.
        weights: Of its weights.
        form: ``int8`` where its matrices are quantised, else ``plain``.
        precision: Arithmetic of the rest; None for what this CPU is good at.

    Attributes:
        lanes: Batches that run at the same time when many come.
        precision: Arithmetic of what is not quantised.

    Raises:
        EngineError: If OpenVINO is not there, or cannot read it.
    """

    # The first batch of a shape takes half again as long as the next ones, and every shape that is
    # kept takes 3 MB: padding to a multiple of 8 made more of them than 2 % less of it was worth.
    multiple = 32
    portion = 1

    def __init__(
        self, path: Path, weights: Path, *, form: str, precision: Arithmetic | None = None
    ) -> None:
        core = openvino().Core()
        self.precision = precision or arithmetic(capabilities())
        self.lanes = min(usable_cpus(), MOST_LANES)
        self._path, self._form = path, form
        try:  # once, into memory: whatever becomes of the files, what runs is what was checked
            core.set_property({"ENABLE_MMAP": False})
            self._model = core.read_model(str(path), str(weights))
        except RuntimeError as error:
            raise EngineError(f"the engine {path} cannot be read ({cause(error)})") from error
        (self._alone,) = self._ready(streams=1)
        self._turn = threading.Lock()
        self._crowd = Crowd(self.lanes)
        self._free: SimpleQueue[Any] | None = None  # lanes
        self._widening: threading.Thread | None = None

    @property
    def name(self) -> str:
        """OpenVINO, and its arithmetic."""
        precision = {"bf16": "bf16", "f32": "fp32"}[self.precision]
        return f"OpenVINO, {'int8 and ' if self._form == 'int8' else ''}{precision}"

    def plan(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Which windows to run together: only those that are padded to the same length.

        One row by itself runs nearly as fast as many, so nothing is worth more padding; beyond a
        thousand sub-words, more took as long; and rows are 1, 2, 4, ..., so that shapes recur.
        """
        alike: dict[int, list[int]] = {}
        for place, length in enumerate(lengths):
            alike.setdefault(length + -length % self.multiple, []).append(place)
        for length, places in sorted(alike.items()):
            first = 0
            while first < len(places):
                most = max(1, min(len(places) - first, BATCH // length))
                rows = 1 << (most.bit_length() - 1)
                yield places[first : first + rows]
                first += rows

    def warm_up(self, longest: int) -> None:
        """Make the kernels for one text at a time, so that nobody waits for them.

        Args:
            longest: Sub-words that a row has at most.

        Raises:
            EngineError: If it cannot be run.
        """
        try:
            for length in range(self.multiple, longest + self.multiple, self.multiple):
                row = np.ones((1, min(length, longest)), np.int64)
                self.logits(dict.fromkeys(INPUTS, row))
        except RuntimeError as error:
            raise EngineError(f"the engine {self._path} cannot be run ({cause(error)})") from error

    def logits(self, batch: Batch) -> Scores:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags).

        Any number of threads may ask at once.
        """
        with self._crowd.joined() as is_crowd:
            if is_crowd and self._free is None:
                self._consider_widening()
            with self._lane(wide=is_crowd) as request:
                found = request.infer([batch[name] for name in INPUTS], share_inputs=True)
                array: Scores = np.array(found[0], np.float32)
        return array

    @contextmanager
    def _lane(self, *, wide: bool) -> Iterator[Any]:
        """What to run a batch with: all CPUs, or one of the lanes."""
        free = self._free if wide else None
        if free is None:
            with self._turn:
                yield self._alone
            return
        request = free.get()
        try:
            yield request
        finally:
            free.put(request)

    def _consider_widening(self) -> None:
        """Have lanes made, beside the passes, once it is worth it."""
        if self._crowd.batches < PAYS_AFTER:
            return
        with self._crowd.lock:
            if self._widening is not None:
                return
            # No daemon: the library ends a process in which it is interrupted.
            self._widening = threading.Thread(target=self.widen, name="engine-lanes")
        self._widening.start()

    def widen(self) -> None:
        """Make the lanes; where that fails, all goes on as it was."""
        try:
            free: SimpleQueue[Any] = SimpleQueue()
            for request in self._ready(streams=self.lanes):
                free.put(request)
        except (EngineError, MemoryError) as error:
            log.warning("many batches at once are run one after the other: %s", error)
            return
        self._free = free

    def _ready(self, *, streams: int) -> list[Any]:
        """What to run so many batches at once with, one each."""
        try:
            compiled = (
                openvino()
                .Core()
                .compile_model(
                    self._model,
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": self.precision,
                        "INFERENCE_NUM_THREADS": usable_cpus(),
                        "NUM_STREAMS": streams,
                        "ENABLE_CPU_PINNING": False,  # other processes may be on the same ones
                        "CPU_RUNTIME_CACHE_CAPACITY": SHAPES,
                    },
                )
            )
            return [compiled.create_infer_request() for _ in range(streams)]
        except RuntimeError as error:
            raise EngineError(
                f"the engine {self._path} cannot be loaded ({cause(error)})"
            ) from error
