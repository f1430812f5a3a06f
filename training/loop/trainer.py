"""The training loop of both tiers: steps, weight averaging, evaluation, early stopping, resuming.

Accelerate runs it on one process or many, in fp32 or bf16. Everything random in a step is a
function of seed, process and step number, so a training that was killed and resumed ends in the
same weights as one that was not.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import get_scheduler

from tagalong.backend.models.base_models.memory import translate_memory_errors
from tagalong.backend.models.base_models.precision import bf16_autocast
from tagalong.ner.errors import TrainingError
from tagalong.training.loop.batch_sampler import LengthGroupedBatchSampler
from tagalong.training.loop.ema import ExponentialMovingAverage, copy_weights, trainable_parameters
from tagalong.training.loop.training_state import read_state, write_state
from tagalong.training.recipes.schedule import (
    Schedule,
    TrainingHistory,
    TrainingProgress,
    TrainingTimer,
)

TensorBatch = Mapping[str, Tensor]
ParameterGroups = list[dict[str, Any]]  # as optimizers take them
ProgressCallback = Callable[[TrainingProgress], None]


def create_accelerator(schedule: Schedule) -> Accelerator:
    """Join the other processes of this training, if there are any, and set its seed."""
    set_seed(schedule.seed)
    return Accelerator(
        # By default accelerate joins no processes on a machine without a GPU: each would train and
        # publish a model of its own.
        cpu=not torch.accelerator.is_available(),
        # The batch plan is already a multiple of the processes, and it knows the lengths.
        dataloader_config=DataLoaderConfiguration(even_batches=False),
    )


def create_batch_sampler(
    lengths: Sequence[int], schedule: Schedule, accelerator: Accelerator
) -> LengthGroupedBatchSampler:
    """Plan the batches of items with these lengths, for all processes."""
    return LengthGroupedBatchSampler(
        lengths,
        max_batch_tokens=schedule.batch_tokens,
        seed=schedule.seed,
        num_processes=accelerator.num_processes,
    )


def build_fused_adamw(groups: ParameterGroups) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019), one kernel for all weights."""
    return torch.optim.AdamW(groups, fused=True)


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """The part of a training that depends on its tier.

    Attributes:
        batch_sampler: The batch plan.
        collate: Makes a batch of tensors from indices of windows.
        loss: Forward pass, to the mean loss of a batch.
        score_dev: Dev score of the model in its present state; called on every process.
    """

    batch_sampler: LengthGroupedBatchSampler
    collate: Callable[[Sequence[int]], TensorBatch]
    loss: Callable[[nn.Module, TensorBatch], Tensor]
    score_dev: Callable[[], float]


