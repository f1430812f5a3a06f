"""Tag distributions for a review, from a stored version or from cross-validation."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError
from tagalong.ner.tags import TagSet
from tagalong.ner.tiers import ENCODER
from tagalong.training.corpus import Corpus, choose_word_rule
from tagalong.training.curate.cross_validation import CrossValidationConfig, cross_validate
from tagalong.training.curate.encoder_outputs import (
    TagDistribution,
    as_encoder,
    predict_tag_distributions,
)
from tagalong.training.curate.review import check_annotated
from tagalong.training.loop.trainer import ProgressCallback
from tagalong.training.loop.training_state import lock_training


@dataclass(frozen=True, slots=True)
class ReviewModel:
    """The model, or models, of a review with their tag distributions."""

    name: str
    tag_distributions: Sequence[TagDistribution]
    tag_set: TagSet
    note: str = ""  # limit of the review, or empty


def predict_with_version(corpus: Corpus, tagger: DocumentTagger) -> ReviewModel:
    """Compute tag distributions with one version.

    Raises:
        InputError: If the version is no encoder.
    """
    encoder = as_encoder(tagger)
    if encoder is None:
        raise InputError(
            f"{tagger.version} is no encoder, and only encoders have tag probabilities: give an "
            "encoder, or leave out --model",
            code="review-needs-encoder",
        )
    note = (
        f"If {tagger.version} was trained on these documents, it misses their errors; without "
        "--model, no document is judged by a model that was trained on it."
    )
    distributions = predict_tag_distributions(encoder, corpus.documents)
    return ReviewModel(tagger.version, distributions, encoder.tag_set, note)


@contextmanager
def predict_with_cross_validation(
    corpus: Corpus,
    store: ModelStore,
    config: CrossValidationConfig,
    on_progress: ProgressCallback,
) -> Iterator[ReviewModel]:
    """Compute tag distributions with models that were not trained on the document.

    Finished folds are cached beside the encoders of the store until the context ends without error.

    Raises:
        InputError: If there is nothing to review, or there are fewer different texts than folds.
        TrainingError: If a fold has no training documents, or the same run is in progress.
        BaseModelError: If the base model is missing.
    """
    choice = choose_word_rule(corpus.documents, corpus.labels)
    check_annotated(corpus.documents, corpus.labels, choice.rule)
    tag_set = TagSet(corpus.labels, choice.rule)
    # Hidden, because it is there only until the review succeeds.
    folder = store.model_folder(ENCODER) / f".review-{config.key(corpus.documents, tag_set)}"
    with lock_training(folder):
        distributions = cross_validate(
            corpus.documents,
            tag_set=tag_set,
            config=config,
            cache_dir=folder,
            on_progress=on_progress,
        )
        note = choice.describe() if choice.is_needed else ""
        yield ReviewModel(f"models of {config.n_folds} folds", distributions, tag_set, note)
        # Not reached if the caller fails: the next run then finds the finished folds.
        shutil.rmtree(folder, ignore_errors=True)  # the outputs are complete


def build_cross_validation_config(
    folds: int, base: str | None, *, epochs: int | None, seed: int
) -> CrossValidationConfig:
    """Replace defaults of a cross-validation; None keeps a default."""
    config = CrossValidationConfig(n_folds=folds)
    schedule: dict[str, Any] = {"seed": seed}
    if epochs is not None:  # as many as asked for, not extended to the minimum of steps
        schedule |= {"epochs": epochs, "min_steps": 0}
    recipe = replace(config.recipe, schedule=replace(config.recipe.schedule, **schedule))
    if base is not None:
        recipe = replace(recipe, base=BaseModelRef(base))
    return replace(config, recipe=recipe)
