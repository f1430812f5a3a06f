"""What a batch knows of each of its documents."""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b


class DocumentState(IntEnum):
    """Where a document is."""

    PREDICTED = 0  # its answer waits
    SENDING = 1  # its answer was sent, and may have arrived
    DELIVERED = 2
    FAILED = 3  # there is no answer, and instead of it the reason
    DEFERRED = 4  # its answer waits until it is known whether a better tier reads it too


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A document of the batch.

    Attributes:
        place: In the source, from 0.
        key: Its id there.
        digest: Of its text, as `compute_text_digest` gives it.
        state: Where it is.
        tier: Which tier answered; empty where none could.
        entities: How many were found.
        answer: As the target takes it, or why there is none; empty once delivered.
        worth: How much a better tier could gain on it; only its order means anything.
        sent: How often it was sent.
    """

    position: int
    key: str
    digest: bytes
    state: DocumentState
    version: str
    entities: int
    payload: str
    expected_errors: float = 0.0
    send_count: int = 0


@dataclass(frozen=True, slots=True)
class VersionTotals:
    """What a tier answered.

    Attributes:
        documents: That its answer stands for.
        entities: In these.
        seconds: That it has computed.
    """

    documents: int
    entities: int
    seconds: float


def compute_text_digest(text: str) -> bytes:
    """What tells a text from another, 16 bytes."""
    return blake2b(text.encode(), digest_size=16).digest()
