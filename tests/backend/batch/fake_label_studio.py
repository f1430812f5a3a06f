"""A fake Label Studio in memory, with any number of tasks and scripted network faults."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

from tagalong.backend.batch.source_and_sink import ProjectOptions
from tagalong.backend.label_studio.api.http_client import PAGE_SIZE
from tagalong.backend.label_studio.api.objects import Project, StoredPrediction, Task
from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
from tagalong.backend.label_studio.connected_project import ConnectedProject
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.ner.errors import LabelStudioError

CONFIG = parse_label_config(
    '<View><Labels name="l" toName="t"><Label value="Chemical"/><Label value="Disease"/></Labels>'
    '<Text name="t" value="$text"/></View>'
)
VERSION = "lexicon-1"
PROJECT = ProjectOptions(project=1, url="", key="")


class Killed(BaseException):
    """The process is killed."""


class FakeLabelStudio:
    """A Label Studio in memory that loses requests and answers by a script.

    Each request takes the next fault: "" for none; "before" and "after" for a connection that is
    lost before or after predictions are stored; "late" for one that is lost and stores them with
    the next request; "killed" and "killed after" for a kill of the client.
    """

    def __init__(self, tasks: int, faults: Sequence[str] = ()) -> None:
        self.texts = {number * 3: f"naloxone {number}" for number in range(1, tasks + 1)}
        self.stored: list[StoredPrediction] = []
        self.late: list[dict[str, Any]] = []
        self.faults = iter(faults)
        self._numbers = count(1)
        self.forbidden: set[int] = set()  # tasks whose predictions are dropped
        self.refusing: set[int] = (
            set()
        )  # tasks whose predictions make Label Studio refuse the request
        self.failing_loader: set[int] = set()  # tasks whose predictions make the request fail
        self.url = "http://127.0.0.1:8080"
        self.connection = SimpleNamespace(authorization_header=str)
        self.tasks = SimpleNamespace(list_after=self._list_after, list_by_id=self._list_by_id)
        self.predictions = SimpleNamespace(add=self._add, remove=self._remove)
        self.backend_urls: list[str] = []
        self.ml_backends = SimpleNamespace(
            list_for_project=lambda _: [SimpleNamespace(url=url) for url in self.backend_urls]
        )
        self.model_version = ""

    def _fault(self, *, store: list[dict[str, Any]] | None = None) -> None:
        fault = next(self.faults, "")
        if fault == "killed":
            raise Killed
        if fault == "before":
            raise LabelStudioError("lost", "unreachable")
        if store is not None:
            if fault == "late":
                self.late += store
            else:
                self._store(store)
        if fault == "killed after":
            raise Killed
        if fault in ("after", "late"):
            raise LabelStudioError("lost", "unreachable")

    def _store(self, items: Sequence[dict[str, Any]]) -> None:
        for item in items:
            if item["task"] not in self.texts:
                continue
            number, version, score = next(self._numbers), item["model_version"], item["score"]
            result = tuple(item["result"])
            self.stored.append(StoredPrediction(number, item["task"], version, score, result))

    def get_project(self, project: int) -> Project:
        """The settings of the project, which was created one second after 1970 began."""
        return Project(
            id=project,
            title="",
            created=1,
            label_config="",
            model_version=self.model_version,
            shows_predictions=True,
            sampling="",
            task_count=len(self.texts),
            prediction_count=len(self.stored),
            annotation_count=0,
        )

    def update_project(self, project: int, *, model_version: str) -> None:
        """Change the shown version."""
        self.model_version = model_version

    def deliver_late(self) -> None:
        """Store the late predictions."""
        self._store(self.late)
        self.late = []

    def delete_predictions(self, number: int) -> None:
        """Delete a task's predictions."""
        self.stored = [one for one in self.stored if one.task != number]

    def delete_task(self, number: int) -> None:
        """Delete a task."""
        self.texts.pop(number, None)
        self.delete_predictions(number)

    def _task(self, number: int) -> Task:
        predictions = tuple(one for one in self.stored if one.task == number)
        return Task(number, {"text": self.texts[number]}, predictions)

    def _list_after(
        self, project: int, after_id: int = 0, *, unlabeled_only: bool = False
    ) -> list[Task]:
        self._fault()
        return [self._task(number) for number in sorted(self.texts) if number > after_id][
            :PAGE_SIZE
        ]

    def _list_by_id(self, project: int, ids: Sequence[int]) -> list[Task]:
        assert len(ids) <= PAGE_SIZE
        self._fault()
        return [self._task(number) for number in sorted(ids) if number in self.texts]

    def _add(self, project: int, items: Sequence[dict[str, Any]]) -> int:
        self.deliver_late()
        numbers = {item["task"] for item in items}
        if numbers - self.texts.keys() or numbers & self.refusing:
            raise LabelStudioError("refused", "refused", "it says why")
        if numbers & self.failing_loader:
            raise LabelStudioError("failed", "failed", "it says how")
        taken = [item for item in items if item["task"] not in self.forbidden]
        self._fault(store=taken)
        return len(taken)

    def _remove(self, prediction: int) -> None:
        self._fault()
        self.stored = [one for one in self.stored if one.id != prediction]


def connect_project(label_studio: Any, **retry: Any) -> ConnectedProject:
    """Connect to the project without pauses between requests."""
    return ConnectedProject(
        label_studio, 1, CONFIG, RateLimitedRetry(requests_per_second=1e6, **retry)
    )


def count_predictions(label_studio: FakeLabelStudio) -> dict[int, int]:
    """Number of predictions by task, for tasks with predictions."""
    return dict(Counter(one.task for one in label_studio.stored))


class FakeClock:
    """Replaces the module `time`: `sleep` returns at once and runs the actions that are due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._coming: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self.now += seconds
        due = [then for when, then in self._coming if when <= self.now]
        self._coming = [one for one in self._coming if one[0] > self.now]
        for then in due:
            then()

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Schedule an action."""
        self._coming.append((self.now + seconds, then))