class Trainer:
    """One training of one model.

    Args:
        model: Its trainable parameters are trained in place.
        task: Batches, loss and dev score.
        schedule: Duration and learning rate.
        accelerator: From `create_accelerator`.
        state_path: File of the training state, until the training is over.
        build_optimizer: Makes the optimizer from groups of parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        task: TrainingTask,
        *,
        schedule: Schedule,
        accelerator: Accelerator,
        state_path: Path,
        build_optimizer: Callable[[ParameterGroups], torch.optim.Optimizer] = build_fused_adamw,
    ) -> None:
        batch_sampler = task.batch_sampler
        schedule = schedule.with_min_steps(batch_sampler.count_steps(1))
        self._model, self._task = model, task
        self._batches, self._schedule, self._accelerator = batch_sampler, schedule, accelerator
        self._state_path = state_path
        self._history = TrainingHistory()
        self._ema = ExponentialMovingAverage(model, decay=schedule.ema_decay)
        self._best_weights = {
            name: weight.detach().clone() for name, weight in trainable_parameters(model)
        }
        self._optimizer = build_optimizer(parameter_groups(model, schedule))
        self._steps = batch_sampler.count_steps(schedule.epochs)
        self._dropout_modules = [
            module for module in model.modules() if isinstance(module, nn.Dropout)
        ]
        self._plan_fingerprint = batch_sampler.fingerprint(schedule.epochs)
        self._scheduler = get_scheduler(
            "linear", self._optimizer, int(schedule.warmup * self._steps), self._steps
        )
        loader: DataLoader[int] = DataLoader(
            range(batch_sampler.num_items),  # type: ignore[arg-type]
            batch_sampler=batch_sampler,
            collate_fn=task.collate,
        )
        self._wrapped_model, self._loader = accelerator.prepare(model, loader)
        self._step = 0  # optimizer steps over all epochs
        self._epoch_step = 0  # optimizer steps of the current epoch
        self._loss_sum = 0.0

    def run(self, *, on_progress: ProgressCallback, resume: bool = False) -> TrainingHistory:
        """Train until the last epoch, or until the dev score stops rising.

        Args:
            on_progress: Called after every step and every evaluation, on the main process.
            resume: Continue from the saved state, if there is one.

        Returns:
            The scores; the model holds the weights of the best epoch.
        """
        with translate_memory_errors(
            f"a step of {self._schedule.batch_tokens:,} tokens does not fit into memory: lower "
            "--batch-tokens or --window, or take a smaller base"
        ):
            # Of the processes that train together, one reports.
            if not self._accelerator.is_main_process:
                on_progress = _ignore_progress
            return self._run(on_progress, resume=resume)

    def _run(self, on_progress: ProgressCallback, *, resume: bool) -> TrainingHistory:
        if resume and self._state_path.is_file():
            self._load_state()
        timer = TrainingTimer(self._step)
        while not self._is_finished():
            epoch = len(self._history.dev_scores)
            for tokens in self._run_epoch(epoch):
                timer.end_step(self._step, tokens)
                on_progress(self._build_progress(epoch, timer))
            with self._ema.use_averaged_weights():
                timer.start_evaluation()
                self._end_epoch(self._task.score_dev())
                timer.end_evaluation()
            self._save_state()
            on_progress(self._build_progress(epoch, timer))
        copy_weights(dict(trainable_parameters(self._model)), self._best_weights)
        return self._history

    def _is_finished(self) -> bool:
        history = self._history
        out_of_patience = history.epochs_without_improvement >= self._schedule.patience
        return len(history.dev_scores) == self._schedule.epochs or out_of_patience

    def _run_epoch(self, epoch: int) -> Iterator[int]:
        """Make the remaining steps of an epoch; yields the number of real tokens of each."""
        self._batches.start_epoch(epoch, skip_batches=self._epoch_step)
        self._wrapped_model.train()
        for batch in self._loader:
            # At every step where a resumed training may begin, so that it draws the same numbers.
            if self._epoch_step == 0 or self._step % self._schedule.save_every == 0:
                self._reseed()
            self._update_dropout()
            with bf16_autocast(self._accelerator.device, precision=self._schedule.precision):
                loss = self._task.loss(self._wrapped_model, batch)
            self._accelerator.backward(loss)
            weights = [weight for _, weight in trainable_parameters(self._model)]
            nn.utils.clip_grad_norm_(weights, self._schedule.max_grad_norm)
            self._optimizer.step()
            self._scheduler.step()
            self._optimizer.zero_grad()
            self._ema.update()
            self._step += 1
            self._epoch_step += 1
            self._loss_sum += self._check_finite(loss.item())
            if self._step % self._schedule.save_every == 0:
                self._save_state()
            yield int(batch["attention_mask"].sum())

    def _update_dropout(self) -> None:
        """Keep dropout off until its share of the steps is over."""
        is_on = self._step >= self._schedule.dropout_start_ratio * self._steps
        for module in self._dropout_modules:
            module.training = is_on

    def _check_finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {self._step} of {self._steps}: "
                "train with a lower --learning-rate, or with --precision fp32",
                code="loss-not-finite",
            )
        return loss

    def _reseed(self) -> None:
        """Make dropout a function of the step, so that no generator state has to be saved."""
        seed = (self._schedule.seed * 1_000_003 + self._step) * 4099
        torch.manual_seed(seed + self._accelerator.process_index)

    def _end_epoch(self, score: float) -> None:
        history = self._history
        highest = max(history.dev_scores, default=0.0)
        history.losses.append(self._loss_sum / max(1, self._epoch_step))
        history.dev_scores.append(score)
        # Epochs before the first score above 0 do not use up patience.
        improved = score > highest or highest == 0
        history.epochs_without_improvement = (
            0 if improved else history.epochs_without_improvement + 1
        )
        if score >= highest:  # of equal epochs the later one: it has seen more
            history.best_epoch = len(history.dev_scores) - 1
            copy_weights(self._best_weights, self._ema.averaged_weights)
        self._epoch_step, self._loss_sum = 0, 0.0

    def _build_progress(self, epoch: int, timer: TrainingTimer) -> TrainingProgress:
        epochs, history = self._schedule.epochs, self._history
        last_loss = history.losses[-1] if history.losses else 0.0
        return TrainingProgress(
            epoch=epoch + 1,
            epochs=epochs,
            step=self._step,
            steps=self._steps,
            loss=self._loss_sum / self._epoch_step if self._epoch_step else last_loss,
            dev_scores=tuple(history.dev_scores),
            seconds_left=timer.estimate_seconds_left(
                self._steps - self._step, evaluations=epochs - len(history.dev_scores)
            ),
            tokens_per_second=timer.tokens_per_second,
        )

    def _save_state(self) -> None:
        if not self._accelerator.is_main_process:
            return
        # The keys are those of earlier releases, so that their stopped trainings resume.
        state = {
            "weights": {
                name: weight.detach() for name, weight in trainable_parameters(self._model)
            },
            "average": self._ema.state_dict(),
            "best": self._best_weights,
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "outcome": self._history.to_json(),
            "place": [self._step, self._epoch_step, self._loss_sum],
            "plan": self._plan_fingerprint,
        }
        write_state(self._state_path, state)

    def _load_state(self) -> None:
        state = read_state(self._state_path, device=self._accelerator.device)
        if state["plan"] != self._plan_fingerprint:
            raise TrainingError(
                f"the state in {self._state_path} is of a training with another number of "
                "processes or another order of documents: resume it as it was started, or train "
                "without --resume",
                code="training-state-mismatch",
            )
        copy_weights(dict(trainable_parameters(self._model)), state["weights"])
        self._ema.load_state_dict(state["average"])
        copy_weights(self._best_weights, state["best"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        self._history = TrainingHistory.from_json(state["outcome"])
        self._step, self._epoch_step, self._loss_sum = state["place"]


def _ignore_progress(_: TrainingProgress) -> None:
    pass


def parameter_groups(model: nn.Module, schedule: Schedule) -> ParameterGroups:
    """Group trainable parameters by learning rate and weight decay.

    Layers are recognized by the number after ``layer.`` or ``layers.`` in parameter names.

    Raises `TrainingError` if the schedule has no learning rate.
    """
    peak = schedule.learning_rate
    if peak is None:
        raise TrainingError(
            "the schedule has no learning rate: set one, or resolve the recipe before training",
            code="learning-rate-missing",
        )
    depths = {name: _layer_depth(name) for name, _ in trainable_parameters(model)}
    top = max((depth for depth in depths.values() if depth is not None), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trainable_parameters(model):
        depth = depths[name]
        # The head is new and learns at the full rate; the embeddings are the deepest layer.
        distance = 0 if depth is None else top - depth
        rate = peak * schedule.layer_decay**distance
        decay = schedule.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    return [
        {"params": weights, "lr": rate, "weight_decay": decay}
        for (rate, decay), weights in groups.items()
    ]


def _layer_depth(name: str) -> int | None:
    """Distance of a parameter from the input: embeddings 0, first layer 1; None for the head."""
    parts = name.split(".")
    if any("embed" in part for part in parts):
        return 0
    for part, following in pairwise(parts):
        if part in ("layer", "layers") and following.isdigit():
            return 1 + int(following)
    return None
