"""Passes run by OpenVINO."""

import threading
from pathlib import Path

import numpy as np

from backend.decode import Scores
from backend.engine.library import Arithmetic, arithmetic, capabilities, openvino, usable_cpus
from backend.forward import Batch
from ner.errors import EngineError

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

    # What is in work should fit the caches: from 2048 on, larger batches took longer.
    batch_tokens = 2048
    multiple = 8

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

    def logits(self, batch: Batch) -> Scores:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""
        with self._turn:
            found = self._request.infer([batch[name] for name in INPUTS], share_inputs=True)
            array: Scores = np.array(found[0], np.float32)
        return array
