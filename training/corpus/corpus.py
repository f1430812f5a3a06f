"""The corpus: documents, what was lost on the way to them, and where they came from."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from tagalong.backend.annotations.import_log import CorpusWarning
from tagalong.ner.document import Document, DroppedAnnotation


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A file that was read.

    Attributes:
        path: As it was given.
        format: What it turned out to be.
        document_count: How many documents it gave, duplicates included.
    """

    path: str
    format: str
    document_count: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Annotated documents.

    Attributes:
        documents: In the order of reading; ids are unique.
        dropped: Annotations that could not be kept.
        warnings: What had to be judged, by kind.
        labels: In the order of the labelling config, else those that occur, sorted.
        sources: The files.
    """

    documents: tuple[Document, ...]
    dropped: tuple[DroppedAnnotation, ...]
    warnings: tuple[CorpusWarning, ...]
    labels: tuple[str, ...]
    sources: tuple[CorpusSource, ...]

    @property
    def fingerprint(self) -> str:
        """What `compute_fingerprint` says of the documents."""
        return compute_fingerprint(self.documents)


def compute_fingerprint(documents: Iterable[Document]) -> str:
    """Name a set of annotated documents by content.

    Args:
        documents: In any order.

    Returns:
        SHA-256 in hexadecimal over texts and annotations. Order, ids, scores and files do not
        matter; how often a document occurs does.
    """
    digests = sorted(hashlib.sha256(_canonical_bytes(document)).digest() for document in documents)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _canonical_bytes(document: Document) -> bytes:
    """The one way to write a document's text and annotations."""
    spans = [[span.start, span.end, span.label] for span in document.spans]
    content: list[object] = [document.text, spans]
    if document.masked_ranges:  # left out where there are none, as in every name given before
        content.append(document.masked_ranges)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
