"""Select the documents to annotate next: predict a pool with one or two models, and choose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tagalong.backend.batch.source_and_sink import format_names
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError, LabelError
from tagalong.training.curate.encoder_outputs import (
    as_encoder,
    embed_documents,
    predict_tag_distributions,
)
from tagalong.training.curate.pool import DeduplicatedPool, Pool, deduplicate_pool
from tagalong.training.curate.selection_options import (
    SelectedDocument,
    SelectionOptions,
    StrategyName,
)
from tagalong.training.curate.strategies import STRATEGIES, select_from_pool
from tagalong.training.curate.uncertainty_strategies import keep_labels

Predict = Callable[[DocumentTagger, Sequence[Document]], list[Prediction]]


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
            "without_words": self.pool.without_words,
            "selected": [one.to_json(rank) for rank, one in enumerate(self.selected_documents, 1)],
        }


def find_unknown_labels(
    tagger: DocumentTagger, annotated: Sequence[Document], config: LabelConfig | None
) -> list[str]:
    """Find annotated labels that a model does not know, sorted.

    The labelling config may map the model's labels to other names.

    Raises:
        LabelError: If the model knows none of the labels.
    """
    used = sorted({span.label for document in annotated for span in document.spans})
    known = (
        tagger.labels
        if config is None
        else map_labels(tagger.labels, config).project_labels.values()
    )
    unknown = [label for label in used if label not in known]
    if unknown and len(unknown) == len(used):
        raise LabelError(
            f"{tagger.version} predicts {format_names(tagger.labels)}, but the annotations have "
            f"{format_names(used)}: give a --model trained on these labels",
            code="labels-unknown-to-model",
        )
    return unknown


def select_documents(
    documents: Sequence[Document],
    tagger: DocumentTagger,
    options: SelectionOptions,
    *,
    labeled: Sequence[Document],
    other_tagger: DocumentTagger | None,
    predict: Predict,
) -> SelectionResult:
    """Predict documents with one or two models, and select by the predictions.

    `labeled` are never selected; `other_tagger` is for the strategy that compares. The command line
    adds a progress bar to `predict`.

    Raises:
        InputError: If no document is left, or the strategy needs another model.
        LabelError: If the two models have no label in common.
    """
    candidates = deduplicate_pool(documents, labeled, seed=options.seed)
    if not candidates.documents:
        raise InputError(
            f"no document is left to select: of {pluralize(len(documents), 'document')}, "
            f"{candidates.already_annotated:,} are annotated already and "
            f"{candidates.without_words:,} have no words, so add documents",
            code="nothing-to-select",
        )
    # Refused before the prediction, which may take hours.
    encoder = as_encoder(tagger)
    if encoder is None and STRATEGIES[options.strategy].needs_encoder:
        raise InputError(
            f"the strategy {options.strategy} needs an encoder, and {tagger.version} is none: give "
            "an encoder with --model, or use another strategy, such as uncertainty",
            code="strategy-needs-encoder",
        )
    labels = () if other_tagger is None else _shared_labels(tagger, other_tagger)
    # Predicted in the order of the pool, so that batches do not depend on the input order.
    pool = Pool(
        candidates.documents,
        predict(tagger, candidates.documents),
        labeled=deduplicate_pool(labeled, seed=options.seed).documents,
    )
    if other_tagger is not None:  # a label that only one model knows is no disagreement
        pool = replace(
            pool,
            predictions=keep_labels(pool.predictions, labels),
            other_predictions=keep_labels(predict(other_tagger, pool.documents), labels),
        )
    if encoder is not None:
        pool = replace(
            pool,
            embed=partial(embed_documents, encoder),
            tag_distributions=partial(predict_tag_distributions, encoder),
        )
    selected = select_from_pool(pool, options)
    return SelectionResult(selected, candidates, tagger.version, options.strategy)


def _shared_labels(one: DocumentTagger, other: DocumentTagger) -> list[str]:
    """Labels that two different models both know, in the order of the first."""
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
