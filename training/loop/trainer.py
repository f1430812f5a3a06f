"""The training loop that both tiers share: steps, averaging, judging, early stopping, resuming.

Accelerate runs it on one process or many, in fp32 or bf16. Everything random in a step is a
function of the seed, the process and the step's number, so a training that was killed and resumed
ends in the very weights it would have had.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
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
ParameterGroups = list[dict[str, Any]]  # of parameters, as optimizers take them


def create_accelerator(schedule: Schedule) -> Accelerator:
    """Join the other processes, if there are any.

    Args:
        schedule: Its seed is used.

    Returns:
        The accelerator, with the seed set.
    """
    set_seed(schedule.seed)
    return Accelerator(
        # Unless told so, accelerate joins no processes on a machine that has only a CPU: each would
        # train a model of its own and publish it.
        cpu=not torch.accelerator.is_available(),
        # The plan makes the number of batches even: it knows about lengths, accelerate does not.
        dataloader_config=DataLoaderConfiguration(even_batches=False),
    )


def build_fused_adamw(groups: ParameterGroups) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019), one kernel for all weights.

    Args:
        groups: Of parameters.

    Returns:
        The optimizer.
    """
    return torch.optim.AdamW(groups, fused=True)


class Trainer:
    """One training of one model.

    Args:
        model: Its trainable parameters are trained in place.
        batch_sampler: The plan.
        collate: Indices to a batch of tensors.
        loss: A forward pass: the mean loss of a batch.
        score_dev: Dev score of the model as it is when called; called on every process.
        schedule: How long and how fast.
        accelerator: As `create_accelerator` gives it.
        state_path: The file the state is kept in until the training is over.
        build_optimizer: Makes the optimizer of groups of parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        batch_sampler: LengthGroupedBatchSampler,
        collate: Callable[[Sequence[int]], TensorBatch],
        loss: Callable[[nn.Module, TensorBatch], Tensor],
        score_dev: Callable[[], float],
        schedule: Schedule,
        accelerator: Accelerator,
        state_path: Path,
        build_optimizer: Callable[[ParameterGroups], torch.optim.Optimizer] = build_fused_adamw,
    ) -> None:
        self._model, self._loss, self._score_dev = model, loss, score_dev
        schedule = schedule.with_min_steps(batch_sampler.count_steps(1))
        self._batches, self._schedule, self._accelerator = batch_sampler, schedule, accelerator
        self._state_path = state_path
        self._outcome = TrainingHistory()
        self._average = ExponentialMovingAverage(model, decay=schedule.average)
        self._best = {name: weight.detach().clone() for name, weight in trainable_parameters(model)}
        self._optimizer = build_optimizer(parameter_groups(model, schedule))
        self._steps = batch_sampler.count_steps(schedule.epochs)
        self._dropout_modules = [
            module for module in model.modules() if isinstance(module, nn.Dropout)
        ]
        self._plan = batch_sampler.fingerprint(schedule.epochs)
        self._scheduler = get_scheduler(
            "linear", self._optimizer, int(schedule.warmup * self._steps), self._steps
        )
        loader: DataLoader[int] = DataLoader(
            range(batch_sampler.num_items),  # type: ignore[arg-type]
            batch_sampler=batch_sampler,
            collate_fn=collate,
        )
        self._wrapped_model, self._loader = accelerator.prepare(model, loader)
        self._step = 0  # optimizer steps made, of all epochs
        self._epoch_step = 0  # of the epoch under way
        self._loss_sum = 0.0

    def run(
        self, *, on_progress: Callable[[TrainingProgress], None], resume: bool = False
    ) -> TrainingHistory:
        """Train until the last epoch, or until nothing gets better.

        Args:
            on_progress: Told after every step and every judgement.
            resume: Go on from the saved state, where there is one.

        Returns:
            The outcome; the model holds the best epoch's weights.
        """
        with translate_memory_errors(
            f"a step of {self._schedule.batch_tokens:,} tokens does not fit into memory: lower "
            "--batch-tokens or --window, or take a smaller base"
        ):
            return self._run(on_progress, resume=resume)

    def _run(self, report: Callable[[TrainingProgress], None], *, resume: bool) -> TrainingHistory:
        """Train; memory may not suffice."""
        if resume and self._state_path.is_file():
            self._load_state()
        watch = TrainingTimer(self._step)
        while not self._is_finished():
            epoch = len(self._outcome.scores)
            for tokens in self._run_epoch(epoch):
                watch.end_step(self._step, tokens)
                report(self._build_progress(epoch, watch))
            with self._average.use_averaged_weights():
                watch.start_evaluation()
                self._end_epoch(self._score_dev())
                watch.end_evaluation()
            self._save_state()
            report(self._build_progress(epoch, watch))
        copy_weights(dict(trainable_parameters(self._model)), self._best)
        return self._outcome

    def _is_finished(self) -> bool:
        """Whether there is no epoch to come."""
        enough = len(self._outcome.scores) == self._schedule.epochs
        return enough or self._outcome.idle >= self._schedule.patience

    def _run_epoch(self, epoch: int) -> Iterator[int]:
        """Make the steps that are left of an epoch, and yield each one's number of real tokens."""
        self._batches.set_epoch(epoch, skip_batches=self._epoch_step)
        self._wrapped_model.train()
        for batch in self._loader:
            if self._epoch_step == 0 or self._step % self._schedule.save_every == 0:
                self._reseed()  # wherever a state may have been saved
            self._update_dropout()
            with bf16_autocast(self._accelerator.device, precision=self._schedule.precision):
                loss = self._loss(self._wrapped_model, batch)
            self._accelerator.backward(loss)
            weights = [weight for _, weight in trainable_parameters(self._model)]
            nn.utils.clip_grad_norm_(weights, self._schedule.clip)
            self._optimizer.step()
            self._scheduler.step()
            self._optimizer.zero_grad()
            self._average.update()
            self._step += 1
            self._epoch_step += 1
            self._loss_sum += self._check_finite(loss.item())
            if self._step % self._schedule.save_every == 0:
                self._save_state()
            yield int(batch["attention_mask"].sum())

    def _update_dropout(self) -> None:
        """Leave dropout out until its share of the steps is over."""
        is_on = self._step >= self._schedule.dropout_from * self._steps
        for module in self._dropout_modules:
            module.training = is_on

    def _check_finite(self, loss: float) -> float:
        """The loss itself, or an error where training has gone astray for good."""
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {self._step} of {self._steps}: "
                "train with a lower --learning-rate, or with --precision fp32"
            )
        return loss

    def _reseed(self) -> None:
        """Make dropout a function of where the training stands: no generator state to be saved."""
        seed = (self._schedule.seed * 1_000_003 + self._step) * 4099
        torch.manual_seed(seed + self._accelerator.process_index)

    def _end_epoch(self, score: float) -> None:
        """Close the epoch with its dev score."""
        outcome = self._outcome
        outcome.losses.append(self._loss_sum / max(1, self._epoch_step))
        outcome.scores.append(score)
        highest = max(outcome.scores[:-1], default=0.0)
        outcome.idle = 0 if score > highest or highest == 0 else outcome.idle + 1
        if score >= highest:  # of equals the later one: it has seen more
            outcome.best = len(outcome.scores) - 1
            copy_weights(self._best, self._average.averaged_weights)
        self._epoch_step, self._loss_sum = 0, 0.0

    def _build_progress(self, epoch: int, watch: TrainingTimer) -> TrainingProgress:
        """Where the training stands."""
        epochs = self._schedule.epochs
        left = epochs - len(self._outcome.scores)
        last = self._outcome.losses[-1:] or [0.0]
        return TrainingProgress(
            epoch=epoch + 1,
            epochs=epochs,
            step=self._step,
            steps=self._steps,
            loss=self._loss_sum / self._epoch_step if self._epoch_step else last[0],
            dev_scores=tuple(self._outcome.scores),
            seconds_left=watch.estimate_seconds_left(self._steps - self._step, evaluations=left),
            tokens_per_second=watch.tokens_per_second,
        )

    def _save_state(self) -> None:
        """Write the state, whole or not at all."""
        if not self._accelerator.is_main_process:
            return
        state = {
            "weights": {
                name: weight.detach() for name, weight in trainable_parameters(self._model)
            },
            "average": self._average.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "outcome": asdict(self._outcome),
            "place": [self._step, self._epoch_step, self._loss_sum],
            "plan": self._plan,
        }
        write_state(self._state_path, state)

    def _load_state(self) -> None:
        """Go on from a saved state."""
        state = read_state(self._state_path, device=self._accelerator.device)
        if state["plan"] != self._plan:
            raise TrainingError(
                f"the training in {self._state_path} was stopped on other processes or with its "
                "documents in another order: resume it as it was started, or leave out --resume"
            )
        copy_weights(dict(trainable_parameters(self._model)), state["weights"])
        self._average.load_state_dict(state["average"])
        copy_weights(self._best, state["best"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        self._outcome = TrainingHistory(**state["outcome"])
        self._step, self._epoch_step, self._loss_sum = state["place"]


def parameter_groups(model: nn.Module, schedule: Schedule) -> ParameterGroups:
    """Group trainable parameters by learning rate and weight decay.

    Args:
        model: Layers are told by the number after ``layer.`` or ``layers.`` in their names.
        schedule: Its learning_rate, layer_decay and weight_decay are used.

    Returns:
        Groups as PyTorch's optimizers take them.

    Raises:
        TrainingError: If the schedule leaves the learning rate open.
    """
    peak = schedule.learning_rate
    if peak is None:
        raise TrainingError("the schedule has no learning rate: set one, or let the tier choose")
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
    """How far a parameter is from the input: embeddings 0, first layer 1; None for the head."""
    parts = name.split(".")
    if any("embed" in part for part in parts):
        return 0
    for part, following in pairwise(parts):
        if part in ("layer", "layers") and following.isdigit():
            return 1 + int(following)
    return None
