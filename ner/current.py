"""The file ``current`` of a tier: the current version, and the versions that were current before.

A tier without this file has no current version of its own: the bundled version is current, where
the tier has one. A rollback to that state writes ``{"version": null, "previous": []}``.
"""

import json
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path

from ner.durable import replace_text
from ner.errors import VersionInvalid

CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Current:
    """What ``current`` says.

    Before the first promotion, the version was None. ``previous`` leaves out that first state.

    Attributes:
        version: The current version; None for the bundled one, or for none where none is bundled.
        previous: The versions that were current before, oldest first; a version may be there twice.
    """

    version: str | None = None
    previous: tuple[str | None, ...] = ()

    def promoted(self, version: str | None) -> "Current":
        """The state after a promotion.

        Args:
            version: Any version; None for the bundled one. The current one changes nothing.

        Returns:
            The new state.
        """
        if version == self.version:
            return self
        return Current(version, () if self == Current() else (*self.previous, self.version))

    def rolled_back(self, present: Container[str]) -> "Current | None":
        """The state before the last promotion.

        Args:
            present: The versions that are still in the store; others are passed over.

        Returns:
            The new state, or None where there is no promotion to undo.
        """
        earlier = [None, *self.previous]  # None: the state before the first promotion
        while earlier:
            version = earlier.pop()
            if version != self.version and (version is None or version in present):
                return Current(version, tuple(earlier[1:]))
        return None


def read_current(home: Path) -> Current | None:
    """Read which version of a tier is current.

    Args:
        home: Folder of the tier.

    Returns:
        What its ``current`` says, or None if there is none.

    Raises:
        VersionInvalid: If it cannot be read.
    """
    path = home / CURRENT
    try:
        match json.loads(path.read_bytes()):
            case {"version": (str() | None) as version, "previous": [*previous]}:
                return Current(version, tuple(map(_name, previous)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise VersionInvalid(f"{path} cannot be read ({error}): promote a version") from error
    raise VersionInvalid(f"{path} does not name a version: promote one")


def _name(value: object) -> str | None:
    """A version's name, or None for the bundled version."""
    return None if value is None else str(value)


def write_current(home: Path, current: Current) -> None:
    """Write which version of a tier is current.

    Args:
        home: Folder of the tier, whose lock the caller holds.
        current: What to say.
    """
    replace_text(home / CURRENT, json.dumps(asdict(current), indent=2) + "\n")
