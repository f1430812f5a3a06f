"""The journal's record of one document."""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b


class DocumentState(IntEnum):
    """The progress of a document. The numbers are in journals."""

    PREDICTED = 0  # waits for delivery
    SENDING = 1  # was sent, and may have arrived
    DELIVERED = 2
    FAILED = 3  # has no prediction; the payload is the reason
    DEFERRED = 4  # waits until the documents for the second pass are chosen


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A document of the batch.

    Attributes:
        position: In the source, from 0.
        key: The document's id in the source.
        digest: Of its text, by `compute_text_digest`.
        state: Its progress.
        version: The model version that predicted it; empty where none could.
        entities: Number of entities found.
        payload: The serialized prediction, or the reason why there is none; empty once delivered.
        expected_errors: Orders documents for the second pass.
        send_count: How often the prediction was sent.
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
    """The work of one model version.

    Attributes:
        documents: Documents whose prediction is this version's.
        entities: Entities in these documents.
        seconds: Time spent on predicting.
    """

    documents: int
    entities: int
    seconds: float


def compute_text_digest(text: str) -> bytes:
    """Identify a text by 16 bytes."""
    return blake2b(text.encode(), digest_size=16).digest()
