"""What a server says of an LLM before one is loaded: how weights are kept, and who drafts for it.

Nothing here needs the libraries that run one.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from tagalong.ner.document import Document, Prediction

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WeightsMode = Literal["merged", "adapter", "nf4"]
Drafter = Callable[[Sequence[Document]], Sequence[Prediction]]


class BaseModelCache:
    """The base under the versions that a server loads: read once, shared by the adapters on it."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._model: PreTrainedModel | None = None

    def get_model(
        self, key: tuple[object, ...], load: "Callable[[], PreTrainedModel]"
    ) -> "PreTrainedModel":
        """A base to put an adapter on.

        Args:
            key: What tells bases, and ways to keep them, apart.
            load: Reads it.

        Returns:
            Modules of its own around the tensors that are there already: another adapter on them
            answers while this one is loaded, and neither knows of the other.
        """
        if self._model is None or key != self._key:
            self._model, self._key = load(), key
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return copy.deepcopy(self._model, {id(tensor): tensor for tensor in tensors})
