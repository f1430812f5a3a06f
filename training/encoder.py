"""Documents to an encoder: the windows that are learnt from, and the training itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from backend.bases import HEADS
from backend.checkpoint import position_limit
from backend.encoder import EncoderTier
from backend.forward import TorchForward
from backend.window_encoder import EncodedWindow, WindowEncoder
from ner.document import Document
from ner.errors import TrainingError
from ner.manifest import read_manifest
from ner.tags import IGNORED, TagSet
from training.adapters import ready_four_bit
from training.batches import EpochBatches
from training.coupling import count_transitions, fit_coupling
from training.dev_side import check_sides, judge
from training.loop import Batch, Loop, start_accelerator
from training.recipe import Recipe, with_learning_rate
from training.schedule import Progress
from training.silver import SilverDocument
from training.start import begin_at
from training.trained import Trained

TrainedEncoder = Trained[EncoderTier, Recipe]


class Lessons:
    """The windows that are learnt from.

    Args:
        documents: With spans.
        tag_set: What can be said of a word.
        windows: As the tier will read them.
        silver: Documents whose words count less than those of the others, which count 1.

    Attributes:
        tags: Of every document's words, those of silver last.
        lost: What could not be learnt of the documents; whoever made the silver tells its losses.
        lengths: Sub-words of each window.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        tag_set: TagSet,
        windows: WindowEncoder,
        silver: Sequence[SilverDocument] = (),
    ) -> None:
        every = [*documents, *(one.document for one in silver)]
        tagged = [tag_set.encode(document) for document in every]
        self._encoder = windows
        self._windows = windows.encode(
            [document.text for document in every], [entry.words for entry in tagged]
        )
        self.tags = [entry.tags for entry in tagged]
        self.lost = tuple(lost for entry in tagged[: len(documents)] for lost in entry.lost)
        self.lengths = [len(window.ids) for window in self._windows]
        gold = [(1.0,) * len(entry.words) for entry in tagged[: len(documents)]]
        self._weights = self._relative([*gold, *(one.weights for one in silver)]) if silver else []

    def _relative(self, weights: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        """Make the mean of all weights 1, so that steps are as long as they are without silver.

        There are none where all count in full: the loss is then the unweighted one to the last bit.
        """
        learnt = [
            weights[window.document][word]
            for window in self._windows
            for word in window.words
            if self.tags[window.document][word] != IGNORED
        ]
        if all(weight == 1 for weight in learnt):
            return []
        mean = sum(learnt) / len(learnt) or 1.0
        return [tuple(weight / mean for weight in of_document) for of_document in weights]

    def collate(self, indices: Sequence[int]) -> Batch:
        """Make a batch of some windows.

        Args:
            indices: Of windows.

        Returns:
            What the model takes, and `labels` of the same shape (windows, longest): the tag at the
            first sub-word of every word, IGNORED everywhere else. Context is learnt from too: a
            word seen again with less around it is the cheapest of new examples. With silver there
            are `weights` of the same shape.
        """
        windows = [self._windows[index] for index in indices]
        padded = self._encoder.pad(windows)
        batch = {name: torch.from_numpy(array) for name, array in padded.items()}
        labels = _at_words(windows, self.tags, torch.full_like(batch["input_ids"], IGNORED))
        if not self._weights:
            return {**batch, "labels": labels}
        weights = _at_words(windows, self._weights, torch.zeros(labels.shape))
        return {**batch, "labels": labels, "weights": weights}


def _at_words(
    windows: Sequence[EncodedWindow], values: Sequence[Sequence[float]], rows: Tensor
) -> Tensor:
    """Put what each document has for its words at their first sub-words."""
    for row, window in zip(rows, windows, strict=True):
        of_words = values[window.document][window.words.start : window.words.stop]
        row[list(window.positions)] = torch.tensor(of_words)
    return rows


def train_encoder(
    train: Sequence[Document],
    dev: Sequence[Document],
    *,
    labels: Sequence[str],
    recipe: Recipe,
    state_path: Path,
    silver: Sequence[SilverDocument] = (),
    start: Path | None = None,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
) -> TrainedEncoder:
    """Train an encoder; the epoch with the best strict F1 on dev is kept.

    Args:
        train: Documents to learn from.
        dev: Documents to stop by, and to fit temperature and coupling on; none of them is in train.
        labels: Entity types, in the order of the label config.
        recipe: What to do.
        state_path: Where the state of an unfinished training is kept.
        silver: What another system said about other texts, to learn from as well.
        start: Folder of a verified version of the same recipe and labels, to begin at; None for the
            base.
        resume: Go on from that state, where there is one.
        report: Told how it goes.

    Returns:
        The model, and the tier that serves it.

    Raises:
        TrainingError: If there is nothing to learn from or to judge by.
        BaseModelError: If the base is not there.
        VersionInvalid: If the version to begin at does not fit.
    """
    _check(train, dev, recipe)
    # What is published names the very base that was loaded, even if a hub's branch moves meanwhile.
    recipe = with_learning_rate(replace(recipe, base=recipe.base.pinned()))
    accelerator = start_accelerator(recipe.schedule)
    tag_set = TagSet(tuple(labels))
    tokenizer = recipe.base.load_tokenizer()
    model = build_model(recipe, tag_set, device=accelerator.device)
    if start is not None:
        begin_at(model, start, read_manifest(start, verify=False))
    limit = position_limit(model)
    lessons = Lessons(
        train,
        tag_set=tag_set,
        windows=WindowEncoder(tokenizer, recipe.lesson, limit=limit),
        silver=silver,
    )
    tier = EncoderTier(
        TorchForward(model, precision=recipe.schedule.precision),
        WindowEncoder(tokenizer, recipe.reading, limit=limit),
        tag_set=tag_set,
        version="unpublished",
    )
    loop = Loop(
        model,
        batches=EpochBatches(
            lessons.lengths,
            budget=recipe.schedule.batch_tokens,
            seed=recipe.schedule.seed,
            processes=accelerator.num_processes,
        ),
        collate=lessons.collate,
        loss=_Loss(recipe, tokenizer),
        judge=lambda: _judge(model, tier, dev, accelerator),
        schedule=recipe.schedule,
        accelerator=accelerator,
        state_path=state_path,
    )
    is_main = accelerator.is_main_process
    outcome = loop.run(report=report if is_main else lambda _: None, resume=resume)
    model.eval()
    _calibrate(tier, dev, lessons.tags[: len(train)])
    return TrainedEncoder(model, tokenizer, tier, outcome, recipe, lessons.lost, is_main)


def _check(train: Sequence[Document], dev: Sequence[Document], recipe: Recipe) -> None:
    """Refuse what cannot end well."""
    check_sides(train, dev)
    if recipe.four_bit and recipe.adapter is None:
        raise TrainingError(
            "a 4-bit base cannot be tuned in full; train an adapter on it (--qlora), "
            "or leave the base in full precision"
        )


def build_model(recipe: Recipe, tag_set: TagSet, *, device: torch.device) -> nn.Module:
    """Load the base with a fresh head, and put the adapter on it if there is to be one.

    Args:
        recipe: Its base, adapter, four_bit and dropout are used.
        tag_set: One output per tag.
        device: Where to train.

    Returns:
        The model on its device.

    Raises:
        BaseModelError: If the base is not there.
    """
    config = recipe.base.load_config()
    # Attention's own dropout costs a fifth of a step on a CPU and brought nothing measurable.
    dropouts = {"hidden_dropout_prob": recipe.dropout, "attention_probs_dropout_prob": 0.0}
    changes: dict[str, Any] = {
        name: value for name, value in dropouts.items() if hasattr(config, name)
    }
    model = recipe.base.load_token_classifier(tag_set.names, four_bit=recipe.four_bit, **changes)
    if recipe.four_bit:
        model = ready_four_bit(model)
    if recipe.adapter is not None:
        model = get_peft_model(
            model,
            LoraConfig(
                task_type=TaskType.TOKEN_CLS,
                r=recipe.adapter.rank,
                lora_alpha=recipe.adapter.alpha,
                lora_dropout=recipe.adapter.dropout,
                target_modules="all-linear",
                exclude_modules=list(HEADS),  # the head is trained whole
            ),
        )
    return model if recipe.four_bit else model.to(device)


class _Loss:
    """Cross entropy over first sub-words, weighted if need be, with some of the text hidden."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self._smoothing = recipe.smoothing
        self._mask_id = tokenizer.mask_token_id
        self._share = recipe.mask if self._mask_id is not None else 0.0
        self._special = torch.tensor(sorted(tokenizer.all_special_ids))

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        ids = batch["input_ids"]
        if self._share:
            hidden = torch.rand(ids.shape, device=ids.device) < self._share
            hidden &= ~torch.isin(ids, self._special.to(ids.device))
            ids = ids.masked_fill(hidden, self._mask_id)
        logits = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"].flatten()
        weights = batch.get("weights")
        total = nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels,
            ignore_index=IGNORED,
            label_smoothing=self._smoothing,
            reduction="sum" if weights is None else "none",
        )
        if weights is not None:
            total = (total * weights.flatten()).sum()
        # Weights are 1 in the mean of all lessons, not in that of a batch: were each batch divided
        # by its own, one of silver alone would count as much as one of gold alone.
        return total / (labels != IGNORED).sum().clamp(min=1)  # all of a batch may be unknown


def _judge(
    model: nn.Module, tier: EncoderTier, dev: Sequence[Document], accelerator: Accelerator
) -> float:
    """Strict F1 on dev of the tier that runs a model."""
    model.eval()
    return judge(tier, dev, accelerator)


def _calibrate(tier: EncoderTier, dev: Sequence[Document], learnt: Sequence[Sequence[int]]) -> None:
    """Fit on dev what the tier does with its scores."""
    tagged = [tier.tag_set.encode(document) for document in dev]
    tier.coupling, tier.temperature = fit_coupling(
        dev,
        tagged,
        tier.score(tier.read(dev)),
        transitions=count_transitions(learnt, tier.tag_set),
        tag_set=tier.tag_set,
    )
