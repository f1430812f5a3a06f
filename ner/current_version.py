"""The file ``current`` of a tier: its current version and the versions before it.

Without this file, the bundled version of the tier is current, if there is one. A rollback to that
state writes ``{"version": null, "previous": []}``.
"""

import json
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path

from tagalong.ner.atomic_io import UMASK_MODE, remove_unfinished_writes, write_text_atomically
from tagalong.ner.errors import VersionInvalid

CURRENT_FILE_NAME = "current"


@dataclass(frozen=True, slots=True)
class CurrentVersion:
    """The content of ``current``."""

    version: str | None = None  # None for the bundled version, or if there is none
    # Oldest first, with repetitions. None in this list is the bundled version. The state before the
    # first promotion is not listed.
    previous: tuple[str | None, ...] = ()

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


def read_current_version(tier_folder: Path) -> CurrentVersion | None:
    """Read the file ``current`` of a tier, None without one; raises `VersionInvalid` if damaged."""
    path = tier_folder / CURRENT_FILE_NAME
    try:
        match json.loads(path.read_bytes()):
            case {"version": (str() | None) as version, "previous": [*previous]}:
                names = (None if name is None else str(name) for name in previous)
                return CurrentVersion(version, tuple(names))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise VersionInvalid(
            f"{path} cannot be read ({error}): promote a version", code="current-unreadable"
        ) from error
    raise VersionInvalid(
        f"{path} does not name a version: promote a version", code="current-unreadable"
    )


def write_current_version(tier_folder: Path, current: CurrentVersion) -> None:
    """Write the file ``current`` in the folder of a tier, whose lock the caller holds."""
    path = tier_folder / CURRENT_FILE_NAME
    remove_unfinished_writes(path)
    write_text_atomically(path, json.dumps(asdict(current), indent=2) + "\n", mode=UMASK_MODE)
