"""Predict every document with a model that was not trained on it.

The model of a fold is trained on all other folds, so it cannot have learned the errors that it
should find. Finished folds are cached, so an interrupted run resumes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path

import torch

from tagalong.backend.models.text.windows import WindowConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError, TrainingError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import DEFAULT_WORD_RULE, WordRule
from tagalong.training.corpus import compute_fingerprint, split_off_dev
from tagalong.training.corpus.hash_split import normalize_text
from tagalong.training.curate.encoder_outputs import TagDistribution, predict_tag_distributions
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import train_encoder
from tagalong.training.loop.trainer import ProgressCallback
from tagalong.training.loop.training_state import delete_state, read_state, write_state
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import recipe_to_json
from tagalong.training.recipes.schedule import MIN_STEPS, Schedule, TrainingProgress

FOLD_HASH_PERSON = b"tagalong.fold"  # independent of the hashes of splits and selection

# Long windows and small steps suit the few documents of a fold. On 60 documents of BC5CDR, four
# epochs reach a strict F1 of 0.78; the default recipe reaches 0.75 in the same time.
CROSS_VALIDATION_RECIPE = EncoderRecipe(
    train_window_config=WindowConfig(window=256, context=16),
    schedule=Schedule(
        epochs=5, batch_tokens=512, ema_decay=0.99, dropout_start_ratio=1 / 3, min_steps=MIN_STEPS
    ),
)


@dataclass(frozen=True, slots=True)
class CrossValidationConfig:
    """Settings of a cross-validation."""

    recipe: EncoderRecipe = CROSS_VALIDATION_RECIPE  # of every fold
    n_folds: int = 5
    dev_share: float = 0.1  # share of the training documents used for early stopping

    def key(self, documents: Sequence[Document], tag_set: TagSet) -> str:
        """Hash everything that determines the result: sixteen characters for a file name."""
        content = [recipe_to_json(self), list(tag_set.labels), compute_fingerprint(documents)]
        # The default is left out, so that folds of earlier releases are found.
        if tag_set.word_rule is not DEFAULT_WORD_RULE:
            content.append(tag_set.word_rule.name)
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def assign_folds(documents: Sequence[Document], n_folds: int) -> list[int]:
    """Assign each document to a fold from 0, by content; the input order is irrelevant.

    Different texts are assigned in turn in the order of their hashes, so fold sizes differ by at
    most one text. Equal texts, compared as in a split, share a fold.

    Raises:
        InputError: If there are fewer different texts than folds.
    """
    keys = [normalize_text(document.text) for document in documents]
    ordered_keys = sorted(set(keys), key=lambda key: (_fold_digest(key), key))
    if not 2 <= n_folds <= len(ordered_keys):
        raise InputError(
            f"{len(ordered_keys)} different texts are too few for {n_folds} folds: use at least 2 "
            "folds and at most one per text",
            code="too-few-texts-for-folds",
        )
    fold_by_key = {key: index % n_folds for index, key in enumerate(ordered_keys)}
    return [fold_by_key[key] for key in keys]


def _fold_digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=8, person=FOLD_HASH_PERSON).digest()


def cross_validate(
    documents: Sequence[Document],
    *,
    tag_set: TagSet,
    config: CrossValidationConfig,
    cache_dir: Path,
    on_progress: ProgressCallback = lambda _: None,
) -> list[TagDistribution]:
    """Compute tag distributions of each document, in order, with a model of the other folds.

    Finished folds and the training state are in `cache_dir`, which is only for this
    `CrossValidationConfig.key`.

    Raises:
        InputError: If there are fewer different texts than folds.
        TrainingError: If a fold has no training or development documents.
        BaseModelError: If the base model is missing.
    """
    fold_numbers = assign_folds(documents, config.n_folds)
    # Sorted by content, so that the input order does not change the training.
    by_content = attrgetter("text", "spans", "masked_ranges")
    order = sorted(range(len(documents)), key=lambda index: by_content(documents[index]))
    distributions: dict[int, TagDistribution] = {}
    for fold in range(config.n_folds):
        held = [index for index in order if fold_numbers[index] == fold]
        other_documents = [documents[index] for index in order if fold_numbers[index] != fold]
        predicted = _cross_validate_fold(
            [documents[index] for index in held],
            other_documents,
            tag_set=tag_set,
            config=config,
            path=cache_dir / f"fold-{fold + 1}",
            on_progress=partial(_report_fold, on_progress, fold + 1, config.n_folds),
        )
        distributions.update(zip(held, predicted, strict=True))
    return [distributions[index] for index in range(len(documents))]


def _report_fold(
    on_progress: ProgressCallback, fold: int, folds: int, progress: TrainingProgress
) -> None:
    on_progress(replace(progress, fold=fold, folds=folds))


def _cross_validate_fold(
    held: Sequence[Document],
    other_documents: Sequence[Document],
    *,
    tag_set: TagSet,
    config: CrossValidationConfig,
    path: Path,
    on_progress: ProgressCallback,
) -> list[TagDistribution]:
    """Train on the other folds and predict this one, unless it is cached."""
    if cached := _read_cached_fold(path, held, tag_set.word_rule):
        return cached
    train, dev = split_off_dev(other_documents, config.dev_share)
    state_path = path.with_name(f"{path.name}-training")
    trained = train_encoder(
        TrainDevSplit(train, dev, tag_set.labels, word_rule=tag_set.word_rule),
        recipe=config.recipe,
        state_path=state_path,
        resume=True,
        on_progress=on_progress,
    )
    distributions = predict_tag_distributions(trained.tagger, held)
    log_probs = torch.cat([torch.from_numpy(one.log_probs) for one in distributions])
    tags = torch.cat([torch.from_numpy(one.predicted_tags) for one in distributions])
    write_state(path, {"log_probs": log_probs, "tags": tags})
    delete_state(state_path)  # only now: without both, an interruption would train again
    return distributions


def _read_cached_fold(
    path: Path, held: Sequence[Document], word_rule: WordRule
) -> list[TagDistribution] | None:
    if not path.is_file():
        return None
    try:
        state = read_state(path, device=torch.device("cpu"))
    except TrainingError:  # damaged: the fold is trained again
        return None
    lengths = [len(word_rule.find_words(document.text)) for document in held]
    parts = zip(state["log_probs"].split(lengths), state["tags"].split(lengths), strict=True)
    return [TagDistribution(log_probs.numpy(), tags.numpy()) for log_probs, tags in parts]
