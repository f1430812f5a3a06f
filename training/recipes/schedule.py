"""Duration and learning rate of a training, its progress, and its scores."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any, Literal, Self

from tagalong.backend.models.base_models.load_options import Precision

MIN_STEPS = 300  # from 24 documents of BC5CDR, 160 to 800 steps learn the same; 56 far less
HISTORY_KEYS = ("scores", "losses", "best", "idle")  # of states that earlier releases saved


@dataclass(frozen=True, slots=True)
class Schedule:
    """Duration and learning rate."""

    epochs: int = 12  # maximum passes over the data
    # Peak, for the layer next to the head; None for one that suits the base.
    learning_rate: float | None = None
    # From each layer to the one below it (Howard & Ruder 2018, discriminative fine-tuning).
    layer_decay: float = 1.0
    warmup: float = 0.1  # share of all steps in which the rate grows from 0; then it falls to 0
    # Share of all steps before dropout begins (late dropout, Liu et al. 2023, "Dropout Reduces
    # Underfitting").
    dropout_start_ratio: float = field(default=0.0, metadata={"key": "dropout_from"})
    weight_decay: float = 0.01  # of matrices; biases and norms have none
    max_grad_norm: float = field(default=1.0, metadata={"key": "clip"})
    # Of the moving average of the weights; 0 for none.
    ema_decay: float = field(default=0.995, metadata={"key": "average"})
    patience: int = 3  # epochs without a better dev score, from the first score above 0 on
    batch_tokens: int = 1024  # padded tokens of a step on each process
    seed: int = 42  # of order, dropout and head
    precision: Precision = "auto"  # bf16 where the machine has it
    save_every: int = 200  # steps; the end of an epoch is always saved
    # Planned steps; epochs are added to reach them. A base needs as many steps for some dozens of
    # documents as for some hundreds (Mosbach et al. 2021, "On the Stability of Fine-tuning BERT";
    # Zhang et al. 2021).
    min_steps: int = field(default=0, metadata={"key": "least_steps"})

    def extend_to_min_steps(self, steps_per_epoch: int) -> "Schedule":
        """Add epochs until there are `min_steps` steps, and patience in proportion."""
        epochs = math.ceil(self.min_steps / max(1, steps_per_epoch))
        if epochs <= self.epochs:
            return self
        return replace(self, epochs=epochs, patience=self.patience * epochs // self.epochs)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a training, reported after every step and every evaluation."""

    epoch: int  # from 1
    epochs: int  # at most
    step: int  # from 1, over all epochs
    steps: int  # at most
    loss: float  # mean over the epoch so far
    dev_scores: tuple[float, ...]  # of each finished epoch
    seconds_left: float  # until the last planned step, evaluations included
    tokens_per_second: float  # real tokens, without padding, on this process
    fold: int = 1  # of a cross-validation, from 1
    folds: int = 1  # 1 for a single training


@dataclass(slots=True)
class TrainingHistory:
    """Scores of a training; its model has the weights of the best epoch."""

    dev_scores: list[float] = field(default_factory=list)  # of each epoch
    losses: list[float] = field(default_factory=list)  # mean training loss of each epoch
    best_epoch: int = -1  # from 0; -1 before the first evaluation
    epochs_without_improvement: int = 0  # since the score last rose

    def to_json(self) -> dict[str, Any]:
        """Plain values, under the keys of `HISTORY_KEYS`."""
        return dict(zip(HISTORY_KEYS, astuple(self), strict=True))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(*(value[key] for key in HISTORY_KEYS))


class TrainingTimer:
    """Times steps and evaluations separately, to estimate the time left."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        self._tokens = 0
        self._since = time.monotonic()

    def end(self, phase: Literal["step", "evaluation"], *, tokens: int = 0) -> None:
        """Record the end of a step or an evaluation."""
        now = time.monotonic()
        self._seconds[phase] += now - self._since
        self._counts[phase] += 1
        self._tokens += tokens
        self._since = now

    @property
    def tokens_per_second(self) -> float:
        """Mean over all steps so far."""
        return self._tokens / self._seconds["step"] if self._tokens else 0.0

    def estimate_seconds_left(self, *, steps: int, evaluations: int) -> float:
        """Estimate the time of the remaining steps and evaluations."""
        rates = {phase: self._seconds[phase] / count for phase, count in self._counts.items()}
        return steps * rates.get("step", 0.0) + evaluations * rates.get("evaluation", 0.0)
