"""Tag distributions for a review, from a stored version or from cross-validation."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.tier import Tier
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError
from tagalong.ner.tags import TagSet
from tagalong.ner.tiers import ENCODER
from tagalong.training.corpus import Corpus
from tagalong.training.curate.cross_validation import CrossValidationConfig, cross_validate
from tagalong.training.curate.review import check_annotated
from tagalong.training.curate.tag_distributions import TagDistribution, predict_tag_distributions
from tagalong.training.loop.trainer import ProgressCallback
from tagalong.training.loop.training_state import lock_training


@dataclass(frozen=True, slots=True)
class ReviewModel:
    """The model, or models, of a review with their tag distributions.

    Attributes:
        note: Limit of the review, or empty.
    """

    name: str
    tag_distributions: Sequence[TagDistribution]
    tag_set: TagSet
    note: str = ""


def predict_with_version(corpus: Corpus, tier: Tier) -> ReviewModel:
    """Compute tag distributions with one version.

    Args:
        corpus: Annotated documents.
        tier: The version.

    Returns:
        Its tag distributions.

    Raises:
        InputError: If the version is no encoder.
    """
    if not isinstance(tier, EncoderTier):
        raise InputError(
            f"{tier.version} is no encoder, and only encoders have tag probabilities: give an "
            "encoder, or leave out --model",
            code="review-needs-encoder",
        )
    note = (
        f"If {tier.version} was trained on these documents, it misses their errors; without "
        "--model, no document is judged by a model that was trained on it."
    )
    distributions = predict_tag_distributions(tier, corpus.documents)
    return ReviewModel(tier.version, distributions, tier.tag_set, note)


@contextmanager
def predict_with_cross_validation(
    corpus: Corpus,
    store: ModelStore,
    config: CrossValidationConfig,
    *,
    on_progress: ProgressCallback = lambda _: None,
) -> Iterator[ReviewModel]:
    """Compute tag distributions with models that were not trained on the document.

    Args:
        corpus: Annotated documents.
        store: Finished folds are cached beside its encoders until the context ends without error.
        config: Settings.
        on_progress: Called after each training step.

    Yields:
        The tag distributions.

    Raises:
        InputError: If there is nothing to review, or there are fewer different texts than folds.
        TrainingError: If a fold has no training documents, or the same run is in progress.
        BaseModelError: If the base model is missing.
    """
    check_annotated(corpus.documents, corpus.labels)
    folder = store.tier_folder(ENCODER) / f".review-{config.key(corpus.documents, corpus.labels)}"
    with lock_training(folder):
        distributions = cross_validate(
            corpus.documents,
            labels=corpus.labels,
            config=config,
            cache_dir=folder,
            on_progress=on_progress,
        )
        yield ReviewModel(f"models of {config.n_folds} folds", distributions, TagSet(corpus.labels))
        # Not reached if the caller fails: the next run then finds the finished folds.
        shutil.rmtree(folder)


def build_cross_validation_config(
    folds: int, base: str | None, *, epochs: int | None, seed: int
) -> CrossValidationConfig:
    """Replace defaults of a cross-validation; None keeps a default."""
    config = CrossValidationConfig(n_folds=folds)
    recipe = config.recipe
    schedule: dict[str, Any] = {"seed": seed}
    if epochs is not None:
        schedule |= {"epochs": epochs, "min_steps": 0}
    recipe = replace(
        recipe,
        base=recipe.base if base is None else BaseModelRef(base),
        schedule=replace(recipe.schedule, **schedule),
    )
    return replace(config, recipe=recipe)
