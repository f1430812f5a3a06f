"""Passes run by OpenVINO."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from backend.decode import Scores
from backend.engine.library import Arithmetic, arithmetic, capabilities, openvino, usable_cpus
from backend.forward import Batch
from ner.errors import EngineError

BATCH = 1024  # sub-words of a batch
SHAPES = 48  # that kernels are kept for: all that `plan` makes of windows of 320 sub-words
INPUTS = ("input_ids", "attention_mask")  # in the order the engine takes them


class EngineForward:
    """Runs an engine on the CPUs that this process may use.

    Args:
        path: Of the model in OpenVINO's format, and beside it its weights.
        weights: Of those.
        form: ``int8`` where its matrices are quantised, else ``plain``.
        precision: Arithmetic of the rest; None for what this CPU is good at.

    Raises:
        EngineError: If OpenVINO is not there, or cannot read it.
    """

    # The first batch of a shape takes half again as long as the next ones, and every shape that is
    # kept takes 3 MB: padding to a multiple of 8 made more of them than 2 % less of it was worth.
    multiple = 32

    def __init__(
        self, path: Path, weights: Path, *, form: str, precision: Arithmetic | None = None
    ) -> None:
        library = openvino()
        self.precision = precision or arithmetic(capabilities())
        self._form = form
        try:
            core = library.Core()
            model = core.read_model(str(path), str(weights))
            compiled = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": self.precision,
                    "INFERENCE_NUM_THREADS": usable_cpus(),
                    "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all of them
                    "ENABLE_CPU_PINNING": False,  # other processes may be on the same ones
                    "CPU_RUNTIME_CACHE_CAPACITY": SHAPES,
                },
            )
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            raise EngineError(f"the engine {path} cannot be loaded ({first})") from error
        self._turn = threading.Lock()

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
        """
        for length in range(self.multiple, longest + self.multiple, self.multiple):
            row = np.ones((1, min(length, longest)), np.int64)
            self.logits(dict.fromkeys(INPUTS, row))

    def logits(self, batch: Batch) -> Scores:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""
        with self._turn:
            found = self._request.infer([batch[name] for name in INPUTS], share_inputs=True)
            array: Scores = np.array(found[0], np.float32)
        return array
