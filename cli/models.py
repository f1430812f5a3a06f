"""``tagalong models``: list, show, promote, roll back, compile and remove models and versions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.pages import format_count, join_names
from tagalong.backend.storage.assignments import explain_unusable_model, read_assignments
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.model_tables import list_versions, render_list, render_manifest, row_to_json
from tagalong.cli.terminal.console import console, echo_json, print_line, print_warning, warn
from tagalong.cli.terminal.options import JsonOption, ModelsOption, open_store
from tagalong.ner.errors import RegistryError, VersionNotFound
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE
from tagalong.ner.tiers import DEFAULT_TIER, TIERS
from tagalong.training.corpus import describe_reading, read_corpus

app = typer.Typer(
    help="List, show, assign, promote, move and remove models and their versions.",
    no_args_is_help=True,
)


@app.command("list")
def list_cli(models: ModelsOption = Path("models"), as_json: JsonOption = False) -> None:
    """List the versions with their scores; the current one of each model is marked.

    Example: tagalong models list
    """
    store = open_store(models)
    rows, notes = list_versions(store)
    if as_json:
        versions = [row_to_json(row) for row in rows]
        echo_json(
            {
                "models": str(store.root),
                "versions": versions,
                "assignments": read_assignments(store.root),
                "notes": notes,
            }
        )
        return
    console.print(render_list(rows))
    for sentence in describe_assignments(store):
        print_line(sentence)
    for note in notes:
        print_warning(f"Note: {note}")


def describe_assignments(store: ModelStore) -> Iterator[str]:
    """A sentence for each project with a model of its own, and what is wrong with that."""
    for key, of_tier in sorted(read_assignments(store.root).items()):
        for tier, model in sorted(of_tier.items()):
            fault = explain_unusable_model(store, model, tier)
            yield f"Project {key}: {model}{f', but {fault}: {tier} answers' if fault else ''}."


@app.command("show")
def show_cli(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="Version, MODEL/VERSION, a model (its current version), 'bundled', or a path.",
            show_default="the current encoder, else the bundled one",
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Verify a version and show its manifest.

    Example: tagalong models show encoder
    """
    store = open_store(models)
    folder = store.resolve(reference or DEFAULT_TIER)
    manifest = read_manifest(folder)
    if as_json:
        echo_json({**manifest.to_json(), "path": str(folder)})
    else:
        console.print(render_manifest(manifest, folder))


@app.command("promote")
def promote_cli(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="VERSION",
            help="Version, MODEL/VERSION as `models list` shows it, or 'bundled'.",
        ),
    ],
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Verify a version and make it the current one of its model.

    A running server loads it within seconds. `tagalong doctor` checks the names in Label Studio.

    Example: tagalong models promote minilm-20260131-0f3c2d1e
    """
    store = open_store(models)
    model, version = locate_stored_version(store, reference)
    store.promote(model, version)
    is_bundled = version == BUNDLED_REFERENCE
    name = store.bundled_version_folder(model).name if is_bundled else version
    shown = f"{name} (bundled)" if is_bundled else name
    _print_result(f"{shown} is the current version of {model} now", model, name, as_json=as_json)
    if model not in TIERS and not find_assigned_projects(store, model):
        print_warning(
            f"No project is assigned {model}: run `tagalong models assign {model} --project ID`, "
            f"or connect one with `tagalong connect --model {model}`."
        )


@app.command("rollback")
def rollback_cli(
    model: Annotated[
        str, typer.Argument(help="Model whose last promotion to undo.")
    ] = DEFAULT_TIER,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Undo the last promotion: the version that was current before is current again.

    Undoing the first promotion returns to the bundled version, or to none if the model has none.

    Example: tagalong models rollback encoder
    """
    store = open_store(models)
    version = store.rollback(model)
    if version is None:
        sentence = f"Model {model} has no current version any more"
    else:
        shown = version if store.promoted_version(model) == version else f"{version} (bundled)"
        sentence = f"{shown} is the current version of {model} again"
    _print_result(sentence, model, version, as_json=as_json)


