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

from tagalong.backend.models.base_models.base_model import CLASSIFIER_HEAD_NAMES
from tagalong.backend.models.encoder.checkpoint import max_positions
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.text.window_encoder import EncodedWindow, WindowEncoder
from tagalong.ner.document import Document
from tagalong.ner.errors import TrainingError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.training.data.silver import SilverDocument
from tagalong.training.encoder.consistency import estimate_transitions, fit_score_refiner
from tagalong.training.loop.adapters import prepare_four_bit_model
from tagalong.training.loop.batch_sampler import LengthGroupedBatchSampler
from tagalong.training.loop.train_result import TrainResult
from tagalong.training.loop.trainer import TensorBatch, Trainer, create_accelerator
from tagalong.training.loop.validation import check_annotated_splits, score_on_dev
from tagalong.training.loop.warm_start import load_warm_start_weights
from tagalong.training.recipes.recipe import EncoderRecipe, resolve_learning_rate
from tagalong.training.recipes.schedule import TrainingProgress

EncoderTrainResult = TrainResult[EncoderTier, EncoderRecipe]


class TrainingWindows:
    """The windows that are learnt from.

    Args:
        documents: With spans.
        tag_set: What can be said of a word.
        windows: As the tier will read them.
        silver: Documents whose words count less than those of the others, which count 1.

    Attributes:
        tags: Of every document's words, those of silver last.
        dropped: What could not be learnt of the documents; whoever made the silver tells its losses.
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
        self._window_encoder = windows
        self._windows = windows.encode(
            [document.text for document in every], [entry.words for entry in tagged]
        )
        self.tags = [entry.tags for entry in tagged]
        self.dropped = tuple(lost for entry in tagged[: len(documents)] for lost in entry.dropped)
        self.lengths = [len(window.input_ids) for window in self._windows]
        gold = [(1.0,) * len(entry.words) for entry in tagged[: len(documents)]]
        self._word_weights = (
            self._normalize_weights([*gold, *(one.word_weights for one in silver)])
            if silver
            else []
        )

    def _normalize_weights(self, weights: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        """Make the mean of all weights 1, so that steps are as long as they are without silver.

        There are none where all count in full: the loss is then the unweighted one to the last bit.
        """
        learnt = [
            weights[window.document_index][word]
            for window in self._windows
            for word in window.words
            if self.tags[window.document_index][word] != IGNORE_INDEX
        ]
        if all(weight == 1 for weight in learnt):
            return []
        mean = sum(learnt) / len(learnt) or 1.0
        return [tuple(weight / mean for weight in of_document) for of_document in weights]

    def collate(self, indices: Sequence[int]) -> TensorBatch:
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
        padded = self._window_encoder.pad(windows)
        batch = {name: torch.from_numpy(array) for name, array in padded.items()}
        labels = _scatter_to_first_subwords(
            windows, self.tags, torch.full_like(batch["input_ids"], IGNORE_INDEX)
        )
        if not self._word_weights:
            return {**batch, "labels": labels}
        weights = _scatter_to_first_subwords(windows, self._word_weights, torch.zeros(labels.shape))
        return {**batch, "labels": labels, "weights": weights}


def _scatter_to_first_subwords(
    windows: Sequence[EncodedWindow], values: Sequence[Sequence[float]], rows: Tensor
) -> Tensor:
    """Put what each document has for its words at their first sub-words."""
    for row, window in zip(rows, windows, strict=True):
        of_words = values[window.document_index][window.words.start : window.words.stop]
        row[list(window.word_positions)] = torch.tensor(of_words)
    return rows


def train_encoder(
    train: Sequence[Document],
    dev: Sequence[Document],
    *,
    labels: Sequence[str],
    recipe: EncoderRecipe,
    state_path: Path,
    silver: Sequence[SilverDocument] = (),
    warm_start_dir: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda _: None,
) -> EncoderTrainResult:
    """Train an encoder; the epoch with the best strict F1 on dev is kept.

    Args:
        train: Documents to learn from.
        dev: Documents to stop by, and to fit temperature and coupling on; none of them is in train.
        labels: Entity types, in the order of the label config.
        recipe: What to do.
        state_path: Where the state of an unfinished training is kept.
        silver: What another system said about other texts, to learn from as well.
        warm_start_dir: Folder of a verified version of the same recipe and labels, to begin at; None for the
            base.
        resume: Go on from that state, where there is one.
        on_progress: Told how it goes.

    Returns:
        The model, and the tier that serves it.

    Raises:
        TrainingError: If there is nothing to learn from or to judge by.
        BaseModelError: If the base is not there.
        VersionInvalid: If the version to begin at does not fit.
    """
    _check_inputs(train, dev, recipe)
    # What is published names the very base that was loaded, even if a hub's branch moves meanwhile.
    recipe = resolve_learning_rate(replace(recipe, base=recipe.base.with_pinned_revision()))
    accelerator = create_accelerator(recipe.schedule)
    tag_set = TagSet(tuple(labels))
    tokenizer = recipe.base.load_tokenizer()
    model = build_encoder(recipe, tag_set, device=accelerator.device)
    if warm_start_dir is not None:
        load_warm_start_weights(model, warm_start_dir, read_manifest(warm_start_dir, verify=False))
    limit = max_positions(model)
    lessons = TrainingWindows(
        train,
        tag_set=tag_set,
        windows=WindowEncoder(tokenizer, recipe.lesson, max_positions=limit),
        silver=silver,
    )
    tier = EncoderTier(
        TorchRunner(model, precision=recipe.schedule.precision),
        WindowEncoder(tokenizer, recipe.reading, max_positions=limit),
        tag_set=tag_set,
        version="unpublished",
    )
    loop = Trainer(
        model,
        batch_sampler=LengthGroupedBatchSampler(
            lessons.lengths,
            max_batch_tokens=recipe.schedule.batch_tokens,
            seed=recipe.schedule.seed,
            num_processes=accelerator.num_processes,
        ),
        collate=lessons.collate,
        loss=_TokenClassificationLoss(recipe, tokenizer),
        score_dev=lambda: _score_on_dev(model, tier, dev, accelerator),
        schedule=recipe.schedule,
        accelerator=accelerator,
        state_path=state_path,
    )
    is_main = accelerator.is_main_process
    outcome = loop.run(on_progress=on_progress if is_main else lambda _: None, resume=resume)
    model.eval()
    _fit_calibration(tier, dev, lessons.tags[: len(train)])
    return EncoderTrainResult(model, tokenizer, tier, outcome, recipe, lessons.dropped, is_main)


def _check_inputs(
    train: Sequence[Document], dev: Sequence[Document], recipe: EncoderRecipe
) -> None:
    """Refuse what cannot end well."""
    check_annotated_splits(train, dev)
    if recipe.four_bit and recipe.adapter is None:
        raise TrainingError(
            "a 4-bit base cannot be tuned in full; train an adapter on it (--qlora), "
            "or leave the base in full precision"
        )


def build_encoder(recipe: EncoderRecipe, tag_set: TagSet, *, device: torch.device) -> nn.Module:
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
    model = recipe.base.load_token_classifier(
        tag_set.tag_names, four_bit=recipe.four_bit, **changes
    )
    if recipe.four_bit:
        model = prepare_four_bit_model(model)
    if recipe.adapter is not None:
        model = get_peft_model(
            model,
            LoraConfig(
                task_type=TaskType.TOKEN_CLS,
                r=recipe.adapter.rank,
                lora_alpha=recipe.adapter.alpha,
                lora_dropout=recipe.adapter.dropout,
                target_modules="all-linear",
                exclude_modules=list(CLASSIFIER_HEAD_NAMES),  # the head is trained whole
            ),
        )
    return model if recipe.four_bit else model.to(device)


class _TokenClassificationLoss:
    """Cross entropy over first sub-words, weighted if need be, with some of the text hidden."""

    def __init__(self, recipe: EncoderRecipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self._smoothing = recipe.smoothing
        self._mask_id = tokenizer.mask_token_id
        self._mask_probability = recipe.mask if self._mask_id is not None else 0.0
        self._special_ids = torch.tensor(sorted(tokenizer.all_special_ids))

    def __call__(self, model: nn.Module, batch: TensorBatch) -> Tensor:
        ids = batch["input_ids"]
        if self._mask_probability:
            hidden = torch.rand(ids.shape, device=ids.device) < self._mask_probability
            hidden &= ~torch.isin(ids, self._special_ids.to(ids.device))
            ids = ids.masked_fill(hidden, self._mask_id)
        logits = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits
        labels = batch["labels"].flatten()
        weights = batch.get("weights")
        total = nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels,
            ignore_index=IGNORE_INDEX,
            label_smoothing=self._smoothing,
            reduction="sum" if weights is None else "none",
        )
        if weights is not None:
            total = (total * weights.flatten()).sum()
        # Weights are 1 in the mean of all lessons, not in that of a batch: were each batch divided
        # by its own, one of silver alone would count as much as one of gold alone.
        return total / (labels != IGNORE_INDEX).sum().clamp(min=1)  # all of a batch may be unknown


def _score_on_dev(
    model: nn.Module, tier: EncoderTier, dev: Sequence[Document], accelerator: Accelerator
) -> float:
    """Strict F1 on dev of the tier that runs a model."""
    model.eval()
    return score_on_dev(tier, dev, accelerator)


def _fit_calibration(
    tier: EncoderTier, dev: Sequence[Document], learnt: Sequence[Sequence[int]]
) -> None:
    """Fit on dev what the tier does with its scores."""
    tagged = [tier.tag_set.encode(document) for document in dev]
    tier.score_refiner, tier.temperature = fit_score_refiner(
        dev,
        tagged,
        tier.compute_logits(tier.encode(dev)),
        transitions=estimate_transitions(learnt, tier.tag_set),
        tag_set=tier.tag_set,
    )
