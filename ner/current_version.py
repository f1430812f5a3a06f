"""The file ``current`` of a tier: the current version, and the versions that were current before.

A tier without this file has no current version of its own: the bundled version is current, where
the tier has one. A rollback to that state writes ``{"version": null, "previous": []}``.
"""

import json
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path

from tagalong.ner.atomic_io import remove_unfinished_writes, write_text_atomically
from tagalong.ner.errors import VersionInvalid

CURRENT_FILE_NAME = "current"


@dataclass(frozen=True, slots=True)
class CurrentVersion:
    """What ``current`` says.

    Before the first promotion, the version was None. ``previous`` leaves out that first state.

    Attributes:
        version: The current version; None for the bundled one, or for none where none is bundled.
        previous: The versions that were current before, oldest first; a version may be there twice.
    """

    version: str | None = None
    previous: tuple[str | None, ...] = ()

    def after_promotion(self, version: str | None) -> "CurrentVersion":
        """The state after a promotion.

        Args:
            version: Any version; None for the bundled one. The current one changes nothing.

        Returns:
            The new state.
        """
        if version == self.version:
            return self
        return CurrentVersion(
            version, () if self == CurrentVersion() else (*self.previous, self.version)
        )

    def after_rollback(self, available: Container[str]) -> "CurrentVersion | None":
        """The state before the last promotion.

        Args:
            available: The versions that are still in the store; others are passed over.

        Returns:
            The new state, or None where there is no promotion to undo.
        """
        earlier = [None, *self.previous]  # None: the state before the first promotion
        while earlier:
            version = earlier.pop()
            if version != self.version and (version is None or version in available):
                return CurrentVersion(version, tuple(earlier[1:]))
        return None


def read_current_version(tier_folder: Path) -> CurrentVersion | None:
    """Read which version of a tier is current.

    Args:
        tier_folder: Folder of the tier.

    Returns:
        What its ``current`` says, or None if there is none.

    Raises:
        VersionInvalid: If it cannot be read.
    """
    path = tier_folder / CURRENT_FILE_NAME
    try:
        match json.loads(path.read_bytes()):
            case {"version": (str() | None) as version, "previous": [*previous]}:
                return CurrentVersion(version, tuple(map(_parse_version_name, previous)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise VersionInvalid(f"{path} cannot be read ({error}): promote a version") from error
    raise VersionInvalid(f"{path} does not name a version: promote one")


def _parse_version_name(value: object) -> str | None:
    """A version's name, or None for the bundled version."""
    return None if value is None else str(value)


def write_current_version(tier_folder: Path, current: CurrentVersion) -> None:
    """Write which version of a tier is current.

    Args:
        tier_folder: Folder of the tier, whose lock the caller holds.
        current: What to say.
    """
    path = tier_folder / CURRENT_FILE_NAME
    remove_unfinished_writes(path)
    write_text_atomically(path, json.dumps(asdict(current), indent=2) + "\n")
