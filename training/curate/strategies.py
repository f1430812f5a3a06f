"""Select the documents to annotate next from a pool and model predictions, best first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError
from tagalong.training.curate.disagreement import DISAGREEMENT
from tagalong.training.curate.diversity import K_CENTER, K_MEANS
from tagalong.training.curate.long_entities import LONG_ENTITIES
from tagalong.training.curate.mixed import MIXED
from tagalong.training.curate.pool import (
    Pick,
    Pool,
    SelectionStrategy,
    StrategyInputName,
    deduplicate_pool,
)
from tagalong.training.curate.selection import SelectedDocument, SelectionOptions, StrategyName
from tagalong.training.curate.tag_distributions import TagDistribution
from tagalong.training.curate.uncertainty import (
    LEAST_CONFIDENCE_STRATEGY,
    MARGIN_STRATEGY,
    UNCERTAINTY_STRATEGY,
)
from tagalong.training.evaluation.bootstrap import Float64Array

INPUT_DESCRIPTIONS: Mapping[StrategyInputName, str] = {
    "other_predictions": "the predictions of a second model",
    "document_vectors": "document vectors of an encoder",
    "tag_distributions": "tag probabilities of an encoder",
}


@dataclass(frozen=True, slots=True)
class StrategyInputs:
    """Inputs of strategies beside the predictions; the callables run only if needed.

    Attributes:
        other_predictions: Predictions of a second model, in the order of the pool.
        document_vectors: Embeds documents as unit vectors: (documents, width).
        tag_distributions: Computes the probability of every tag.
    """

    other_predictions: Sequence[Prediction] = ()
    document_vectors: Callable[[Sequence[Document]], Float64Array] | None = None
    tag_distributions: Callable[[Sequence[Document]], Sequence[TagDistribution]] | None = None


def _pick_random(pool: Pool, count: int) -> list[Pick]:
    """Take the first documents: the order of the pool is random."""
    return [Pick(index, "random") for index in range(min(count, len(pool.documents)))]


STRATEGIES: Mapping[StrategyName, SelectionStrategy] = {
    "mixed": MIXED,
    "uncertainty": UNCERTAINTY_STRATEGY,
    "margin": MARGIN_STRATEGY,
    "least-confidence": LEAST_CONFIDENCE_STRATEGY,
    "disagreement": DISAGREEMENT,
    "k-means": K_MEANS,
    "k-center": K_CENTER,
    "long": LONG_ENTITIES,
    "random": SelectionStrategy(_pick_random),
}


def select_documents(
    pool: Sequence[Document],
    predictions: Sequence[Prediction],
    options: SelectionOptions,
    *,
    labeled: Sequence[Document] = (),
    inputs: StrategyInputs | None = None,
) -> list[SelectedDocument]:
    """Select documents to annotate next.

    A random share of the pool is reserved for the random selection in all rounds; no strategy
    selects from it. All randomly selected documents together are a random sample of the first pool,
    so scores measured on them are unbiased.

    Args:
        pool: Documents in any order; a repeated text is selected once.
        predictions: Predictions of the current model, in the order of `pool`.
        options: Selection settings.
        labeled: Documents that are annotated already and are never selected.
        inputs: Further inputs of the strategy.

    Returns:
        Documents, best first; fewer than requested if the pool is small. Random ones are spread
        evenly, so any prefix contains its share of them.

    Raises:
        InputError: If the pool has no new text, or the strategy lacks an input.
    """
    strategy, inputs = STRATEGIES[options.strategy], inputs or StrategyInputs()
    for required in sorted(strategy.required_inputs):
        if not getattr(inputs, required):
            raise InputError(
                f"the strategy {options.strategy} needs {INPUT_DESCRIPTIONS[required]}: "
                "give it, or use another strategy",
                code="strategy-without-input",
            )
    documents = deduplicate_pool(pool, labeled, seed=options.seed).documents
    if not documents:
        raise InputError(
            f"all texts of the {len(pool)} documents are annotated already: give other documents",
            code="nothing-to-select",
        )
    count, reserved = min(options.count, len(documents)), options.count_random(len(documents))
    candidates, strategy_count = documents[reserved:], count - options.count_random(count)
    picks = []
    if strategy_count:
        prediction_by_document = dict(zip(pool, predictions, strict=True))
        other_by_document = (
            dict(zip(pool, inputs.other_predictions, strict=True))
            if inputs.other_predictions
            else {}
        )
        candidate_pool = Pool(
            candidates,
            [prediction_by_document[document] for document in candidates],
            other_predictions=[other_by_document[document] for document in candidates]
            if other_by_document
            else (),
            seed=options.seed,
        )
        annotated = deduplicate_pool(labeled, seed=options.seed).documents
        picks = strategy.pick(
            _with_encoder_inputs(candidate_pool, annotated, strategy, inputs), strategy_count
        )
    picked = (SelectedDocument(candidates[pick.index], pick.reason, pick.score) for pick in picks)
    random_documents = (SelectedDocument(document, "random") for document in documents[:reserved])
    return [
        next(
            random_documents
            if options.count_random(rank) > options.count_random(rank - 1)
            else picked
        )
        for rank in range(1, count + 1)
    ]


def _with_encoder_inputs(
    pool: Pool, annotated: Sequence[Document], strategy: SelectionStrategy, inputs: StrategyInputs
) -> Pool:
    if "document_vectors" in strategy.required_inputs and inputs.document_vectors is not None:
        pool = replace(
            pool,
            document_vectors=inputs.document_vectors(pool.documents),
            labeled_vectors=inputs.document_vectors(annotated),
        )
    if "tag_distributions" in strategy.required_inputs and inputs.tag_distributions is not None:
        pool = replace(pool, tag_distributions=inputs.tag_distributions(pool.documents))
    return pool
