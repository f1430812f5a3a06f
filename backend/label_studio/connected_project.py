"""A project of a Label Studio, with its labelling config, a rate limit and retries."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.backend.label_studio.api.http_client import PAGE_SIZE
from tagalong.backend.label_studio.api.objects import Project, Task
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.ner.errors import FormatError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConnectedProject:
    """A project. Methods raise LabelStudioError if Label Studio refuses or stays unreachable."""

    client: LabelStudioClient
    id: int
    config: LabelConfig
    retry: RateLimitedRetry
    allowed_hosts: frozenset[str] = frozenset()  # from which texts may be downloaded

    def call(
        self, method: Callable[Concatenate[int, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Call a method of the client that takes the project's id first; it may be repeated."""
        return self.retry.call(partial(method, self.id, *args, **options))

    def iterate_tasks(self, *, unlabeled_only: bool = False) -> Iterator[Task]:
        """Read the tasks with their predictions, page by page, in the order of their ids."""
        last = 0
        while True:
            page = self.call(self.client.tasks.list_after, last, unlabeled_only=unlabeled_only)
            yield from page
            if len(page) < PAGE_SIZE:
                return
            last = page[-1].id

    def read_tasks(self, ids: Sequence[int]) -> Iterator[Task]:
        """Read the existing ones of these tasks with their predictions, page by page."""
        for start in range(0, len(ids), PAGE_SIZE):
            yield from self.call(self.client.tasks.list_by_id, ids[start : start + PAGE_SIZE])


@contextmanager
def connect_project(
    url: str,
    key: str,
    project: int,
    retry: RateLimitedRetry,
    *,
    allowed_hosts: frozenset[str] = frozenset(),
) -> Iterator[ConnectedProject]:
    """Connect to a project; LabelStudioError or FormatError if it or its config cannot be used."""
    with connect(url, key) as client:
        config = read_project_config(client, client.get_project(project))
        yield ConnectedProject(client, project, config, retry, allowed_hosts)


def read_project_config(client: LabelStudioClient, project: Project) -> LabelConfig:
    """Parse the labelling config of a project as serving does; raises FormatError.

    Of several ``<Labels>``, the extra params of an ML backend name the one to use. Only then is
    Label Studio asked for its backends, because it calls each of them first.
    """
    xml, control = project.label_config, None
    try:
        config = parse_label_config(xml)
        has_several = len({text.control for text in config.texts}) > 1
    except FormatError as error:
        if error.code != "label-config-control-not-unique":
            raise
        has_several = True
    if has_several:
        backends = client.ml_backends.list_for_project(project.id)
        control = next((one.control_name for one in backends if one.control_name), None)
    return parse_label_config(xml, control=control)
