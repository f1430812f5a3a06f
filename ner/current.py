"""The file ``current`` of a tier: which version serves, and which ones did before it."""

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

    Attributes:
        version: The one that serves.
        previous: Those that served before it, oldest first; a version may be there twice.
    """

    version: str
    previous: tuple[str, ...] = ()

    def promoted(self, version: str) -> "Current":
        """What it says once a version was promoted.

        Args:
            version: Any; the one that serves already changes nothing.

        Returns:
            The new state.
        """
        if version == self.version:
            return self
        return Current(version, (*self.previous, self.version))

    def rolled_back(self, present: Container[str]) -> "Current | None":
        """What it says once the last promotion was undone.

        Args:
            present: The versions that are still there; others are passed over.

        Returns:
            The new state, or None where there is nothing to go back to.
        """
        earlier = list(self.previous)
        while earlier:
            version = earlier.pop()
            if version in present and version != self.version:
                return Current(version, tuple(earlier))
        return None


def read_current(home: Path) -> Current | None:
    """Read which version of a tier serves.

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
            case {"version": str(version), "previous": [*previous]}:
                return Current(version, tuple(str(name) for name in previous))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise VersionInvalid(f"{path} cannot be read ({error}): promote a version anew") from error
    raise VersionInvalid(f"{path} does not name a version: promote one anew")


def write_current(home: Path, current: Current) -> None:
    """Say which version of a tier serves.

    Args:
        home: Folder of the tier, whose lock the caller holds.
        current: What to say.
    """
    replace_text(home / CURRENT, json.dumps(asdict(current), indent=2) + "\n")
