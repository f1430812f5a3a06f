"""Model versions gathered for a list, and drawn: what `tagalong models` shows."""

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
    """One version in a list.

    Attributes:
        tier: Its tier.
        version: Its name.
        manifest: What is known about it; None where that cannot be read.
        current: Whether it is the current version of its tier.
        bundled: Whether it is a bundled version.
    """

    tier: str
    version: str
    manifest: Manifest | None
    current: bool
    bundled: bool


@dataclass(frozen=True, slots=True)
class VersionList:
    """The versions of a store.

    Attributes:
        rows: By tier, oldest first; the bundled ones come last.
        notes: What is wrong with the store.
    """

    rows: tuple[VersionRow, ...]
    notes: tuple[str, ...]


def list_versions(store: ModelRegistry) -> VersionList:
    """Gather the versions of a store, and those that come with Tagalong.

    Args:
        store: Any store.

    Returns:
        One row for each, damaged ones included.
    """
    own, notes = _collect_rows(store, bundled=False)
    if store.bundled_root is None:
        return VersionList(tuple(own), tuple(notes))
    shipped, more = _collect_rows(ModelRegistry(store.bundled_root), bundled=True)
    shipped = [
        replace(row, current=row.current and _is_default_version(store, row)) for row in shipped
    ]
    return VersionList((*own, *shipped), (*notes, *more))


def _is_default_version(store: ModelRegistry, row: VersionRow) -> bool:
    """Whether a bundled version is current, because no version of the store is."""
    try:
        return store.current_version(row.tier) is None
    except VersionInvalid:  # there is a note on it
        return False


def _collect_rows(catalogue: ModelRegistry, *, bundled: bool) -> tuple[list[VersionRow], list[str]]:
    """The rows of a catalogue, and what is wrong with it."""
    rows: list[VersionRow] = []
    notes: list[str] = []
    for tier in catalogue.tiers():
        names = catalogue.version_names(tier)
        try:
            current = catalogue.current_version(tier)
        except VersionInvalid as error:
            current = None
            notes.append(str(error))
        if current is not None and current not in names:
            notes.append(
                f"{tier} should be served by {current}, which is gone: promote another version or "
                "roll back"
            )
        of_tier = []
        for name in names:
            try:
                manifest = read_manifest(catalogue.version_folder(tier, name), verify=False)
            except VersionInvalid as error:
                manifest = None
                notes.append(str(error))
            of_tier.append(VersionRow(tier, name, manifest, name == current, bundled))
        rows += sorted(of_tier, key=lambda row: row.manifest.created if row.manifest else "")
    return rows, notes


def row_to_json(row: VersionRow) -> dict[str, Any]:
    """A row as an object that JSON can hold.

    Args:
        row: Of a list.

    Returns:
        Where it stands, and what its manifest says but for config, data and files; null where
        that cannot be read.
    """
    place = {
        "tier": row.tier,
        "version": row.version,
        "current": row.current,
        "bundled": row.bundled,
    }
    fields = ("name", "created", "base", "base_revision", "labels", "scores", "calibration")
    return place | {name: getattr(row.manifest, name, None) for name in fields}


def render_list(rows: Sequence[VersionRow]) -> Table:
    """Draw a list of versions, with strict F1 overall and by length in words.

    Args:
        rows: Of a listing.

    Returns:
        A table that fits 80 columns; a long name is folded, figures never are.
    """
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
    """The split that the figures are of, strict F1, and strict F1 by length."""
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
    """Draw what is known about a version.

    Args:
        manifest: Read and verified.
        folder: Where it is.

    Returns:
        A table of names and values, nested names joined by dots.
    """
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
    """The leaves of nested objects, each with its path."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{prefix}{name}.")
        elif isinstance(inner, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, inner))
        elif inner is not None:
            yield f"{prefix}{name}", str(inner)
