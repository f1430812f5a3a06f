"""The loop of every training in PyTorch: steps, averages, evaluation, early stopping, resuming.

Accelerate runs it on one process or many, in fp32 or bf16. Everything random in a step is a
function of seed, process and step number. So a resumed training ends in the same weights as an
uninterrupted one.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from tagalong.backend.models.base_models.memory import translate_memory_errors
from tagalong.backend.models.base_models.precision import bf16_autocast
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.errors import TrainingError
from tagalong.training.loop.batch_plan import plan_epoch_batches
from tagalong.training.loop.ema import ExponentialMovingAverage, copy_weights, trainable_parameters
from tagalong.training.loop.optimizers import OptimizerBuilder, build_fused_adamw, parameter_groups
from tagalong.training.loop.training_state import read_state, write_state
from tagalong.training.recipes.recipe import RecipeT
from tagalong.training.recipes.schedule import (
    Schedule,
    TrainingHistory,
    TrainingProgress,
    TrainingTimer,
)

TensorBatch = Mapping[str, Tensor]
ProgressCallback = Callable[[TrainingProgress], None]
TaggerT = TypeVar("TaggerT", bound=DocumentTagger)


@dataclass(frozen=True)  # without slots, which break generic classes in Python 3.11
class TrainResult(Generic[TaggerT, RecipeT]):
    """The result of a training."""

    tagger: TaggerT  # the model of the best epoch in serving form, with its fitted temperature
    history: TrainingHistory
    recipe: RecipeT  # with all open settings filled in, such as the learning rate
    dropped: tuple[DroppedAnnotation, ...]  # flat BIO cannot represent them; words were masked
    is_main_process: bool  # which publishes
    save: Callable[[Path], None]  # writes the files of the version to an empty folder


AnyTrainResult = TrainResult[Any, Any]


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


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """The part of a training that depends on its tier."""

    lengths: Sequence[int]  # tokens of each window
    collate: Callable[[Sequence[int]], TensorBatch]  # from indices of windows
    loss: Callable[[nn.Module, TensorBatch], Tensor]  # mean over a batch
    score_dev: Callable[[], float]  # of the model in its present state; called on every process


class Trainer:
    """One training of one model, whose trainable parameters are trained in place.

    `state_path` is the file of the training state, until the training is over.
    """

    def __init__(
        self,
        model: nn.Module,
        task: TrainingTask,
        *,
        schedule: Schedule,
        accelerator: Accelerator,
        state_path: Path,
        build_optimizer: OptimizerBuilder = build_fused_adamw,
    ) -> None:
        processes = accelerator.num_processes
        self._plan_epoch = partial(
            plan_epoch_batches,
            task.lengths,
            max_batch_tokens=schedule.batch_tokens,
            seed=schedule.seed,
            num_processes=processes,
        )
        steps_per_epoch = len(self._plan_epoch(epoch=0)) // processes
        self._schedule = schedule = schedule.extend_to_min_steps(steps_per_epoch)
        plans = [self._plan_epoch(epoch=epoch) for epoch in range(schedule.epochs)]
        self._steps = sum(map(len, plans)) // processes
        # Trainings with the same plan can be resumed.
        self._plan_fingerprint = sha256(repr((processes, plans)).encode()).hexdigest()
        self._task, self._accelerator, self._state_path = task, accelerator, state_path
        self._history = TrainingHistory()
        self._model, self._weights = model, dict(trainable_parameters(model))
        self._ema = ExponentialMovingAverage(model, decay=schedule.ema_decay)
        self._best_weights = {
            name: weight.detach().clone() for name, weight in self._weights.items()
        }
        self._optimizer = build_optimizer(parameter_groups(model, schedule))
        self._dropout_modules = [one for one in model.modules() if isinstance(one, nn.Dropout)]
        # transformers has the same schedule, but importing it takes seconds, because of peft.
        self._scheduler = LambdaLR(
            self._optimizer,
            partial(
                _warm_up_and_decay,
                warmup_steps=int(schedule.warmup * self._steps),
                steps=self._steps,
            ),
        )
        # Not the optimizer and the scheduler: accelerate's wrappers skip and repeat their steps.
        self._wrapped_model = accelerator.prepare(model)
        self._step = 0  # optimizer steps over all epochs
        self._epoch_step = 0  # optimizer steps of the current epoch
        self._loss_sum = 0.0  # over the current epoch

    def run(self, *, on_progress: ProgressCallback, resume: bool = False) -> TrainingHistory:
        """Train until the last epoch, or until the dev score stops rising.

        With `resume`, continue from the saved state, if there is one. `on_progress` is called after
        every step and every evaluation, on the main process.

        Returns the scores; the model holds the weights of the best epoch, in evaluation mode.
        """
        with translate_memory_errors(
            f"a step of {self._schedule.batch_tokens:,} tokens does not fit into memory: lower "
            "--batch-tokens or --window, or take a smaller base"
        ):
            # Of the processes that train together, one reports.
            report = on_progress if self._accelerator.is_main_process else (lambda _: None)
            self._run(report, resume=resume)
        return self._history

    def _run(self, on_progress: ProgressCallback, *, resume: bool) -> None:
        if resume and self._state_path.is_file():
            self._load_state()
        timer = TrainingTimer()
        while not self._is_finished():
            epoch = len(self._history.dev_scores)
            for tokens in self._run_epoch(epoch):
                timer.end("step", tokens=tokens)
                on_progress(self._build_progress(epoch, timer))
            with self._ema.use_averaged_weights():
                self._model.eval()
                self._end_epoch(self._task.score_dev())
                timer.end("evaluation")
            self._save_state()
            on_progress(self._build_progress(epoch, timer))
        copy_weights(self._weights, self._best_weights)
        self._model.eval()

    def _is_finished(self) -> bool:
        history = self._history
        out_of_patience = history.epochs_without_improvement >= self._schedule.patience
        return len(history.dev_scores) == self._schedule.epochs or out_of_patience

    def _run_epoch(self, epoch: int) -> Iterator[int]:
        """Make the remaining steps of an epoch; yields the number of real tokens of each."""
        done = self._epoch_step * self._accelerator.num_processes
        loader: DataLoader[int] = DataLoader(
            range(len(self._task.lengths)),  # type: ignore[arg-type]
            batch_sampler=self._plan_epoch(epoch=epoch)[done:],
            collate_fn=self._task.collate,
        )
        self._wrapped_model.train()
        for batch in self._accelerator.prepare(loader):
            # At every step where a resumed training may begin, so that it draws the same numbers.
            if self._epoch_step == 0 or self._step % self._schedule.save_every == 0:
                # Dropout is a function of the step, so that no generator state has to be saved.
                seed = (self._schedule.seed * 1_000_003 + self._step) * 4099
                torch.manual_seed(seed + self._accelerator.process_index)
            is_dropout_on = self._step >= self._schedule.dropout_start_ratio * self._steps
            for module in self._dropout_modules:
                module.training = is_dropout_on
            with bf16_autocast(self._accelerator.device, precision=self._schedule.precision):
                loss = self._task.loss(self._wrapped_model, batch)
            self._accelerator.backward(loss)
            nn.utils.clip_grad_norm_(self._weights.values(), self._schedule.max_grad_norm)
            self._optimizer.step()
            self._scheduler.step()
            self._optimizer.zero_grad()
            self._ema.update()
            self._step += 1
            self._epoch_step += 1
            self._loss_sum += self._check_finite(loss.item())  # before a state with NaN is saved
            if self._step % self._schedule.save_every == 0:
                self._save_state()
            yield int(batch["attention_mask"].sum())

    def _check_finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {self._step} of {self._steps}: "
                "train with a lower --learning-rate, or with --precision fp32",
                code="loss-not-finite",
            )
        return loss

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
                steps=self._steps - self._step, evaluations=epochs - len(history.dev_scores)
            ),
            tokens_per_second=timer.tokens_per_second,
        )

    def _save_state(self) -> None:
        if not self._accelerator.is_main_process:
            return
        # The keys are those of earlier releases, so that their stopped trainings resume.
        state = {
            "weights": {name: weight.detach() for name, weight in self._weights.items()},
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
        copy_weights(self._weights, state["weights"])
        self._ema.load_state_dict(state["average"])
        copy_weights(self._best_weights, state["best"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        self._history = TrainingHistory.from_json(state["outcome"])
        self._step, self._epoch_step, self._loss_sum = state["place"]


def _warm_up_and_decay(step: int, *, warmup_steps: int, steps: int) -> float:
    """The share of the peak learning rate at a step: linear up to 1, then linear down to 0."""
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (steps - step) / max(1, steps - warmup_steps))
