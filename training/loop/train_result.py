"""What a training made, of either tier."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.ner.document import DroppedAnnotation
from tagalong.training.recipes.schedule import TrainingHistory

TierT = TypeVar("TierT")
RecipeT = TypeVar("RecipeT")


@dataclass(frozen=True)  # without slots, which break generic classes in Python 3.11
class TrainResult(Generic[TierT, RecipeT]):
    """What a training made.

    Attributes:
        model: With the best epoch's weights.
        tokenizer: Of its base.
        tier: The same model as it serves, with its temperature.
        history: Score and loss of each epoch.
        recipe: With everything that was left open in it, such as the learning rate.
        dropped: Training annotations that flat BIO could not hold; their words were not learnt from.
        is_main_process: Whether this process is the one that publishes.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    tier: TierT
    history: TrainingHistory
    recipe: RecipeT
    dropped: tuple[DroppedAnnotation, ...]
    is_main_process: bool
