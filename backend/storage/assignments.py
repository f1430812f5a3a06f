"""Which model serves which project: the file ``.assignments.json`` in the folder of models.

::

    {"format": 1, "projects": {"3.1795354311": {"encoder": "cardiology"}}}

A project has its key as Label Studio sends it: the id and the time of creation. It has at most one
model of each tier. The file is replaced by renaming, so reading needs no lock.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from tagalong.backend.storage.locks import folder_lock
from tagalong.ner.atomic_io import (
    UMASK_MODE,
    make_folder,
    remove_unfinished_writes,
    translate_os_errors,
    write_text_atomically,
)
from tagalong.ner.errors import RegistryError, VersionInvalid
from tagalong.ner.manifest import SAFE_NAME_PATTERN
from tagalong.ner.model_registry import ModelRegistry

FILE_NAME = ".assignments.json"
FORMAT = 1

Assignments = Mapping[str, Mapping[str, str]]  # key of a project -> tier -> model


def read_assignments(models: Path) -> Assignments:
    """Read the assignments of a folder of models; empty without any.

    Raises `RegistryError` if the file cannot be read, or a newer release wrote it.
    """
    path = models / FILE_NAME
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable_error(path, str(error)) from error
    match content:
        case {"format": int(number)} if number > FORMAT:
            message = f"{path} has format {number}: install a newer Tagalong"
            raise RegistryError(message, code="assignments-of-another-format")
        case {"format": int(), "projects": dict(projects)} if all(
            map(_is_entry, projects.values())
        ):
            return cast(Assignments, projects)
    raise _unreadable_error(path, "it has no projects with a model for each tier")


def assign_model(models: Path, project_key: str, tier: str, model: str | None) -> str | None:
    """Assign a model of a tier to a project, or take the assignment back with None.

    Returns the model that was assigned before. Raises `RegistryError` if the file is damaged,
    `PublishError` if it cannot be written; then nothing has changed.
    """

    def change(projects: dict[str, dict[str, str]]) -> str | None:
        of_project = projects.setdefault(project_key, {})
        before = of_project.pop(tier, None)
        if model is not None:
            of_project[tier] = model
        if not of_project:
            del projects[project_key]
        return before

    return _change_assignments(models, change)


def _change_assignments(
    models: Path, change: Callable[[dict[str, dict[str, str]]], str | None]
) -> str | None:
    path = models / FILE_NAME
    with translate_os_errors(f"write {path}"):
        make_folder(models)
        with folder_lock(models):
            projects = {key: {**tiers} for key, tiers in read_assignments(models).items()}
            result = change(projects)
            text = json.dumps({"format": FORMAT, "projects": projects}, indent=2, sort_keys=True)
            remove_unfinished_writes(path)
            write_text_atomically(path, text + "\n", mode=UMASK_MODE)
    return result


def _is_entry(tiers: object) -> bool:
    return isinstance(tiers, dict) and all(
        isinstance(model, str) and SAFE_NAME_PATTERN.fullmatch(model) for model in tiers.values()
    )


def _unreadable_error(path: Path, reason: str) -> RegistryError:
    return RegistryError(
        f"{path} cannot be read ({reason}): move it away, and assign the models again with "
        "`tagalong models assign`",
        code="assignments-unreadable",
    )


class AssignmentReader:
    """The current assignments for many threads; the file is read again when it has changed.

    While the file is damaged, the last assignments hold, and `error` says why.
    """

    def __init__(self, models: Path) -> None:
        self._models, self._lock = models, threading.Lock()
        self._stamp: tuple[int, int, int] | None = None  # of the file that was read
        self._assignments: Assignments = {}
        self.error: str | None = None  # one sentence

    def find(self, project_key: str, tier: str) -> str | None:
        """The model of a tier that is assigned to a project; None for the tier's default."""
        return self.read().get(project_key, {}).get(tier)

    def read(self) -> Assignments:
        """All assignments. Never fails."""
        stamp = _read_stamp(self._models / FILE_NAME)
        with self._lock:
            if stamp != self._stamp or self.error:
                try:
                    self._assignments, self.error = read_assignments(self._models), None
                except RegistryError as error:
                    self.error = str(error)
                self._stamp = stamp
            return self._assignments


def _read_stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


MODEL_URL_PATTERN = re.compile(r"/models/([^/?#]+)/?$")  # of a backend


@dataclass(frozen=True, slots=True)
class ServingModel:
    """The model that serves a project."""

    name: str
    is_named_by_url: bool = False  # in the URL of the project's backend
    # Why the default model of the tier serves the project in place of the assigned one; empty if
    # it does not.
    fault: str = ""


def read_named_model(backend_url: str) -> str | None:
    """The model that the URL of a backend names; None if it names none."""
    named = MODEL_URL_PATTERN.search(backend_url)
    return unquote(named[1]) if named else None


def find_serving_model(
    registry: ModelRegistry, project_key: str, tier: str, *, backend_url: str = ""
) -> ServingModel:
    """Find the model that serves a project, as a server of this folder of models does.

    The URL of the project's backend decides, if it names a model that exists; then the assignment;
    then the default of the tier. Raises `RegistryError` if the assignments cannot be read.
    """
    named = read_named_model(backend_url)
    # A default model may have no folder: the bundled version is its current one.
    if named in (tier, *registry.models()) and registry.model_tier(named) == tier:
        return ServingModel(named, is_named_by_url=True)
    model = read_assignments(registry.root).get(project_key, {}).get(tier, tier)
    fault = explain_unusable_model(registry, model, tier)
    return ServingModel(tier, fault=fault) if fault else ServingModel(model)


def explain_unusable_model(registry: ModelRegistry, model: str, tier: str) -> str:
    """Why a model cannot serve projects of a tier, as a sentence without a full stop.

    Empty if it can, or is the default model.
    """
    if model == tier:
        return ""
    if model not in registry.models():
        return f"there is no model {model!r}"
    if (own_tier := registry.model_tier(model)) != tier:
        return f"model {model!r} is of tier {own_tier!r}"
    try:
        current = registry.current_version(model)
    except VersionInvalid as error:
        return str(error)
    return "" if current else f"model {model!r} has no current version"
