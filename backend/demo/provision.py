"""The demo's project: made, filled and connected, or found again and mended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend, Project, StoredPrediction, Task
from tagalong.ner.errors import LabelStudioError

PROJECT_TITLE = "Tagalong demo"
MAX_ATTEMPTS = 2  # the model may still be loading when Label Studio's patience ends the first


@dataclass(frozen=True, slots=True)
class DemoProject:
    """The demo's project, ready.

    Attributes:
        project: As it is now.
        backend: Connected to it.
        tasks: All of it.
        is_resumed: Whether it was there before.
    """

    project: Project
    backend: MLBackend
    tasks: tuple[Task, ...]
    is_resumed: bool


def provision(
    label_studio: LabelStudioClient, backend_url: str, *, title: str = PROJECT_TITLE
) -> DemoProject:
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
    found = label_studio.list_projects(title)
    project = found[-1].id if found else _create_project(label_studio, title)
    _import_missing_tasks(label_studio, project)
    backend = _connect_backend(label_studio, project, backend_url)
    _select_model_version(label_studio, project, backend.model_version)
    _retrieve_predictions(label_studio, project, backend)
    return DemoProject(
        label_studio.get_project(project),
        backend,
        tuple(label_studio.tasks.iterate_for_project(project)),
        bool(found),
    )


@cache
def read_demo_label_config() -> str:
    """The labelling config that README shows too."""
    return (files("tagalong.backend.demo") / "label_config.xml").read_text(encoding="utf-8")


@cache
def read_abstracts() -> Sequence[dict[str, str]]:
    """The data of the tasks: ``text``, and ``pmid``, which tells one from the other."""
    held = json.loads(
        (files("tagalong.backend.demo") / "abstracts.json").read_text(encoding="utf-8")
    )
    return tuple(held["abstracts"])


def _create_project(label_studio: LabelStudioClient, title: str) -> int:
    """A new project that shows predictions and begins with what the model is least sure of."""
    project = label_studio.create_project(title, read_demo_label_config())
    label_studio.update_project(project.id, shows_predictions=True, sampling="Uncertainty sampling")
    return project.id


def _import_missing_tasks(label_studio: LabelStudioClient, project: int) -> None:
    """Import the abstracts, or those that an interrupted run left out."""
    there = {task.data.get("pmid") for task in label_studio.tasks.iterate_for_project(project)}
    missing = [{"data": data} for data in read_abstracts() if data["pmid"] not in there]
    if missing:
        label_studio.tasks.add(project, missing)


def _connect_backend(label_studio: LabelStudioClient, project: int, url: str) -> MLBackend:
    """The backend, titled by the version it serves: what scores and sampling go by."""
    _remove_stale_backends(label_studio, project, url)
    there = [
        backend
        for backend in label_studio.ml_backends.list_for_project(project)
        if backend.url == url
    ]
    backend = there[0] if there else label_studio.ml_backends.add(project, url, PROJECT_TITLE)
    if not backend.is_connected:
        raise LabelStudioError(
            f"Label Studio cannot use the backend at {url}: {backend.error or 'no answer'}",
            "refused",
            backend.error,
        )
    if backend.title != backend.model_version:
        backend = label_studio.ml_backends.update(backend, title=backend.model_version)
    return backend


def _remove_stale_backends(label_studio: LabelStudioClient, project: int, url: str) -> None:
    """Remove what an earlier run on another port left: only the first backend predicts."""
    gone = [
        backend
        for backend in label_studio.ml_backends.list_for_project(project)
        if backend.url != url and not backend.is_connected and _is_on_loopback(backend.url)
    ]
    for backend in gone:
        label_studio.ml_backends.remove(backend.id)
    hooks = [f"{backend.url.rstrip('/')}/webhook" for backend in gone]
    for webhook in label_studio.webhooks.list_for_project(project):
        if webhook.url in hooks:
            label_studio.webhooks.remove(webhook.id)


def _is_on_loopback(url: str) -> bool:
    """Whether a backend is one of this machine."""
    return urlsplit(url).hostname in LOOPBACK_HOSTS


def _select_model_version(label_studio: LabelStudioClient, project: int, version: str) -> None:
    """Have the version's predictions shown, whatever was chosen before."""
    if label_studio.get_project(project).model_version != version:
        label_studio.update_project(project, model_version=version)


def _retrieve_predictions(
    label_studio: LabelStudioClient, project: int, backend: MLBackend
) -> None:
    """Fetch what is missing, and look whether it came: Label Studio says yes in any case."""
    tasks = [task.id for task in label_studio.tasks.iterate_for_project(project)]
    for _ in range(MAX_ATTEMPTS):
        missing = sorted(
            set(tasks)
            - _find_predicted_tasks(label_studio.predictions.list_for_project(project), backend)
        )
        if missing:
            label_studio.predictions.retrieve(project, missing)
    missing = sorted(
        set(tasks)
        - _find_predicted_tasks(label_studio.predictions.list_for_project(project), backend)
    )
    if missing:
        raise LabelStudioError(
            f"Label Studio stored no prediction of {backend.model_version} for {len(missing)} of "
            f"{len(tasks)} tasks: the log of the backend says why",
            "failed",
        )


def _find_predicted_tasks(predictions: Sequence[StoredPrediction], backend: MLBackend) -> set[int]:
    """The tasks that have a prediction of the version served."""
    version = backend.model_version
    return {stored.task for stored in predictions if stored.model_version == version}
