"""Pre-labelling of a project's next tasks, after a new version was promoted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tagalong.backend.batch.label_studio_project import open_project
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.prelabel import run_batch
from tagalong.backend.batch.resume import open_batch_journal
from tagalong.backend.batch.source_and_sink import ProjectOptions
from tagalong.backend.documents.source_item import SourceItem


@dataclass(frozen=True, slots=True)
class FirstItems:
    """The first items of a source, for each pass.

    Attributes:
        items: All of them.
        count: How many to take.
    """

    items: Iterable[SourceItem]
    count: int

    def __iter__(self) -> Iterator[SourceItem]:
        return islice(self.items, self.count)


def prelabel_next_tasks(
    models: BatchModels,
    options: ProjectOptions,
    count: int,
    *,
    journal: Path,
    notify: Callable[[str], None],
) -> int:
    """Predict a project's next tasks without annotations; return how many there were."""
    options = replace(options, unlabeled_only=True, replace_shown_version=True)
    with open_project(options, models, notify=notify) as project:
        first = replace(
            project,
            items=FirstItems(project.items, count),
            total_items=min(count, project.total_items),
        )
        with open_batch_journal(journal, first, models, notify=notify) as state:
            run_batch(state, first, models)
            project.show([models.first_pass.version])
            return sum(state.count_by_state().values())
