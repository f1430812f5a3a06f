"""The model that a retraining adds a version to: the project's own.

A promotion changes one model, so a project whose model also serves others gets a model of its own.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from tagalong.backend.events.store import EventStore
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.storage.assignments import (
    ServingModel,
    find_serving_model,
    read_assignments,
)
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.ner.errors import StateFileError
from tagalong.ner.tiers import DEFAULT_TIER, TIERS


@dataclass(frozen=True, slots=True)
class ProjectModels:
    """The model that serves a project, and the one that receives its next version."""

    project: ProjectKey
    serving: ServingModel
    target: str

    @property
    def note(self) -> str:
        """What the user has to do after a promotion; empty for nothing."""
        if not self.serving.is_named_by_url or self.serving.name == self.target:
            return ""
        return (
            f"The URL of the backend names the model {self.serving.name}, which other projects "
            f"use: run `tagalong connect --project {self.project.id} --model {self.target}`."
        )


def find_project_models(
    store: ModelStore, client: LabelStudioClient, project: ProjectKey, tier: str
) -> ProjectModels:
    """Find the models of a project.

    Raises `LabelStudioError` if Label Studio refuses to list its backends, `RegistryError` if the
    assignments cannot be read.
    """
    backends = client.ml_backends.list_for_project(project.id)
    url = backends[0].url if backends else ""  # Label Studio takes predictions of the first only
    serving = find_serving_model(store, str(project), tier, backend_url=url)
    if serving.name not in TIERS and not _serves_others(store, serving.name, project):
        return ProjectModels(project, serving, serving.name)
    names = _propose_names(project, tier)
    target = next(name for name in names if _is_free(store, name, project, tier))
    return ProjectModels(project, serving, target)


def _serves_others(store: ModelStore, model: str, project: ProjectKey) -> bool:
    others = {
        key for key, of_tier in read_assignments(store.root).items() if model in of_tier.values()
    }
    path = event_store_path(store.root)
    if path.exists():
        try:
            with closing(EventStore(path)) as events:
                setups = events.read_setups()
        except StateFileError:
            return True  # unknown, so leave the model alone
        others |= {str(key) for key, backend in setups if backend == f"models/{model}"}
    return bool(others - {str(project)})


def _propose_names(project: ProjectKey, tier: str) -> Iterator[str]:
    suffix = "" if tier == DEFAULT_TIER else f"-{tier}"
    yield f"project-{project.id}{suffix}"
    name = f"project-{project.id}-{project.created or 0}{suffix}"  # of another Label Studio
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _is_free(store: ModelStore, name: str, project: ProjectKey, tier: str) -> bool:
    return store.model_tier(name) in (None, tier) and not _serves_others(store, name, project)
