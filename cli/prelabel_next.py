"""The next tasks of a project, pre-labelled by a version that has just begun to serve."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from backend.batch.run import Item
from cli.prelabel import run
from cli.prelabel_journal import begun
from cli.prelabel_places import project_place
from cli.prelabel_readers import choose_readers, engine_for
from ner.store import Store

RATE = 10.0  # requests a second to Label Studio, at most


@dataclass(frozen=True, slots=True)
class First:
    """The first of some documents, as often as they are asked for.

    Attributes:
        items: All of them.
        count: How many to take.
    """

    items: Iterable[Item]
    count: int

    def __iter__(self) -> Iterator[Item]:
        """Take them from the first."""
        return islice(self.items, self.count)


def prelabel_next(
    store: Store,
    tier: Literal["encoder", "llm"],
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
    readers = choose_readers(store, tier, None, tier, 0.0)
    with project_place(
        *(project, url, key),
        readers=readers,
        hosts=frozenset(),
        rate=RATE,
        unlabelled=True,
        view=None,
        insist=True,
    ) as place:
        few = replace(place, items=First(place.items, count), total=min(count, place.total))
        with begun(journal, few, readers) as held:
            run(held, few, readers, partial(engine_for, engine="local", address=None))
            place.show([readers.first.version])
            done = sum(held.count().values())
    return done
