"""A corpus: its documents, the annotations lost in reading, and its files."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from tagalong.backend.annotations.import_log import CorpusWarning
from tagalong.ner.document import Document, DroppedAnnotation


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A file of a corpus, with the name of its format."""

    path: str  # as the user gave it
    format: str
    document_count: int  # duplicates included


@dataclass(frozen=True, slots=True)
class Corpus:
    """Annotated documents."""

    documents: tuple[Document, ...]  # in the order of reading; ids are unique
    dropped: tuple[DroppedAnnotation, ...]  # annotations lost in reading
    warnings: tuple[CorpusWarning, ...]  # findings that reading handled, by kind
    labels: tuple[str, ...]  # as in the labelling config; without one, all that occur, sorted
    sources: tuple[CorpusSource, ...]

    @property
    def fingerprint(self) -> str:
        """See `compute_fingerprint`."""
        return compute_fingerprint(self.documents)


def compute_fingerprint(documents: Iterable[Document]) -> str:
    """Identify a set of annotated documents by content.

    Returns SHA-256 in hexadecimal over texts and annotations. Order, ids, scores and files do not
    matter; repetitions do.
    """
    digests = sorted(hashlib.sha256(_canonical_bytes(document)).digest() for document in documents)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _canonical_bytes(document: Document) -> bytes:
    spans = [[span.start, span.end, span.label] for span in document.spans]
    content: list[object] = [document.text, spans]
    if document.masked_ranges:  # fingerprints of earlier releases have no such field
        content.append(document.masked_ranges)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
