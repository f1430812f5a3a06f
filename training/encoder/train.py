"""Training of an encoder from annotated documents."""

from collections.abc import Sequence
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
from tagalong.backend.models.text.windows import EncodedWindow, WindowEncoder
from tagalong.ner.document import Document
from tagalong.ner.errors import TrainingError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.training.data.silver import SilverDocument
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.consistency import estimate_transitions, fit_score_refiner
from tagalong.training.loop.adapters import prepare_four_bit_model
from tagalong.training.loop.train_result import TrainResult
from tagalong.training.loop.trainer import (
    ProgressCallback,
    TensorBatch,
    Trainer,
    TrainingTask,
    create_accelerator,
    create_batch_sampler,
)
from tagalong.training.loop.validation import check_annotated_splits, score_on_dev
from tagalong.training.loop.warm_start import load_warm_start_weights
from tagalong.training.recipes.encoder_recipe import EncoderRecipe, resolve_encoder_recipe

EncoderTrainResult = TrainResult[EncoderTier, EncoderRecipe]


class TrainingWindows:
    """Windows of the training documents, with tags and weights.

    Args:
        documents: With spans.
        tag_set: The tag set.
        windows: Encodes windows of the training length.
        silver: Documents with a weight for each word; words of the others have the weight 1.

    Attributes:
        tags: Tags of the words of every document, silver last.
        dropped: Annotations of `documents` that flat BIO cannot represent, without those of silver.
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
        all_documents = [*documents, *(one.document for one in silver)]
        tagged = [tag_set.encode(document) for document in all_documents]
        self._window_encoder = windows
        self._windows = windows.encode(
            [document.text for document in all_documents], [entry.words for entry in tagged]
        )
        self.tags = [entry.tags for entry in tagged]
        self.dropped = tuple(one for entry in tagged[: len(documents)] for one in entry.dropped)
        self.lengths = [len(window.input_ids) for window in self._windows]
        gold = [(1.0,) * len(entry.words) for entry in tagged[: len(documents)]]
        self._word_weights = (
            self._normalize_weights([*gold, *(one.word_weights for one in silver)])
            if silver
            else []
        )

    def _normalize_weights(self, weights: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        """Scale the weights to a mean of 1, so that steps are as long as without silver.

        Empty if all weights are 1: the loss then equals the unweighted one to the last bit.
        """
        used = [
            weights[window.document_index][word]
            for window in self._windows
            for word in window.words
            if self.tags[window.document_index][word] != IGNORE_INDEX
        ]
        if all(weight == 1 for weight in used):
            return []
        mean = sum(used) / len(used) or 1.0
        return [tuple(weight / mean for weight in one) for one in weights]

    def collate(self, indices: Sequence[int]) -> TensorBatch:
        """Make a batch of windows.

        Returns the inputs of the model, and `labels` of shape (windows, longest): the tag at the
        first sub-word of every word, IGNORE_INDEX everywhere else. With silver also `weights` of
        the same shape.
        """
        windows = [self._windows[index] for index in indices]
        padded = self._window_encoder.pad(windows)
        batch = {name: torch.from_numpy(array) for name, array in padded.items()}
        # Context words have labels too: another view of a word is a free training example.
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
    """Write the values of words to the positions of their first sub-words."""
    for row, window in zip(rows, windows, strict=True):
        word_values = values[window.document_index][window.words.start : window.words.stop]
        row[list(window.word_positions)] = torch.tensor(word_values)
    return rows


def train_encoder(
    split: TrainDevSplit,
    *,
    recipe: EncoderRecipe,
    state_path: Path,
    warm_start_dir: Path | None = None,
    resume: bool = False,
    on_progress: ProgressCallback = lambda _: None,
) -> EncoderTrainResult:
    """Train an encoder; the epoch with the best strict F1 on dev is kept.

    Args:
        split: Documents, labels and silver.
        recipe: Settings of the training.
        state_path: File of the training state.
        warm_start_dir: Folder of a verified version to start from, with the same labels and base.
        resume: Continue from the saved state, if there is one.
        on_progress: Called after every step and every evaluation, on the main process.

    Returns:
        The model, and the tier that serves it.

    Raises:
        TrainingError: If train or dev has no annotated spans.
        BaseModelError: If the base is not available.
        VersionInvalid: If the version of the warm start does not fit.
    """
    _check_inputs(split, recipe)
    recipe = resolve_encoder_recipe(recipe)
    accelerator = create_accelerator(recipe.schedule)
    tag_set = TagSet(split.labels)
    tokenizer = recipe.base.load_tokenizer()
    model = build_encoder(recipe, tag_set, device=accelerator.device)
    if warm_start_dir is not None:
        load_warm_start_weights(model, warm_start_dir, read_manifest(warm_start_dir, verify=False))
    limit = max_positions(model)
    windows = TrainingWindows(
        split.train,
        tag_set=tag_set,
        windows=WindowEncoder(tokenizer, recipe.train_window_config, max_positions=limit),
        silver=split.silver.documents if split.silver else (),
    )
    tier = EncoderTier(
        TorchRunner(model, precision=recipe.schedule.precision),
        WindowEncoder(tokenizer, recipe.window_config, max_positions=limit),
        tag_set=tag_set,
        version="unpublished",
    )
    task = TrainingTask(
        batch_sampler=create_batch_sampler(windows.lengths, recipe.schedule, accelerator),
        collate=windows.collate,
        loss=_TokenClassificationLoss(recipe, tokenizer),
        score_dev=lambda: _score_on_dev(model, tier, split.dev, accelerator),
    )
    schedule = recipe.schedule
    trainer = Trainer(
        model, task, schedule=schedule, accelerator=accelerator, state_path=state_path
    )
    history = trainer.run(on_progress=on_progress, resume=resume)
    model.eval()
    # Transitions come from gold alone: silver has gaps where its system was not sure.
    _fit_calibration(tier, split.dev, windows.tags[: len(split.train)])
    is_main = accelerator.is_main_process
    return EncoderTrainResult(model, tokenizer, tier, history, recipe, windows.dropped, is_main)


def _check_inputs(split: TrainDevSplit, recipe: EncoderRecipe) -> None:
    check_annotated_splits(split.train, split.dev)
    if recipe.four_bit and recipe.adapter is None:
        raise TrainingError(
            "a 4-bit base cannot be tuned in full: train an adapter on it (--qlora), or keep the "
            "base in full precision",
            code="four-bit-without-adapter",
        )


def build_encoder(recipe: EncoderRecipe, tag_set: TagSet, *, device: torch.device) -> nn.Module:
    """Load the base with a new head and, if the recipe has one, an adapter.

    Raises `BaseModelError` if the base is not available.
    """
    config = recipe.base.load_config()
    # Dropout inside attention costs a fifth of a step on a CPU, without a measurable gain.
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
                exclude_modules=list(CLASSIFIER_HEAD_NAMES),  # the new head is trained in full
            ),
        )
    return model if recipe.four_bit else model.to(device)


class _TokenClassificationLoss:
    """Cross entropy at first sub-words, with word weights and word dropout."""

    def __init__(self, recipe: EncoderRecipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self._smoothing = recipe.label_smoothing
        self._mask_id = tokenizer.mask_token_id
        self._mask_probability = recipe.mask_probability if self._mask_id is not None else 0.0
        self._special_ids = torch.tensor(sorted(tokenizer.all_special_ids))

    def __call__(self, model: nn.Module, batch: TensorBatch) -> Tensor:
        ids = batch["input_ids"]
        if self._mask_probability:
            masked = torch.rand(ids.shape, device=ids.device) < self._mask_probability
            masked &= ~torch.isin(ids, self._special_ids.to(ids.device))
            ids = ids.masked_fill(masked, self._mask_id)
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
        # Divide by the number of words, not by the weights of the batch: the weights have a mean of
        # 1 over all windows, and a batch of silver alone must not count as much as one of gold.
        return total / (labels != IGNORE_INDEX).sum().clamp(min=1)  # a batch may be fully masked


def _score_on_dev(
    model: nn.Module, tier: EncoderTier, dev: Sequence[Document], accelerator: Accelerator
) -> float:
    model.eval()
    return score_on_dev(tier, dev, accelerator)


def _fit_calibration(
    tier: EncoderTier, dev: Sequence[Document], train_tags: Sequence[Sequence[int]]
) -> None:
    """Fit the label consistency and the temperature of a tier on dev."""
    tagged = [tier.tag_set.encode(document) for document in dev]
    tier.score_refiner, tier.temperature = fit_score_refiner(
        dev,
        tagged,
        tier.compute_logits(tier.encode(dev)),
        transitions=estimate_transitions(train_tags, tier.tag_set),
        tag_set=tier.tag_set,
    )
