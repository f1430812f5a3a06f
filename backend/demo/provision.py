"""The demo's project: made, filled and connected, or found again and mended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from backend.remote.address import LOOPBACK
from backend.remote.client import LabelStudio
from backend.remote.objects import Backend, Project, StoredPrediction, Task
from ner.errors import LabelStudioError

TITLE = "Tagalong demo"
ATTEMPTS = 2  # the model may still be loading when Label Studio's patience ends the first


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The demo's project, ready.

    Attributes:
        project: As it is now.
        backend: Connected to it.
        tasks: All of it.
        resumed: Whether it was there before.
    """

    project: Project
    backend: Backend
    tasks: tuple[Task, ...]
    resumed: bool


def provision(label_studio: LabelStudio, backend_url: str, *, title: str = TITLE) -> Provisioned:
    """Make the project, import the abstracts, connect the backend, fetch its predictions.

    Whatever of it is there is kept, so that running it twice changes nothing, and a run that was
    interrupted is finished.

    Args:
        label_studio: Where.
        backend_url: Of the backend, as Label Studio reaches it.
        title: Of the project.

    Returns:
        What is there now.

    Raises:
        LabelStudioError: If Label Studio says no, or the backend gives it no predictions.
    """
    found = label_studio.projects(title)
    project = found[-1].id if found else _create(label_studio, title)
    _import_missing(label_studio, project)
    backend = _connect(label_studio, project, backend_url)
    _show(label_studio, project, backend.model_version)
    _predict(label_studio, project, backend)
    return Provisioned(
        label_studio.project(project), backend, tuple(label_studio.tasks.of(project)), bool(found)
    )


@cache
def label_config() -> str:
    """The labelling config that README shows too."""
    return (files("backend.demo") / "label_config.xml").read_text(encoding="utf-8")


@cache
def abstracts() -> Sequence[dict[str, str]]:
    """The data of the tasks: ``text``, and ``pmid``, which tells one from the other."""
    held = json.loads((files("backend.demo") / "abstracts.json").read_text(encoding="utf-8"))
    return tuple(held["abstracts"])


def _create(label_studio: LabelStudio, title: str) -> int:
    """A new project that shows predictions and begins with what the model is least sure of."""
    project = label_studio.create_project(title, label_config())
    label_studio.update_project(project.id, shows_predictions=True, sampling="Uncertainty sampling")
    return project.id


def _import_missing(label_studio: LabelStudio, project: int) -> None:
    """Import the abstracts, or those that an interrupted run left out."""
    there = {task.data.get("pmid") for task in label_studio.tasks.of(project)}
    missing = [{"data": data} for data in abstracts() if data["pmid"] not in there]
    if missing:
        label_studio.tasks.add(project, missing)


def _connect(label_studio: LabelStudio, project: int, url: str) -> Backend:
    """The backend, titled by the version it serves: what scores and sampling go by."""
    _forget_gone(label_studio, project, url)
    there = [backend for backend in label_studio.backends.of(project) if backend.url == url]
    backend = there[0] if there else label_studio.backends.add(project, url, TITLE)
    if not backend.connected:
        raise LabelStudioError(
            f"Label Studio cannot use the backend at {url}: {backend.error or 'no answer'}",
            "refused",
            backend.error,
        )
    if backend.title != backend.model_version:
        backend = label_studio.backends.update(backend, title=backend.model_version)
    return backend


def _forget_gone(label_studio: LabelStudio, project: int, url: str) -> None:
    """Remove what an earlier run on another port left: only the first backend predicts."""
    gone = [
        backend
        for backend in label_studio.backends.of(project)
        if backend.url != url and not backend.connected and _on_loopback(backend.url)
    ]
    for backend in gone:
        label_studio.backends.remove(backend.id)
    hooks = [f"{backend.url.rstrip('/')}/webhook" for backend in gone]
    for webhook in label_studio.webhooks.of(project):
        if webhook.url in hooks:
            label_studio.webhooks.remove(webhook.id)


def _on_loopback(url: str) -> bool:
    """Whether a backend is one of this machine."""
    return urlsplit(url).hostname in LOOPBACK


def _show(label_studio: LabelStudio, project: int, version: str) -> None:
    """Have the version's predictions shown, whatever was chosen before."""
    if label_studio.project(project).model_version != version:
        label_studio.update_project(project, model_version=version)


def _predict(label_studio: LabelStudio, project: int, backend: Backend) -> None:
    """Fetch what is missing, and look whether it came: Label Studio says yes in any case."""
    tasks = [task.id for task in label_studio.tasks.of(project)]
    for _ in range(ATTEMPTS):
        missing = sorted(set(tasks) - _predicted(label_studio.predictions.of(project), backend))
        if missing:
            label_studio.predictions.request(project, missing)
    missing = sorted(set(tasks) - _predicted(label_studio.predictions.of(project), backend))
    if missing:
        raise LabelStudioError(
            f"Label Studio stored no prediction of {backend.model_version} for {len(missing)} of "
            f"{len(tasks)} tasks: the log of the backend says why",
            "failed",
        )


def _predicted(predictions: Sequence[StoredPrediction], backend: Backend) -> set[int]:
    """The tasks that have a prediction of the version served."""
    version = backend.model_version
    return {stored.task for stored in predictions if stored.model_version == version}
