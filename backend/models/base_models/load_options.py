"""Options for loading a version, and the cache of the base model under several adapters.

Nothing here imports the libraries that run a model.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from tagalong.ner.document import Document, Prediction

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Precision = Literal["auto", "bf16", "fp32"]
WeightsMode = Literal["merged", "adapter", "nf4"]
Drafter = Callable[[Sequence[Document]], Sequence[Prediction]]


class BaseModelCache:
    """The last base model that was read, shared by the adapters on it."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._model: PreTrainedModel | None = None

    def get_model(
        self, key: tuple[object, ...], load: "Callable[[], PreTrainedModel]"
    ) -> "PreTrainedModel":
        """A base model to put an adapter on: new modules around the cached tensors."""
        if self._model is None or key != self._key:
            self._model, self._key = load(), key
        # An adapter changes its modules, and another adapter on these tensors may be answering now.
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return copy.deepcopy(self._model, {id(tensor): tensor for tensor in tensors})


class LoadOptions(TypedDict, total=False):
    """How to load a version; a tier ignores the options of others."""

    device: "torch.device | None"  # the first GPU by default, else the CPU
    use_openvino: bool  # on a CPU, where the compiled model of an encoder is cached
    precision: Precision | None  # of an encoder's arithmetic; by default that of its training
    drafter: Drafter | None  # for an LLM to verify; by default every word is drafted as O
    # An LLM's adapter is merged into its base model, or beside a base model of full precision or of
    # 4 bits. By default it is in 4 bits where it was trained so, else merged.
    weights_mode: WeightsMode | None
    base_model_cache: BaseModelCache  # may hold the base model of an LLM already
