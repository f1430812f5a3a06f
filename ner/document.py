"""Documents, their annotated spans, and the annotations that could not be kept.

Offsets are half-open and count Python code points of ``Document.text``. The text is never stripped,
normalised or re-encoded, so ``text[span.start:span.end]`` is always the annotated text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tagalong.ner.errors import OffsetError
from tagalong.ner.words import DEFAULT_WORD_RULE, WordRule

DropReason = Literal[
    "overlap",  # flat BIO holds one label per word; the longest span stays
    "edge inside a word",  # a boundary between two letters of one word
    "discontinuous",  # of several stretches
    "text differs",  # the file states another text than the offsets cover
    "offset outside the text",  # past the end, or negative
    "end before start",
    "empty",  # the region begins where it ends
    "label unknown",  # not in the label set
    "second label",  # a region with several labels keeps the first
    "outvoted",  # drawn by half of the annotators or fewer
    "no words",  # only white space, format and control characters
    "another tag column",  # a file's first column of tags is read
]
DROP_REASONS: tuple[DropReason, ...] = DropReason.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch of text, ``text[start:end]``; its score is not part of equality."""

    start: int  # first code point, from 0
    end: int  # one past the last code point; always greater than start
    label: str  # entity type, spelled as in the label set
    score: float | None = field(default=None, compare=False)  # in (0, 1]; None if a person drew it

    def __post_init__(self) -> None:
        """Raise `OffsetError` if the span is empty, reversed or starts before the text."""
        if not 0 <= self.start < self.end:
            raise OffsetError(
                f"a span from {self.start} to {self.end} is not a stretch of text: "
                "offsets are half-open and count from 0, so 0 <= start < end must hold",
                code="span-not-a-stretch",
            )


@dataclass(frozen=True, slots=True)
class DroppedAnnotation:
    """An annotation that could not be kept: returned beside every result, and counted."""

    label: str
    text: str  # that it covered, as far as it is known
    reason: DropReason
    start: int  # as stated, in code points; may lie outside the text
    end: int
    document: str = ""  # its id


@dataclass(frozen=True, slots=True)
class Document:
    """One text and its annotations."""

    id: str  # unique within a corpus
    text: str  # every character as it was read
    spans: tuple[Span, ...] = ()  # sorted by start, then longest first; they may overlap
    meta: Mapping[str, Any] = field(default_factory=dict, compare=False)  # the rest of the record
    # Half-open stretches, sorted, whose true labels are unknown. They count in comparisons, because
    # they change the training.
    masked_ranges: tuple[tuple[int, int], ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Sort spans and masked ranges; raise `OffsetError` if one is no stretch of the text."""
        # The dataclass is frozen: only object.__setattr__ can set a field here.
        object.__setattr__(self, "masked_ranges", tuple(sorted(set(self.masked_ranges))))
        for start, end in self.masked_ranges:
            if not 0 <= start < end <= len(self.text):
                raise OffsetError(
                    f"document {self.id!r} has an unknown stretch from {start} to {end}, but its "
                    f"text goes from 0 to {len(self.text)}: stretches are half-open and inside it",
                    code="stretch-outside-text",
                )
        ordered = tuple(sorted(self.spans, key=lambda span: (span.start, -span.end, span.label)))
        object.__setattr__(self, "spans", ordered)
        last = max((span.end for span in ordered), default=0)
        if last > len(self.text):
            raise OffsetError(
                f"document {self.id!r} has a span ending at {last}, but its text ends at "
                f"{len(self.text)}: check that offsets count code points of this very text",
                code="span-outside-text",
            )

    def span_text(self, span: Span) -> str:
        """The text a span covers."""
        return self.text[span.start : span.end]

    def drop_span(self, span: Span, reason: DropReason) -> DroppedAnnotation:
        """The record of a span of this document that is not kept."""
        text = self.span_text(span)
        return DroppedAnnotation(span.label, text, reason, span.start, span.end, self.id)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A tagger's answer for one document.

    Its score is MNLP (Shen et al. 2018, "Deep Active Learning for Named Entity Recognition"): low
    means worth annotating.
    """

    spans: tuple[Span, ...]  # flat (never overlapping), sorted, each with a score
    score: float  # in (0, 1]; 1.0 where there are no words
    version: str
    tag_confidences: tuple[float, ...] = ()  # one per word; empty if unknown
    dropped: tuple[DroppedAnnotation, ...] = ()  # what flat BIO or the label set cannot represent
    word_rule: WordRule = field(default=DEFAULT_WORD_RULE, compare=False)  # of the confidences
