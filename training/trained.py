"""What a training made, of either tier."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ner.document import Lost
from training.schedule import Outcome

TierT = TypeVar("TierT")
RecipeT = TypeVar("RecipeT")


@dataclass(frozen=True)  # without slots, which break generic classes in Python 3.11
class Trained(Generic[TierT, RecipeT]):
    """What a training made.

    Attributes:
        model: With the best epoch's weights.
        tokenizer: Of its base.
        tier: The same model as it serves, with its temperature.
        outcome: Score and loss of each epoch.
        recipe: With everything that was left open in it, such as the learning rate.
        lost: Training annotations that flat BIO could not hold; their words were not learnt from.
        is_main: Whether this process is the one that publishes.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    tier: TierT
    outcome: Outcome
    recipe: RecipeT
    lost: tuple[Lost, ...]
    is_main: bool
