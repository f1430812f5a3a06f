"""The versions that predict in a batch, and why: by option, or as the server of a project chooses.

The URL of the project's backend decides in serving, and then the assignment of the project.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagalong.backend.storage.assignments import (
    ServingModel,
    find_serving_model,
    read_named_model,
)
from tagalong.ner.errors import InputError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.tiers import TIERS

if TYPE_CHECKING:  # takes a second to import
    from tagalong.backend.label_studio.connected_project import ConnectedProject


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model or version for a batch."""

    reference: str  # for `ModelRegistry.resolve`
    reason: str = ""  # why, as a clause; empty for the default model of a batch of files


def choose_by_options(
    registry: ModelRegistry,
    tiers: Sequence[str],
    versions: Mapping[str, str | None],
    model: str | None = None,
) -> dict[str, ChosenModel]:
    """Choose what options name: ``--model``, and an option for each tier.

    Returns the choice by tier; a tier that no option names has none. Raises `InputError` for two
    options that contradict each other, or a version of another tier; `VersionNotFound` if there is
    none.
    """
    chosen = {}
    for tier in tiers:
        if reference := versions.get(tier):
            registry.resolve_in_tier(reference, tier)
            chosen[tier] = ChosenModel(reference, f"--{tier} names {reference}")
    if model is None:
        return chosen
    tier = read_manifest(registry.resolve(model), verify=False).tier
    if tier not in tiers:
        raise InputError(
            f"model {model!r} is of tier {tier!r}, and this batch predicts with "
            f"{' and '.join(map(repr, tiers))}: name another model, or another --tier",
            code="batch-model-of-another-tier",
        )
    if tier in chosen:
        raise InputError(
            f"--model {model} and --{tier} {chosen[tier].reference} both name the {tier} of this "
            "batch: give one of them",
            code="two-models-of-one-tier",
        )
    return {**chosen, tier: ChosenModel(model, f"--model names {model}")}


def choose_for_project(
    project: "ConnectedProject",
    registry: ModelRegistry,
    tiers: Sequence[str],
    *,
    warn: Callable[[str], object],
) -> dict[str, ChosenModel]:
    """Choose the model of each tier that serves a project.

    `warn` gets a sentence about each model that is named and cannot predict. Raises
    `LabelStudioError` if Label Studio refuses, `RegistryError` if the assignments cannot be read.
    """
    key = project.call(project.client.get_project).key
    backends = project.call(project.client.ml_backends.list_for_project)
    url = backends[0].url if backends else ""  # Label Studio takes predictions of the first only
    named = read_named_model(url)
    if named is not None and (reason := _explain_other_model(registry, named, tiers)):
        warn(f"The backend of project {project.id}, {url}, is for the model {named!r}, {reason}.")
    chosen = {}
    for tier in tiers:
        found = find_serving_model(registry, key, tier, backend_url=url)
        chosen[tier] = ChosenModel(found.name, _explain(found, project.id, tier))
        if found.fault:
            warn(
                f"Project {project.id} is assigned a model that cannot predict, because "
                f"{found.fault}: assign it another with `tagalong models assign`."
            )
    return chosen


def _explain_other_model(registry: ModelRegistry, model: str, tiers: Sequence[str]) -> str:
    """Why the model of a URL does not predict in this batch, as a clause; empty if it does."""
    if model not in (*TIERS, *registry.models()):
        return f"which is not in {registry.root}: name the server's folder of models with --models"
    if (tier := registry.model_tier(model)) not in tiers:
        return f"which is of tier {tier!r} and not of this batch: name it with --tier and --model"
    return ""


def _explain(model: ServingModel, project: int, tier: str) -> str:
    if model.is_named_by_url:
        return f"the URL of the backend of project {project} names the model {model.name}"
    if model.fault:
        return f"it is the default, and the model of project {project} cannot predict"
    if model.name == tier:
        return f"it is the default, and project {project} is assigned no other model"
    return f"project {project} is assigned the model {model.name}"
