"""Run the forward passes of an encoder: the protocol, and the runner with PyTorch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagalong.backend.models.base_models.load_options import Precision
from tagalong.backend.models.base_models.precision import weights_dtype
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.text.windows import batch_by_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ModelInputs = Mapping[str, NDArray[np.int64]]


class ModelRunner(Protocol):
    """Runs batches of windows through a model."""

    pad_to_multiple_of: int  # the length of the rows of a batch is rounded up to it
    streams: int  # batches that may run at the same time, each on the thread of its caller
    parts_per_turn: int  # of one request, that are queued together

    @property
    def name(self) -> str:
        """The library and the arithmetic, as people read them."""

    @property
    def can_use_openvino(self) -> bool:
        """Whether OpenVINO could run the model faster."""

    @property
    def memory_bytes(self) -> int:
        """Estimated memory, without what other models share; 0 if unknown."""

    def plan_batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Group windows into batches of indices, given the sub-words of each window."""

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""


class TorchRunner:
    """Runs a token classifier in evaluation mode with PyTorch, on the device of the model."""

    # PyTorch's bf16 attention makes and keeps a kernel for every shape: without rounding, they take
    # 300 MB in the long run.
    pad_to_multiple_of = 16
    streams = 1  # a second thread would start OpenMP threads that compete for the same cores
    memory_bytes = 0

    def __init__(self, model: "PreTrainedModel", *, precision: Precision = "auto") -> None:
        self.model = model
        # Larger batches are faster on a GPU only.
        self.parts_per_turn = 4 if model.device.type == "cpu" else 16
        self.set_precision(precision)

    def set_precision(self, precision: Precision) -> None:
        """Choose the arithmetic of the matrix products; ``auto`` is bf16 where it is native."""
        self.precision = precision
        # Decided once, instead of asking PyTorch for the capabilities of the CPU at each batch.
        self._is_bf16 = weights_dtype(self.model.device, precision=precision) == torch.bfloat16

    @property
    def name(self) -> str:
        """PyTorch, and its arithmetic."""
        return f"PyTorch, {'bf16' if self._is_bf16 else 'fp32'}"

    @property
    def can_use_openvino(self) -> bool:
        """Whether it runs on a CPU."""
        return self.model.device.type == "cpu"

    def plan_batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Group windows of similar length."""
        # On a CPU, 1,024 sub-words fit its caches: a tenth faster than 4,096 for 16 abstracts.
        return batch_by_length(
            lengths, max_tokens=1024 if self.model.device.type == "cpu" else 4096
        )

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""
        return self._run(batch, "logits")

    def compute_hidden_states(self, batch: ModelInputs) -> FloatArray:
        """The last hidden states of one batch: (windows, longest, width)."""
        return self._run(batch, "hidden_states", output_hidden_states=True)

    @torch.inference_mode()
    def _run(self, batch: ModelInputs, output: str, **options: Any) -> FloatArray:
        """One of the outputs of the model."""
        device = self.model.device
        tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self._is_bf16):
            value = self.model(**tensors, **options)[output]
        last: Tensor = value[-1] if isinstance(value, tuple) else value
        array: FloatArray = last.float().cpu().numpy()
        return array
