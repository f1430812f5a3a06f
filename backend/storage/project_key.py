"""Tells projects apart by id and time of creation, as Label Studio names them to its backends.

Ids alone are not unique: two Label Studios both have a project 1, and a Label Studio that is set up
again counts from 1.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

MAX_ID = 2**63 - 1  # of Label Studio's databases and of SQLite
MAX_CREATED = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 1
# "7.1795354311", or "7" without a time of creation. int() refuses thousands of digits.
KEY_PATTERN = re.compile(r"([0-9]{1,19})(?:\.([0-9]{0,12}))?")
TIMESTAMP_PATTERN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,20}(Z|[+-][0-9]{2}:?[0-9]{2})?"
)


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """A project of one Label Studio."""

    id: int
    created: int | None = None  # seconds since 1970; None if unknown

    def __str__(self) -> str:
        """As Label Studio writes it: ``7.1795354311``, or ``7`` without a time of creation."""
        return str(self.id) if self.created is None else f"{self.id}.{self.created}"

    @classmethod
    def parse(cls, value: object) -> Self | None:
        """Parse ``"7.1795354311"``, ``7``, or an object with ``id`` and ``created_at``.

        None if it names no project. An object without a valid time has no time of creation.
        """
        if isinstance(value, dict):
            key = cls.parse(number) if _is_scalar(number := value.get("id")) else None
            created = _parse_created(value.get("created_at"))
            return key if key is None or created is None else cls(key.id, created)
        if isinstance(value, str) and (match := KEY_PATTERN.fullmatch(value)):
            number, created = int(match[1]), int(match[2] or 0)
            is_valid = number <= MAX_ID and created <= MAX_CREATED
            return cls(number, created or None) if is_valid else None
        # Not isinstance: True would pass. A float has lost digits of the time.
        return cls(value) if type(value) is int and 0 <= value <= MAX_ID else None


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int)


def _parse_created(value: object) -> int | None:
    """Compute ``int(created_at.timestamp())``, as Label Studio does, which writes times in UTC."""
    if not isinstance(value, str) or not TIMESTAMP_PATTERN.fullmatch(value):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    seconds = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
    return seconds if 0 < seconds <= MAX_CREATED else None
