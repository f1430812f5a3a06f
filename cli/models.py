"""``tagalong models``: list, show, promote, roll back, compile and remove model versions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import console, echo_json, print_warning, warn
from tagalong.cli.terminal.options import JsonOption, ModelsOption, open_store
from tagalong.cli.terminal.tables import EMPTY_CELL, format_score, new_table
from tagalong.ner.errors import RegistryError, VersionInvalid, VersionNotFound
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LENGTH_NOTES
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE, ModelRegistry
from tagalong.ner.tiers import DEFAULT_TIER
from tagalong.training.corpus import describe_reading, read_corpus

SHOWN_SPLITS = ("test", "dev")  # whose figures a list shows, the first there is

app = typer.Typer(
    help="List, show, promote, roll back, compile and remove model versions.", no_args_is_help=True
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
        echo_json({"models": str(store.root), "versions": versions, "notes": notes})
        return
    console.print(render_list(rows))
    for note in notes:
        print_warning(f"Note: {note}")


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
            metavar="VERSION", help="Version, or MODEL/VERSION as `models list` shows it."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Delete a version that is not current. This cannot be undone.

    Example: tagalong models remove minilm-20260131-0f3c2d1e
    """
    store = open_store(models)
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


def locate_stored_version(store: ModelStore, reference: str) -> tuple[str, str]:
    """Find the model and name of a version that can be promoted or removed.

    The name is ``bundled`` for the bundled version. Raises `VersionNotFound` if there is no such
    version, or it is outside the store.
    """
    folder = store.resolve(reference).resolve()  # links would hide where it is
    model, version = folder.parent.name, folder.name
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


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a list; the manifest is None if it is unreadable."""

    model: str
    version: str
    manifest: Manifest | None
    current: bool
    bundled: bool


def list_versions(store: ModelRegistry) -> tuple[list[VersionRow], list[str]]:
    """List the versions of a store, and its problems.

    Returns the versions by model, oldest first, damaged ones included and bundled ones last; and a
    note on each problem.
    """
    rows, notes = _collect_rows(store, bundled=False)
    if store.bundled_root is None:
        return rows, notes
    bundled_rows, bundled_notes = _collect_rows(ModelRegistry(store.bundled_root), bundled=True)
    for row in bundled_rows:
        is_current = False
        with suppress(VersionInvalid):  # there is a note on it
            is_current = row.current and store.promoted_version(row.model) is None
        rows.append(replace(row, current=is_current))
    return rows, notes + bundled_notes


def _collect_rows(registry: ModelRegistry, *, bundled: bool) -> tuple[list[VersionRow], list[str]]:
    rows: list[VersionRow] = []
    notes: list[str] = []
    for model in registry.models():
        names = registry.version_names(model)
        current = None
        try:
            current = registry.promoted_version(model)
        except VersionInvalid as error:
            notes.append(str(error))
        if current is not None and current not in names:
            notes.append(
                f"the current version {current} of {model} is missing: promote another version or "
                "roll back"
            )
        model_rows = []
        for name in names:
            manifest = None
            try:
                # Not verified: hashing the files of all versions takes long.
                manifest = read_manifest(registry.version_folder(model, name), verify=False)
            except VersionInvalid as error:
                notes.append(str(error))
            model_rows.append(VersionRow(model, name, manifest, name == current, bundled))
        rows += sorted(model_rows, key=lambda row: row.manifest.created if row.manifest else "")
    return rows, notes


def row_to_json(row: VersionRow) -> dict[str, Any]:
    """Convert a row to JSON types, without config, data and files; null if unreadable."""
    own = {name: getattr(row, name) for name in ("model", "version", "current", "bundled")}
    fields = ("tier", "name", "created", "base", "base_revision", "labels", "scores", "calibration")
    return own | {name: getattr(row.manifest, name, None) for name in fields}


def render_list(rows: Sequence[VersionRow]) -> Table:
    """Build a table of versions with strict F1, overall and by length, for 80 columns."""
    table = new_table(
        piped_box=None,
        pad_edge=False,
        caption=LENGTH_NOTES["words"] if rows else "There are no versions yet.",
    )
    table.add_column("", no_wrap=True)
    table.add_column("Version", overflow="fold")
    table.add_column("F1 on", no_wrap=True)
    for title in ("all", *LENGTH_BUCKETS):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        states = (("current", row.current), (BUNDLED_REFERENCE, row.bundled))
        state = ", ".join(name for name, applies in states if applies)
        figures = ["unreadable"] if row.manifest is None else _score_cells(row.manifest.scores)
        cells = (state, f"{row.model}/{row.version}", *figures)
        table.add_row(*map(Text, cells), style="bold" if row.current else "")
    return table


def _score_cells(scores: Mapping[str, Any]) -> list[str]:
    """Split, strict F1, and strict F1 by length."""
    splits = (one for one in (*SHOWN_SPLITS, *scores) if isinstance(scores.get(one), Mapping))
    split = next(splits, EMPTY_CELL)
    figures = scores.get(split, {})
    by_length = figures.get("by_length")
    lengths = by_length if isinstance(by_length, Mapping) else {}
    return [
        split,
        format_score(figures.get("strict_f1")),
        *(format_score(lengths.get(length)) for length in LENGTH_BUCKETS),
    ]


def render_manifest(manifest: Manifest, folder: Path) -> Table:
    """Build a table of a manifest, with nested names joined by dots."""
    size = sum(record.bytes for record in manifest.files.values())
    shown = manifest.to_json() | {
        "files": f"{len(manifest.files)}, {size / 1e6:.1f} MB, verified",
        "path": str(folder),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flatten(shown):
        table.add_row(name, Text(value))
    return table


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{prefix}{name}.")
        elif isinstance(inner, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, inner))
        elif inner is not None:
            yield f"{prefix}{name}", str(inner)
