"""The project of the demo: created, or completed after an interruption."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend, Project, Task
from tagalong.ner.errors import LabelStudioError

PROJECT_TITLE = "Tagalong demo"
MAX_ATTEMPTS = 2  # the model may still be loading at the time limit of the first


@dataclass(frozen=True, slots=True)
class DemoProject:
    """The finished project; `is_resumed` if it existed before."""

    project: Project
    backend: MLBackend
    tasks: tuple[Task, ...]
    is_resumed: bool


def provision(label_studio: LabelStudioClient, backend_url: str) -> DemoProject:
    """Create the project, import the abstracts, connect the backend, retrieve predictions.

    Existing parts are kept: a second run changes nothing, and completes an interrupted one. Raises
    `LabelStudioError` if a request fails or is refused, or predictions are missing afterwards.
    """
    existing = label_studio.list_projects(PROJECT_TITLE)
    project = existing[-1].id if existing else _create_project(label_studio)
    _import_missing_tasks(label_studio, project)
    backend = _connect_backend(label_studio, project, backend_url)
    if label_studio.get_project(project).model_version != backend.model_version:
        label_studio.update_project(project, model_version=backend.model_version)
    _retrieve_predictions(label_studio, project, backend)
    return DemoProject(
        label_studio.get_project(project),
        backend,
        tuple(label_studio.tasks.iterate_for_project(project)),
        bool(existing),
    )


@cache
def read_demo_label_config() -> str:
    """The labelling config in README."""
    return (files("tagalong.backend.demo") / "label_config.xml").read_text(encoding="utf-8")


@cache
def read_abstracts() -> Sequence[dict[str, str]]:
    """The data of the tasks: ``text``, and ``pmid`` as their identity."""
    content = (files("tagalong.backend.demo") / "abstracts.json").read_text(encoding="utf-8")
    return tuple(json.loads(content)["abstracts"])


def _create_project(label_studio: LabelStudioClient) -> int:
    """Create a project that shows predictions, and hands out uncertain ones first."""
    project = label_studio.create_project(PROJECT_TITLE, read_demo_label_config())
    label_studio.update_project(project.id, shows_predictions=True, sampling="Uncertainty sampling")
    return project.id


def _import_missing_tasks(label_studio: LabelStudioClient, project: int) -> None:
    present = {task.data.get("pmid") for task in label_studio.tasks.iterate_for_project(project)}
    missing = [{"data": data} for data in read_abstracts() if data["pmid"] not in present]
    if missing:
        label_studio.tasks.add(project, missing)


def _connect_backend(label_studio: LabelStudioClient, project: int, url: str) -> MLBackend:
    """Connect the backend, with the served version as title: scores and sampling need that."""
    _remove_stale_backends(label_studio, project, url)
    backends = label_studio.ml_backends.list_for_project(project)
    connected = next((backend for backend in backends if backend.url == url), None)
    backend = connected or label_studio.ml_backends.add(project, url, PROJECT_TITLE)
    if not backend.is_connected:
        raise LabelStudioError(
            f"Label Studio cannot use the backend at {url}: {backend.error or 'no answer'}",
            "refused",
            backend.error,
            code="backend-unusable",
        )
    if backend.title != backend.model_version:
        backend = label_studio.ml_backends.update(backend, title=backend.model_version)
    return backend


def _remove_stale_backends(label_studio: LabelStudioClient, project: int, url: str) -> None:
    """Remove backends of earlier runs on other ports: only the first backend predicts."""
    hooks = set[str]()  # Label Studio keeps the webhook of a removed backend
    for backend in label_studio.ml_backends.list_for_project(project):
        is_of_a_demo = urlsplit(backend.url).hostname in LOOPBACK_HOSTS
        if is_of_a_demo and backend.url != url and not backend.is_connected:
            label_studio.ml_backends.remove(backend.id)
            hooks.add(f"{backend.url.rstrip('/')}/webhook")
    for webhook in label_studio.webhooks.list_for_project(project):
        if webhook.url in hooks:
            label_studio.webhooks.remove(webhook.id)


def _retrieve_predictions(
    label_studio: LabelStudioClient, project: int, backend: MLBackend
) -> None:
    """Retrieve missing predictions, and check: Label Studio reports success in any case."""
    version = backend.model_version
    tasks = {task.id for task in label_studio.tasks.iterate_for_project(project)}

    def missing_tasks() -> list[int]:
        stored = label_studio.predictions.list_for_project(project)
        return sorted(tasks - {one.task for one in stored if one.model_version == version})

    for _ in range(MAX_ATTEMPTS):
        if missing := missing_tasks():
            label_studio.predictions.retrieve(project, missing)
    if missing := missing_tasks():
        raise LabelStudioError(
            f"Label Studio stored no prediction of {version} for {len(missing)} of {len(tasks)} "
            "tasks: see the log of the backend",
            "failed",
            code="predictions-not-stored",
        )
