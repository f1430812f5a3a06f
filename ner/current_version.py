"""The file ``current`` of a model: its current version and the versions before it.

Without this file, the bundled version of the model is current, if there is one. A rollback to that
state writes ``{"version": null, "previous": []}``. A copy beside it says what was current where the
file is damaged.
"""

import json
import os
from collections.abc import Container
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tagalong.ner.atomic_io import UMASK_MODE, remove_unfinished_writes, write_text_atomically
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import SAFE_NAME_PATTERN

CURRENT_FILE_NAME, BACKUP_FILE_NAME = "current", ".current-backup"
REPAIR_ADVICE = "promote a version with `tagalong models promote`"


@dataclass(frozen=True, slots=True)
class CurrentVersion:
    """The content of ``current``."""

    version: str | None = None  # None for the bundled version, or if there is none
    # Oldest first, with repetitions. None in this list is the bundled version. The state before the
    # first promotion is not listed.
    previous: tuple[str | None, ...] = ()

    def newest_first(self) -> tuple[str | None, ...]:
        """The current version and those before it."""
        return (self.version, *reversed(self.previous))

    def after_promotion(self, version: str | None) -> "CurrentVersion":
        """The state after promoting a version (None for the bundled one)."""
        if version == self.version:
            return self
        previous = () if self == CurrentVersion() else (*self.previous, self.version)
        return CurrentVersion(version, previous)

    def after_rollback(self, available: Container[str]) -> "CurrentVersion | None":
        """The state before the last promotion, or None if there is no promotion to undo.

        Versions outside ``available`` are skipped, because they were removed since.
        """
        earlier = [None, *self.previous]  # None: the state before the first promotion
        while earlier:
            version = earlier.pop()
            if version != self.version and (version is None or version in available):
                return CurrentVersion(version, tuple(earlier[1:]))
        return None


def read_current_version(model_folder: Path) -> CurrentVersion | None:
    """Read the file ``current``; None without one. Raises `VersionInvalid` if it is damaged."""
    return _read(model_folder / CURRENT_FILE_NAME)


def read_current_backup(model_folder: Path) -> CurrentVersion | None:
    """Read the copy of ``current`` of a model; None if there is none, or it is damaged too."""
    with suppress(VersionInvalid):
        return _read(model_folder / BACKUP_FILE_NAME)
    return None


def _read(path: Path) -> CurrentVersion | None:
    try:
        match json.loads(path.read_bytes()):
            case {"version": version, "previous": [*previous]}:
                current = CurrentVersion(version, tuple(previous))
                if all(map(_is_version_or_none, current.newest_first())):
                    return current
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise VersionInvalid(
            f"{path} cannot be read ({error}): {REPAIR_ADVICE}", code="current-unreadable"
        ) from error
    raise VersionInvalid(
        f"{path} does not name a version: {REPAIR_ADVICE}", code="current-unreadable"
    )


def _is_version_or_none(name: object) -> bool:
    # A name must never lead out of the store.
    return name is None or (isinstance(name, str) and SAFE_NAME_PATTERN.fullmatch(name) is not None)


def write_current_version(model_folder: Path, current: CurrentVersion) -> None:
    """Write the file ``current`` in the folder of a model, whose lock the caller holds."""
    path = model_folder / CURRENT_FILE_NAME
    with suppress(OSError):
        path.rmdir()  # Docker makes a folder for a mounted file that is missing
    if path.exists() and not os.access(path, os.R_OK):
        path.unlink()  # its permissions would be kept
    text = json.dumps(asdict(current), indent=2) + "\n"
    # The copy first: after an error, the caller says that nothing has changed.
    for place in (model_folder / BACKUP_FILE_NAME, path):
        remove_unfinished_writes(place)
        write_text_atomically(place, text, mode=UMASK_MODE)
