"""How a training is to go, how it is going, and how it went."""

import math
import time
from dataclasses import dataclass, field, replace

from tagalong.backend.models.base_models.load_options import Precision

MIN_STEPS = 300  # from 24 documents of BC5CDR, 160 to 800 steps learn as much; 56 far less


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the data at most.
        least_steps: Steps that are planned at least, by more epochs where these are too few: what
            a base learns of some dozens of documents takes as many steps as of some hundreds
            (Mosbach et al. 2021, "On the Stability of Fine-tuning BERT"; Zhang et al. 2021).
        learning_rate: Peak, for the layer next to the head; None for one that suits the base.
        layer_decay: Each layer further down learns this much slower than the one above it
            (Howard & Ruder 2018, discriminative fine-tuning); 1.0 for the same rate everywhere.
        warmup: Share of all steps in which the rate grows from 0; then it falls to 0 linearly.
        dropout_from: Share of all steps before dropout begins (late dropout, Liu et al. 2023,
            "Dropout Reduces Underfitting"); 0 for dropout from the first step on.
        weight_decay: Of matrices; biases and norms have none.
        clip: Largest norm of a step's gradient.
        average: Decay of the moving average of the weights; 0 for none.
        patience: Epochs without a better dev score before stopping; they count from the first
            epoch that finds anything at all.
        batch_tokens: Padded tokens of a step on each process.
        seed: Of order, dropout and head.
        precision: `auto` is bf16 where the machine has it.
        save_every: Steps between two saved states; an epoch's end is always saved.
    """

    epochs: int = 12
    learning_rate: float | None = None
    layer_decay: float = 1.0
    warmup: float = 0.1
    dropout_from: float = 0.0
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.995
    patience: int = 3
    batch_tokens: int = 1024
    seed: int = 42
    precision: Precision = "auto"
    save_every: int = 200
    least_steps: int = 0

    def with_min_steps(self, steps_of_epoch: int) -> "Schedule":
        """The schedule for so few data that its epochs make too few steps.

        Args:
            steps_of_epoch: Optimizer steps that a pass over the data takes.

        Returns:
            The same with more epochs, and patience in proportion; or as it is, where they suffice.
        """
        epochs = math.ceil(self.least_steps / max(1, steps_of_epoch))
        if epochs <= self.epochs:
            return self
        return replace(self, epochs=epochs, patience=self.patience * epochs // self.epochs)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a training stands, told after every step and every judgement.

    Attributes:
        epoch: Of `epochs`, from 1.
        epochs: Planned at most.
        step: Of `steps`, from 1.
        steps: Planned at most.
        loss: Mean over the epoch so far.
        dev_scores: Dev score of each epoch that has ended.
        seconds_left: Until the last planned step, judging included.
        tokens_per_second: Real tokens, padding not counted, of this process.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    dev_scores: tuple[float, ...]
    seconds_left: float
    tokens_per_second: float


@dataclass(slots=True)
class TrainingHistory:
    """What came out; the model holds the best weights.

    Attributes:
        scores: Dev score of each epoch.
        losses: Mean training loss of each epoch.
        best: The epoch whose weights were kept, from 0; -1 before the first judgement.
        idle: Epochs since the score last rose.
    """

    scores: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: int = -1
    idle: int = 0


class TrainingTimer:
    """Times steps and judgements apart, to say how long the rest will take.

    Args:
        step: Steps made before it was started.
    """

    def __init__(self, step: int) -> None:
        self._first_step = self._last_step = step
        self._tokens = 0
        self._step_seconds = self._evaluation_seconds = 0.0
        self._evaluations = 0
        self._since = time.monotonic()

    def end_step(self, step: int, tokens: int) -> None:
        """A step has ended."""
        now = time.monotonic()
        self._step_seconds += now - self._since
        self._since, self._last_step = now, step
        self._tokens += tokens

    def start_evaluation(self) -> None:
        """A judgement begins."""
        self._since = time.monotonic()

    def end_evaluation(self) -> None:
        """A judgement has ended."""
        now = time.monotonic()
        self._evaluation_seconds += now - self._since
        self._evaluations += 1
        self._since = now

    @property
    def tokens_per_second(self) -> float:
        """Over all steps so far."""
        return self._tokens / self._step_seconds if self._step_seconds else 0.0

    def estimate_seconds_left(self, steps: int, *, evaluations: int) -> float:
        """Estimate for the steps and judgements to come."""
        per_step = self._step_seconds / max(1, self._last_step - self._first_step)
        per_judgement = self._evaluation_seconds / max(1, self._evaluations)
        return steps * per_step + evaluations * per_judgement