@app.command("compile")
def compile_cli(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="Encoder version, as for `models show`.",
            show_default="the current one, else the bundled",
        ),
    ] = None,
    documents: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            help=("Documents like yours, for quantization and for the check; may be given again."),
            show_default="48 abstracts of BC5CDR",
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Compile an encoder version for OpenVINO, and check it against PyTorch.

    Training and serving compile automatically; this command compiles now and prints the result.

    Example: tagalong models compile encoder --documents test.jsonl
    """
    from tagalong.backend.models.openvino.compile import compile_version, describe_openvino_model

    store = open_store(models)
    folder = store.resolve(reference or DEFAULT_TIER)
    corpus = read_corpus(documents) if documents else None
    own = corpus.documents if corpus else ()
    for sentence in describe_reading(corpus) if corpus else ():
        warn(sentence)
    kept = compile_version(folder, quantization_documents=own, check_documents=own)
    if as_json:
        echo_json({**kept.record.to_json(), "path": str(kept.folder)})
        return
    console.print(f"{kept.record.version} has an OpenVINO model in {kept.folder}.", soft_wrap=True)
    console.print(describe_openvino_model(kept), markup=False, soft_wrap=True)


@app.command("remove")
def remove_cli(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="VERSION",
            help="Version, MODEL/VERSION as `models list` shows it, or a model with all versions.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Delete a version that is not current, or a whole model. This cannot be undone.

    Example: tagalong models remove minilm-20260131-0f3c2d1e
    """
    store = open_store(models)
    if reference in store.models() and reference not in TIERS:
        _remove_model(store, reference, yes=yes, as_json=as_json)
        return
    model, version = locate_stored_version(store, reference)
    if version == BUNDLED_REFERENCE:
        raise RegistryError(
            "the bundled version is part of Tagalong and cannot be removed: give another version",
            code="bundled-version-not-removable",
        )
    if not yes:
        typer.confirm(f"Delete {model}/{version} for good?", abort=True, err=True)
    store.remove(model, version)
    _print_result(f"{model}/{version} was removed", model, version, as_json=as_json)


def find_assigned_projects(store: ModelStore, model: str) -> list[str]:
    """The keys of the projects that a model is assigned to."""
    assignments = read_assignments(store.root)
    return [key for key, of_tier in assignments.items() if model in of_tier.values()]


def _remove_model(store: ModelStore, model: str, *, yes: bool, as_json: bool) -> None:
    if projects := find_assigned_projects(store, model):
        print_warning(f"{model} serves {join_names(projects)}; the default model will answer.")
    versions = format_count(len(store.version_names(model)), "version")
    if not yes:
        typer.confirm(f"Delete {model} with {versions} for good?", abort=True, err=True)
    store.remove_model(model)
    _print_result(f"{model} was removed, with {versions}", model, None, as_json=as_json)


def locate_stored_version(store: ModelStore, reference: str) -> tuple[str, str]:
    """Find the model and name of a version that can be promoted or removed.

    The name is ``bundled`` for the bundled version. Raises `VersionNotFound` if there is no such
    version, or it is outside the store.
    """
    folder = store.resolve(reference).resolve()  # links would hide where it is
    model, version = folder.parent.name, folder.name
    homes = [one for one in store.models() if version in store.version_names(one)]
    if reference == version and len(homes) > 1:  # copies: a change is for one of them
        choices = " or ".join(f"{one}/{version}" for one in homes)
        raise VersionNotFound(
            f"{reference!r} is in more than one model: write {choices}", code="version-ambiguous"
        )
    if folder.parent.parent == store.root.resolve():
        return model, version
    if store.bundled_version(model) and folder == store.bundled_version_folder(model).resolve():
        return model, BUNDLED_REFERENCE
    raise VersionNotFound(
        f"{reference!r} is {folder}, outside the store {store.root}: give a version of the store",
        code="version-outside-store",
    )


def _print_result(sentence: str, model: str, version: str | None, *, as_json: bool) -> None:
    if as_json:
        echo_json({"model": model, "version": version})
    else:
        console.print(f"{sentence}.", markup=False, soft_wrap=True)
