"""``tagalong models assign``: choose the model that serves a project."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.events.store import EventStore
from tagalong.backend.storage.assignments import assign_model, explain_unusable_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.cli.terminal.console import echo_json, print_line, print_warning
from tagalong.cli.terminal.options import (
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    JsonOption,
    ModelsOption,
    open_store,
)
from tagalong.ner.errors import InputError, VersionNotFound
from tagalong.ner.tiers import TIERS

app = typer.Typer()


@app.command("assign")
def assign_cli(
    model: Annotated[
        str,
        typer.Argument(help="Model; the default one of a tier, such as 'encoder', ends it."),
    ],
    project: Annotated[
        str,
        typer.Option(help="Project id, or id and time of creation, as in 3.1795354311."),
    ],
    models: ModelsOption = Path("models"),
    url: Annotated[str | None, LABEL_STUDIO_URL_OPTION] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY_OPTION] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model serve a project, in place of the default model of its tier.

    A running server uses it from the next request on. An URL of the backend that names a model
    overrules it.

    Example: tagalong models assign cardiology --project 3
    """
    store = open_store(models)
    tier = model if model in TIERS else store.model_tier(model)
    if tier is None:
        message = f"no model is called {model!r}: {store.describe_available(model)}"
        raise VersionNotFound(message, code="model-unknown")
    project_key = find_project_key(store, project, url, key)
    before = assign_model(store.root, str(project_key), tier, None if model == tier else model)
    fault = explain_unusable_model(store, model, tier)
    if as_json:
        found = {"project": str(project_key), "tier": tier, "model": model}
        echo_json({**found, "before": before or tier, "fault": fault or None})
        return
    was = f", in place of {before}" if before not in (None, model) else ""
    print_line(f"{model} serves project {project_key} now{was}.")
    if fault:
        print_warning(f"But {fault}, so {tier} answers until you promote one.")


def find_project_key(
    store: ModelStore, project: str, url: str | None, key: str | None
) -> ProjectKey:
    """Find the time of creation of a project: Label Studio tells it, or the server's records do.

    Raises `InputError` if the text is no project, or the time is unknown; `LabelStudioError` if
    Label Studio does not know the project.
    """
    found = ProjectKey.parse(project)
    if found is None:
        raise InputError(
            f"{project!r} is no project: give its id, the number in its address",
            code="project-id-invalid",
        )
    if found.created is not None:
        return found
    if url and key:
        from tagalong.backend.label_studio.api.client import connect  # slow to import

        with connect(url, key) as client:
            return ProjectKey(found.id, client.get_project(found.id).created)
    recorded = [one for one in _read_recorded_projects(store) if one.id == found.id]
    if len(recorded) == 1:
        return recorded[0]
    names = " or ".join(map(str, sorted(recorded, key=str)))
    advice = f"give {names}" if names else "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
    known = "several projects have" if names else "no server of this folder has seen a project with"
    raise InputError(f"{known} the id {found.id}: {advice}", code="project-key-unknown")


def _read_recorded_projects(store: ModelStore) -> set[ProjectKey]:
    """The projects that have called ``/setup`` of a server, with a time of creation."""
    path = event_store_path(store.root)
    if not path.exists():
        return set()
    with closing(EventStore(path)) as events:
        keys = {ProjectKey.parse(project) for project, _ in events.read_setups()}
    return {one for one in keys if one is not None and one.created is not None}
