"""Tables and JSON of model versions, for ``tagalong models``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from tagalong.cli.terminal.tables import EMPTY_CELL, format_score, new_table
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LENGTH_NOTES
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE, ModelRegistry

SHOWN_SPLITS = ("test", "dev")  # whose figures a list shows, the first there is


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
