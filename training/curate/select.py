"""Select the documents to annotate next with one or two models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tagalong.backend.batch.source_and_sink import format_names
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.tier import Tier
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError, LabelError
from tagalong.training.corpus import Corpus
from tagalong.training.curate.disagreement import keep_shared_labels
from tagalong.training.curate.embeddings import embed_documents
from tagalong.training.curate.pool import DeduplicatedPool, deduplicate_pool
from tagalong.training.curate.selection import SelectedDocument, SelectionOptions, StrategyName
from tagalong.training.curate.strategies import STRATEGIES, StrategyInputs, select_documents
from tagalong.training.curate.tag_distributions import predict_tag_distributions

Predict = Callable[[Tier, Sequence[Document]], list[Prediction]]


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """The selected documents, in order, and the pool they were selected from."""

    selected_documents: list[SelectedDocument]
    pool: DeduplicatedPool
    version: str
    strategy: StrategyName

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {
            "model": self.version,
            "strategy": self.strategy,
            "pool": len(self.pool.documents),
            "annotated": self.pool.already_annotated,
            "repeated": self.pool.repeated_texts,
            "wordless": self.pool.without_words,
            "chosen": [
                selected.to_json(rank)
                for rank, selected in enumerate(self.selected_documents, start=1)
            ],
        }


def find_unknown_labels(tier: Tier, corpus: Corpus, config: LabelConfig | None = None) -> list[str]:
    """Find annotated labels that a model does not know.

    Args:
        tier: The model.
        corpus: Annotated documents.
        config: Labeling config, which may map the model's labels to other names.

    Returns:
        The labels, sorted.

    Raises:
        LabelError: If the model knows none of the labels.
    """
    used = sorted({span.label for document in corpus.documents for span in document.spans})
    known = (
        tier.labels if config is None else map_labels(tier.labels, config).project_labels.values()
    )
    unknown = [label for label in used if label not in known]
    if unknown and len(unknown) == len(used):
        raise LabelError(
            f"{tier.version} predicts {format_names(tier.labels)}, but the annotations have "
            f"{format_names(used)}: give a --model trained on these labels",
            code="labels-unknown-to-model",
        )
    return unknown


def select_next_documents(
    documents: Sequence[Document],
    tier: Tier,
    options: SelectionOptions,
    *,
    labeled: Sequence[Document] = (),
    other_tier: Tier | None = None,
    predict: Predict = lambda tier, documents: tier.predict(documents),
) -> SelectionResult:
    """Predict a pool, and select documents by the predictions.

    Args:
        documents: The pool.
        tier: Current model.
        options: Selection settings.
        labeled: Annotated documents.
        other_tier: Second model, for strategies that compare.
        predict: Predicts documents with a model; the command line adds a progress bar.

    Returns:
        The selection.

    Raises:
        InputError: If no document is left, or the strategy needs another model.
        LabelError: If the two models have no label in common.
    """
    pool = deduplicate_pool(documents, labeled, seed=options.seed)
    if not pool.documents:
        raise InputError(
            f"no document is left to select: of {len(documents):,} documents, "
            f"{pool.already_annotated:,} are annotated already and {pool.without_words:,} have no "
            "words, so add documents",
            code="nothing-to-select",
        )
    inputs = build_strategy_inputs(tier, options.strategy)
    labels = [] if other_tier is None else shared_labels(tier, other_tier)
    # Predicted in pool order, so that batches do not depend on the input order.
    predictions = predict(tier, pool.documents)
    if other_tier is not None:
        predictions, other_predictions = keep_shared_labels(
            predictions, predict(other_tier, pool.documents), labels
        )
        inputs = replace(inputs, other_predictions=other_predictions)
    selected = select_documents(
        pool.documents, predictions, options, labeled=labeled, inputs=inputs
    )
    return SelectionResult(selected, pool, tier.version, options.strategy)


def shared_labels(one: Tier, other: Tier) -> list[str]:
    """Labels that two different models both know.

    Args:
        one: A model.
        other: Another model.

    Returns:
        The labels, in the order of the first model.

    Raises:
        InputError: If both are the same version.
        LabelError: If they have no label in common.
    """
    if one.version == other.version:
        raise InputError(
            f"both models are {one.version}: give another one with --against", code="same-model"
        )
    if labels := [label for label in one.labels if label in other.labels]:
        return labels
    raise LabelError(
        f"{one.version} predicts {format_names(one.labels)}, and {other.version} "
        f"{format_names(other.labels)}: compare models with a common label",
        code="no-common-label",
    )


def build_strategy_inputs(tier: Tier, name: StrategyName) -> StrategyInputs:
    """Build the inputs that only an encoder has; none for other tiers.

    Args:
        tier: Current model.
        name: The strategy.

    Returns:
        The inputs.

    Raises:
        InputError: If the strategy needs an encoder and the model is none.
    """
    if isinstance(tier, EncoderTier):
        return StrategyInputs(
            document_vectors=partial(embed_documents, tier),
            tag_distributions=partial(predict_tag_distributions, tier),
        )
    if STRATEGIES[name].required_inputs - {"other_predictions"}:
        raise InputError(
            f"the strategy {name} needs an encoder, and {tier.version} is none: give an encoder "
            "with --model, or use another strategy, such as uncertainty",
            code="strategy-needs-encoder",
        )
    return StrategyInputs()
