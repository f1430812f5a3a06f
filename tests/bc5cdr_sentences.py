"""Sentences with entities from the BC5CDR abstracts of the samples."""

import re
from collections.abc import Iterator
from pathlib import Path

from tagalong.ner.document import Document, Span
from tagalong.training.corpus import read_corpus

SAMPLES = Path(__file__).parent / "samples"
LONGEST = 160  # characters


def abstracts() -> list[Document]:
    return read_corpus([SAMPLES / "bc5cdr.jsonl", SAMPLES / "bc5cdr_test.jsonl"]).documents


def sentences(count: int) -> list[Document]:
    """The first short sentences with entities."""
    found = [sentence for document in abstracts() for sentence in _split(document)]
    assert len(found) >= count
    return found[:count]


def _split(document: Document) -> Iterator[Document]:
    ends = [match.end() for match in re.finditer(r"\. (?=[A-Z])", document.text)]
    for start, end in zip([0, *ends], [*ends, len(document.text)], strict=True):
        spans = tuple(
            Span(span.start - start, span.end - start, span.label)
            for span in document.spans
            if start <= span.start and span.end <= end
        )
        if spans and end - start <= LONGEST:
            text = document.text[start:end].rstrip()
            yield Document(f"{document.id}-{start}", text, spans)
