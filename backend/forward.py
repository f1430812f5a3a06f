"""Where an encoder's passes are run: what all ways have in common, and the one with PyTorch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.precision import Precision, half_precision, weights_type
from backend.viterbi import Scores
from backend.window_encoder import batch_by_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, NDArray[np.int64]]


class Forward(Protocol):
    """Runs batches of windows through a model."""

    @property
    def name(self) -> str:
        """What runs it, and in which arithmetic, in words."""

    def plan(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Which windows to run together, given their sub-words: batches of their places."""

    @property
    def multiple(self) -> int:
        """What the rows of a batch are padded to a multiple of."""

    @property
    def lanes(self) -> int:
        """Batches that it can run at the same time, each on the thread of who asks."""

    @property
    def portion(self) -> int:
        """Documents of one request that take a turn together."""

    def logits(self, batch: Batch) -> Scores:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""


class TorchForward:
    """Runs a model where it is, with PyTorch.

    Args:
        model: A token classifier on its device, in the mode it is to be served in.
        precision: Arithmetic of the matrix products; ``auto`` is bf16 where it is native.
    """

    # A kernel is made and kept for every shape that comes, by PyTorch's bf16 attention without
    # end: 300 MB in the long run, and some time.
    multiple = 16
    lanes = 1  # a second thread would bring threads of its own, and all would share the same cores
    portion = 16

    def __init__(self, model: "PreTrainedModel", *, precision: Precision = "auto") -> None:
        self.model = model
        self.precision = precision

    @property
    def name(self) -> str:
        """PyTorch, and its arithmetic."""
        wanted = weights_type(self.model.device, wanted=self.precision)
        return f"PyTorch, {'bf16' if wanted == torch.bfloat16 else 'fp32'}"

    def plan(self, lengths: Sequence[int]) -> Iterable[Sequence[int]]:
        """Which windows to run together: those of similar length, 1,024 padded sub-words on a CPU.

        What is in work should fit its caches: that took a tenth less time for 16 abstracts than
        4,096, and less memory. A GPU wants more at once.
        """
        return batch_by_length(lengths, budget=1024 if self.model.device.type == "cpu" else 4096)

    def logits(self, batch: Batch) -> Scores:
        """Run one batch, as `WindowEncoder.pad` makes it: (windows, longest, tags)."""
        return self._run(batch, "logits")

    def hidden(self, batch: Batch) -> Scores:
        """The last hidden states of one batch: (windows, longest, width)."""
        return self._run(batch, "hidden_states", output_hidden_states=True)

    @torch.inference_mode()
    def _run(self, batch: Batch, what: str, **options: Any) -> Scores:
        """One of the things that the model gives."""
        device = self.model.device
        tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
        with half_precision(device, wanted=self.precision):
            found = self.model(**tensors, **options)[what]
        last: Tensor = found[-1] if isinstance(found, tuple) else found
        array: Scores = last.float().cpu().numpy()
        return array
