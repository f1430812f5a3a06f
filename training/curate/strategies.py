"""A pool of texts and what models say of them -> what to annotate next, best first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError
from tagalong.training.curate.disagreement import DISAGREEMENT
from tagalong.training.curate.diversity import K_CENTER, K_MEANS
from tagalong.training.curate.long_entities import LONG_ENTITIES
from tagalong.training.curate.mixed import MIXED
from tagalong.training.curate.pool import (
    Float64Array,
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

INPUT_DESCRIPTIONS: Mapping[StrategyInputName, str] = {
    "other_predictions": "what a second system says",
    "document_vectors": "where an encoder sees the documents",
    "tag_distributions": "an encoder's probability of every tag",
}


@dataclass(frozen=True, slots=True)
class StrategyInputs:
    """What a strategy may look at beside the predictions; nothing is asked for in vain.

    Attributes:
        other_predictions: What a second system says of each document of the pool, in its order.
        document_vectors: Says where documents lie, of unit length: (documents, width).
        tag_distributions: Says the probability of every tag.
    """

    other_predictions: Sequence[Prediction] = ()
    document_vectors: Callable[[Sequence[Document]], Float64Array] | None = None
    tag_distributions: Callable[[Sequence[Document]], Sequence[TagDistribution]] | None = None


def _pick_random(pool: Pool, count: int) -> list[Pick]:
    """By lot: that is the order of the pool."""
    return [Pick(place, "random") for place in range(min(count, len(pool.documents)))]


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
    """Choose what to annotate next.

    A share of the pool is set aside by lot, and no strategy touches it: the random ones come from
    there, round after round. All of them together are then what a random sample of the first pool
    would have been, so what is measured on them holds for all of it.

    Args:
        pool: In any order, which does not matter; a text that is there twice is chosen once.
        predictions: What the current model says of each, in the same order.
        options: How to choose.
        labeled: What is annotated already, and is not chosen again.
        inputs: What else is known.

    Returns:
        The documents, best first, fewer than asked for where there are no more. The random ones are
        spread evenly, so that whoever stops half-way has their share too.

    Raises:
        InputError: If there is nothing to choose from, or the strategy needs what is not known.
    """
    strategy, inputs = STRATEGIES[options.strategy], inputs or StrategyInputs()
    for need in sorted(strategy.required_inputs):
        if not getattr(inputs, need):
            raise InputError(
                f"the strategy {options.strategy} needs {INPUT_DESCRIPTIONS[need]}, which is not known: give "
                "it, or choose another strategy"
            )
    documents = deduplicate_pool(pool, labeled, seed=options.seed).documents
    if not documents:
        raise InputError(
            f"of {len(pool)} documents none has a text that is not annotated already: give others"
        )
    count, aside = min(options.count, len(documents)), options.count_random(len(documents))
    left, wanted = documents[aside:], count - options.count_random(count)
    picks = []
    if wanted:
        said = dict(zip(pool, predictions, strict=True))
        theirs = (
            dict(zip(pool, inputs.other_predictions, strict=True))
            if inputs.other_predictions
            else {}
        )
        rest = Pool(
            left,
            [said[document] for document in left],
            other_predictions=[theirs[document] for document in left] if theirs else (),
            seed=options.seed,
        )
        known = deduplicate_pool(labeled, seed=options.seed).documents
        picks = strategy.pick(_with_encoder_inputs(rest, known, strategy, inputs), wanted)
    taken = (SelectedDocument(left[pick.index], pick.reason, pick.score) for pick in picks)
    drawn = (SelectedDocument(document, "random") for document in documents[:aside])
    return [
        next(drawn if options.count_random(rank) > options.count_random(rank - 1) else taken)
        for rank in range(1, count + 1)
    ]


def _with_encoder_inputs(
    pool: Pool, known: Sequence[Document], strategy: SelectionStrategy, evidence: StrategyInputs
) -> Pool:
    """The pool with what a strategy needs of an encoder."""
    if "document_vectors" in strategy.required_inputs and evidence.document_vectors is not None:
        vectors, there = evidence.document_vectors(pool.documents), evidence.document_vectors(known)
        pool = replace(pool, document_vectors=vectors, labeled_vectors=there)
    if "tag_distributions" in strategy.required_inputs and evidence.tag_distributions is not None:
        pool = replace(pool, tag_distributions=evidence.tag_distributions(pool.documents))
    return pool
