"""The result of a training, of either tier."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.backend.models.tier import Tier
from tagalong.ner.document import DroppedAnnotation
from tagalong.training.recipes.schedule import TrainingHistory

TierT = TypeVar("TierT", bound=Tier)
RecipeT = TypeVar("RecipeT")


@dataclass(frozen=True)  # without slots, which break generic classes in Python 3.11
class TrainResult(Generic[TierT, RecipeT]):
    """The result of a training.

    Attributes:
        model: With the weights of the best epoch.
        tokenizer: Tokenizer of the base.
        tier: The model in serving form, with its fitted temperature.
        history: Score and loss of each epoch.
        recipe: With all open settings filled in, such as the learning rate.
        dropped: Training annotations that flat BIO cannot represent; their words were masked.
        is_main_process: Whether this process publishes.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    tier: TierT
    history: TrainingHistory
    recipe: RecipeT
    dropped: tuple[DroppedAnnotation, ...]
    is_main_process: bool


AnyTrainResult = TrainResult[Any, Any]
