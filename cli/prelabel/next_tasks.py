"""The next tasks of a project, pre-labelled by a version that has just begun to serve."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from tagalong.backend.batch.run import SourceItem
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.prelabel.command import run_batch
from tagalong.cli.prelabel.models import choose_models, open_engine
from tagalong.cli.prelabel.resume import open_batch_journal
from tagalong.cli.prelabel.source_and_sink import open_project
from tagalong.ner.model_registry import TierName

MAX_REQUESTS_PER_SECOND = 10.0  # requests a second to Label Studio, at most


@dataclass(frozen=True, slots=True)
class FirstItems:
    """The first of some documents, as often as they are asked for.

    Attributes:
        items: All of them.
        count: How many to take.
    """

    items: Iterable[SourceItem]
    count: int

    def __iter__(self) -> Iterator[SourceItem]:
        """Take them from the first."""
        return islice(self.items, self.count)


def prelabel_next_tasks(
    store: ModelStore,
    tier: TierName,
    project: int,
    count: int,
    *,
    url: str,
    key: str,
    journal: Path,
) -> int:
    """Predict the next tasks that nobody has annotated, by what serves now.

    Args:
        store: Of versions.
        tier: Which reads.
        project: Its id.
        count: How many tasks.
        url: Of Label Studio.
        key: A token.
        journal: Of what is done, should the process be killed.

    Returns:
        How many there were.

    Raises:
        TagalongError: If it cannot be done; what is done stays.
    """
    readers = choose_models(store, tier, None, tier, 0.0)
    with open_project(
        *(project, url, key),
        prelabel_models=readers,
        hosts=frozenset(),
        rate=MAX_REQUESTS_PER_SECOND,
        unlabelled=True,
        view=None,
        replace_shown_version=True,
    ) as place:
        few = replace(
            place, items=FirstItems(place.items, count), total_items=min(count, place.total_items)
        )
        with open_batch_journal(journal, few, readers) as held:
            run_batch(held, few, readers, partial(open_engine, engine="local", address=None))
            place.show([readers.first_pass.version])
            done = sum(held.count_by_state().values())
    return done
