"""Functions on spans, tags and counts for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tagalong.backend.documents.jsonl import (
    document_text_from_json,
    masked_ranges_from_json,
    raw_spans_from_json,
)
from tagalong.ner.document import Document, Span
from tagalong.ner.scoring import Counts, StratifiedCounts
from tagalong.ner.tags import TagSet


def overlap(one: Span, other: Span) -> bool:
    """Whether two spans share at least one code point."""
    return one.start < other.end and other.start < one.end


def decode(tag_set: TagSet, tags: Sequence[int], words: Sequence[tuple[int, int]]) -> list[Span]:
    """Decode one tag per word to spans."""
    return [
        Span(words[first][0], words[last - 1][1], label)
        for first, last, label in tag_set.entities(tags)
    ]


def count_cells(counts: StratifiedCounts, name: str) -> Counts:
    """All cells of one label, or of one length."""
    return sum((cell for key, cell in counts.cells.items() if name in key), Counts())


def document_from_json(line: Mapping[str, Any], where: str) -> Document:
    """Read a document with its annotations, which must be valid."""
    document = document_text_from_json(line, where)
    spans = tuple(
        Span(region.start, region.end, region.labels[0], region.score)
        for region in raw_spans_from_json(line, where)
    )
    unknown = masked_ranges_from_json(line, document, where)
    return replace(document, spans=spans, masked_ranges=unknown)
