"""Where an encoder's passes are run: what all ways have in common, and the one with PyTorch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagalong.backend.models.base_models.load_options import Precision
from tagalong.backend.models.base_models.precision import bf16_autocast, weights_dtype
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.text.window_encoder import batch_by_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ModelInputs = Mapping[str, NDArray[np.int64]]


class ModelRunner(Protocol):
    """Runs batches of windows through a model."""

    @property
    def name(self) -> str:
        """What runs it, and in which arithmetic, in words."""

    @property
    def can_use_openvino(self) -> bool:
        """Whether OpenVINO could run the model faster."""

    def plan_batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Which windows to run together, given their sub-words: batches of their places."""

    @property
    def pad_to_multiple_of(self) -> int:
        """What the rows of a batch are padded to a multiple of."""

    @property
    def streams(self) -> int:
        """Batches that it can run at the same time, each on the thread of who asks."""

    @property
    def documents_per_request_chunk(self) -> int:
        """Documents of one request that take a turn together."""

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""


class TorchRunner:
    """Runs a model where it is, with PyTorch.

    Args:
        model: A token classifier on its device, in the mode it is to be served in.
        precision: Arithmetic of the matrix products; ``auto`` is bf16 where it is native.
    """

    # A kernel is made and kept for every shape that comes, by PyTorch's bf16 attention without
    # end: 300 MB in the long run, and some time.
    pad_to_multiple_of = 16
    streams = (
        1  # a second thread would bring threads of its own, and all would share the same cores
    )
    documents_per_request_chunk = 16

    def __init__(self, model: "PreTrainedModel", *, precision: Precision = "auto") -> None:
        self.model = model
        self.precision = precision

    @property
    def name(self) -> str:
        """PyTorch, and its arithmetic."""
        wanted = weights_dtype(self.model.device, precision=self.precision)
        return f"PyTorch, {'bf16' if wanted == torch.bfloat16 else 'fp32'}"

    @property
    def can_use_openvino(self) -> bool:
        """Whether it runs on a CPU."""
        return self.model.device.type == "cpu"

    def plan_batches(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Which windows to run together: those of similar length, 1,024 padded sub-words on a CPU.

        What is in work should fit its caches: that took a tenth less time for 16 abstracts than
        4,096, and less memory. A GPU wants more at once.
        """
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
    def _run(self, batch: ModelInputs, what: str, **options: Any) -> FloatArray:
        """One of the things that the model gives."""
        device = self.model.device
        tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
        with bf16_autocast(device, precision=self.precision):
            found = self.model(**tensors, **options)[what]
        last: Tensor = found[-1] if isinstance(found, tuple) else found
        array: FloatArray = last.float().cpu().numpy()
        return array
