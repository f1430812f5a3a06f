"""Lists and manifests of model versions, as `tagalong models` prints them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from tagalong.cli.terminal.tables import EMPTY_CELL, format_score, new_table
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE, ModelRegistry
from tagalong.ner.scoring import LENGTH_BUCKETS

SHOWN_SPLITS = ("test", "dev")  # whose figures a list shows, the first there is


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a list.

    Attributes:
        manifest: None if unreadable.
    """

    tier: str
    version: str
    manifest: Manifest | None
    current: bool
    bundled: bool


@dataclass(frozen=True, slots=True)
class VersionList:
    """Versions of a store.

    Attributes:
        rows: By tier, oldest first; bundled versions last.
        notes: Problems of the store.
    """

    rows: tuple[VersionRow, ...]
    notes: tuple[str, ...]


def list_versions(store: ModelRegistry) -> VersionList:
    """List the versions of a store, including damaged and bundled ones."""
    stored, notes = _collect_rows(store, bundled=False)
    if store.bundled_root is None:
        return VersionList(tuple(stored), tuple(notes))
    bundled_rows, bundled_notes = _collect_rows(ModelRegistry(store.bundled_root), bundled=True)
    bundled_rows = [
        replace(row, current=row.current and _is_default_version(store, row))
        for row in bundled_rows
    ]
    return VersionList((*stored, *bundled_rows), (*notes, *bundled_notes))


def _is_default_version(store: ModelRegistry, row: VersionRow) -> bool:
    """A bundled version is current if the store has no current version."""
    try:
        return store.current_version(row.tier) is None
    except VersionInvalid:  # there is a note on it
        return False


def _collect_rows(registry: ModelRegistry, *, bundled: bool) -> tuple[list[VersionRow], list[str]]:
    rows: list[VersionRow] = []
    notes: list[str] = []
    for tier in registry.tiers():
        names = registry.version_names(tier)
        try:
            current = registry.current_version(tier)
        except VersionInvalid as error:
            current = None
            notes.append(str(error))
        if current is not None and current not in names:
            notes.append(
                f"the current version {current} of {tier} is missing: promote another version or "
                "roll back"
            )
        tier_rows = []
        for name in names:
            try:
                manifest = read_manifest(registry.version_folder(tier, name), verify=False)
            except VersionInvalid as error:
                manifest = None
                notes.append(str(error))
            tier_rows.append(VersionRow(tier, name, manifest, name == current, bundled))
        rows += sorted(tier_rows, key=lambda row: row.manifest.created if row.manifest else "")
    return rows, notes


def row_to_json(row: VersionRow) -> dict[str, Any]:
    """Convert a row to JSON types, without config, data and files; null if unreadable."""
    fields_of_row = {
        "tier": row.tier,
        "version": row.version,
        "current": row.current,
        "bundled": row.bundled,
    }
    fields = ("name", "created", "base", "base_revision", "labels", "scores", "calibration")
    return fields_of_row | {name: getattr(row.manifest, name, None) for name in fields}


def render_list(rows: Sequence[VersionRow]) -> Table:
    """Build a table of versions with strict F1, overall and by length, for 80 columns."""
    table = new_table(
        piped_box=None, pad_edge=False, caption=None if rows else "There are no versions yet."
    )
    table.add_column("", no_wrap=True)
    table.add_column("Version", overflow="fold")
    table.add_column("F1 on", no_wrap=True)
    for title in ("all", *LENGTH_BUCKETS):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        states = (("current", row.current), (BUNDLED_REFERENCE, row.bundled))
        state = ", ".join(name for name, holds in states if holds)
        figures = ["unreadable"] if row.manifest is None else _score_cells(row.manifest.scores)
        cells = (state, f"{row.tier}/{row.version}", *figures)
        table.add_row(*map(Text, cells), style="bold" if row.current else "")
    return table


def _score_cells(scores: Mapping[str, Any]) -> list[str]:
    """Split, strict F1, and strict F1 by length."""
    known = [split for split in (*SHOWN_SPLITS, *scores) if isinstance(scores.get(split), Mapping)]
    if not known:
        return [EMPTY_CELL] * (2 + len(LENGTH_BUCKETS))
    figures = scores[known[0]]
    by_length = figures.get("by_length")
    lengths = by_length if isinstance(by_length, Mapping) else {}
    return [
        known[0],
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
