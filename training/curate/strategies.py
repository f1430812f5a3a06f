"""The selection strategies by name, and the selection from a predicted pool with one of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tagalong.training.curate.diversity_strategies import pick_by_k_center, pick_by_k_means
from tagalong.training.curate.mixed_strategy import pick_mixed
from tagalong.training.curate.pool import Pool
from tagalong.training.curate.selection_options import (
    SelectedDocument,
    SelectionOptions,
    StrategyName,
)
from tagalong.training.curate.uncertainty_strategies import (
    pick_by_disagreement,
    pick_by_least_confidence,
    pick_by_long_entities,
    pick_by_margin,
    pick_by_uncertainty,
)


@dataclass(frozen=True, slots=True)
class SelectionStrategy:
    """A selection strategy."""

    pick: Callable[[Pool, int], list[SelectedDocument]]  # up to a number of documents, best first
    needs_encoder: bool = False  # whether it uses `Pool.embed` or `Pool.tag_distributions`
    compares_models: bool = False  # whether it uses `Pool.other_predictions`


def _pick_random(pool: Pool, count: int) -> list[SelectedDocument]:
    # The order of the pool is random.
    return [SelectedDocument(document, "random") for document in pool.documents[:count]]


STRATEGIES: Mapping[StrategyName, SelectionStrategy] = {
    "mixed": SelectionStrategy(pick_mixed, needs_encoder=True),  # the default
    "uncertainty": SelectionStrategy(pick_by_uncertainty),
    "margin": SelectionStrategy(pick_by_margin, needs_encoder=True),
    "least-confidence": SelectionStrategy(pick_by_least_confidence),
    "disagreement": SelectionStrategy(pick_by_disagreement, compares_models=True),
    "k-means": SelectionStrategy(pick_by_k_means, needs_encoder=True),
    "k-center": SelectionStrategy(pick_by_k_center, needs_encoder=True),
    "long": SelectionStrategy(pick_by_long_entities),
    "random": SelectionStrategy(_pick_random),
}


def select_from_pool(pool: Pool, options: SelectionOptions) -> list[SelectedDocument]:
    """Select documents of a deduplicated pool with the strategy of the options.

    A random share of the pool is reserved for the random selection in all rounds; no strategy
    selects from it. All randomly selected documents together are a random sample of the first pool,
    so scores measured on them are unbiased.

    Returns documents, best first; fewer than requested if the pool is small. Random ones are spread
    evenly, so any prefix contains its share of them.
    """
    documents = pool.documents
    count, reserved = min(options.count, len(documents)), options.count_random(len(documents))
    strategy_count = count - options.count_random(count)
    candidates = replace(
        pool,
        documents=documents[reserved:],
        predictions=pool.predictions[reserved:],
        other_predictions=pool.other_predictions[reserved:],
        seed=options.seed,
    )
    # With a random share of 1 no candidate is left, and k-means needs one.
    by_strategy = iter(
        STRATEGIES[options.strategy].pick(candidates, strategy_count) if strategy_count else ()
    )
    random_documents = (SelectedDocument(document, "random") for document in documents[:reserved])
    return [
        # A rank is random where the rounded share of the ranks up to it grows.
        next(
            random_documents
            if options.count_random(rank) > options.count_random(rank - 1)
            else by_strategy
        )
        for rank in range(1, count + 1)
    ]
