"""A pool of texts and what models say of them -> what to annotate next, best first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ner.document import Document, Prediction
from ner.errors import InputError
from training.curate.choices import Choice, Options, StrategyName
from training.curate.disagreement import DISAGREEMENT
from training.curate.diversity import K_CENTER, K_MEANS
from training.curate.long_entities import LONG_ENTITIES
from training.curate.mixed import MIXED
from training.curate.opinions import Opinion
from training.curate.pool import Floats, Need, Pick, Pool, Strategy, sift
from training.curate.uncertainty import LEAST_CONFIDENCE, MARGIN, UNCERTAINTY

NEEDED: Mapping[Need, str] = {
    "against": "what a second system says",
    "vectors": "where an encoder sees the documents",
    "opinions": "an encoder's probability of every tag",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a strategy may look at beside the predictions; nothing is asked for in vain.

    Attributes:
        against: What a second system says of each document of the pool, in its order.
        vectors: Says where documents lie, of unit length: (documents, width).
        opinions: Says the probability of every tag.
    """

    against: Sequence[Prediction] = ()
    vectors: Callable[[Sequence[Document]], Floats] | None = None
    opinions: Callable[[Sequence[Document]], Sequence[Opinion]] | None = None


def _as_drawn(pool: Pool, count: int) -> list[Pick]:
    """By lot: that is the order of the pool."""
    return [Pick(place, "random") for place in range(min(count, len(pool.documents)))]


STRATEGIES: Mapping[StrategyName, Strategy] = {
    "mixed": MIXED,
    "uncertainty": UNCERTAINTY,
    "margin": MARGIN,
    "least-confidence": LEAST_CONFIDENCE,
    "disagreement": DISAGREEMENT,
    "k-means": K_MEANS,
    "k-center": K_CENTER,
    "long": LONG_ENTITIES,
    "random": Strategy(_as_drawn),
}


def choose(
    pool: Sequence[Document],
    predictions: Sequence[Prediction],
    options: Options,
    *,
    labelled: Sequence[Document] = (),
    evidence: Evidence | None = None,
) -> list[Choice]:
    """Choose what to annotate next.

    A share of the pool is set aside by lot, and no strategy touches it: the random ones come from
    there, round after round. All of them together are then what a random sample of the first pool
    would have been, so what is measured on them holds for all of it.

    Args:
        pool: In any order, which does not matter; a text that is there twice is chosen once.
        predictions: What the current model says of each, in the same order.
        options: How to choose.
        labelled: What is annotated already, and is not chosen again.
        evidence: What else is known.

    Returns:
        The documents, best first, fewer than asked for where there are no more. The random ones are
        spread evenly, so that whoever stops half-way has their share too.

    Raises:
        InputError: If there is nothing to choose from, or the strategy needs what is not known.
    """
    strategy, evidence = STRATEGIES[options.strategy], evidence or Evidence()
    for need in sorted(strategy.needs):
        if not getattr(evidence, need):
            raise InputError(
                f"the strategy {options.strategy} needs {NEEDED[need]}, which is not known: give "
                "it, or choose another strategy"
            )
    documents = sift(pool, labelled, seed=options.seed).documents
    if not documents:
        raise InputError(
            f"of {len(pool)} documents none has a text that is not annotated already: give others"
        )
    count, aside = min(options.count, len(documents)), options.drawn(len(documents))
    left, wanted = documents[aside:], count - options.drawn(count)
    picks = []
    if wanted:
        said = dict(zip(pool, predictions, strict=True))
        theirs = dict(zip(pool, evidence.against, strict=True)) if evidence.against else {}
        rest = Pool(
            left,
            [said[document] for document in left],
            against=[theirs[document] for document in left] if theirs else (),
            seed=options.seed,
        )
        known = sift(labelled, seed=options.seed).documents
        picks = strategy.pick(_looked_into(rest, known, strategy, evidence), wanted)
    taken = (Choice(left[pick.place], pick.reason, pick.score) for pick in picks)
    drawn = (Choice(document, "random") for document in documents[:aside])
    return [
        next(drawn if options.drawn(rank) > options.drawn(rank - 1) else taken)
        for rank in range(1, count + 1)
    ]


def _looked_into(
    pool: Pool, known: Sequence[Document], strategy: Strategy, evidence: Evidence
) -> Pool:
    """The pool with what a strategy needs of an encoder."""
    if "vectors" in strategy.needs and evidence.vectors is not None:
        vectors, there = evidence.vectors(pool.documents), evidence.vectors(known)
        pool = replace(pool, vectors=vectors, known=there)
    if "opinions" in strategy.needs and evidence.opinions is not None:
        pool = replace(pool, opinions=evidence.opinions(pool.documents))
    return pool
