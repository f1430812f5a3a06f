"""Annotations and a model's reading of the same words -> where they are not the same spans.

The mistakes of `tagalong.training.evaluation.error_types`, with the model in the place of gold: what an annotator would
have done wrong if the model were right.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from tagalong.ner.document import Document, Span
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.training.evaluation import error_types
from tagalong.training.evaluation.error_types import SpanMismatch, find_mismatches

FindingKind = Literal[
    "missed",  # the model reads an entity where none is annotated
    "spurious",  # one is annotated where the model reads none
    "boundary",  # both have one of the same label there, with other edges
    "type",  # both have one there, with other labels
]
FINDING_KIND_BY_ERROR_TYPE: Mapping[error_types.ErrorType, FindingKind] = {
    "boundary short": "boundary",
    "boundary long": "boundary",
    "boundary shifted": "boundary",
    "type": "type",
    "type and boundary": "type",
    "missed": "missed",
    "spurious": "spurious",
}


def find_differences(
    document: Document, tagged: TaggedWords, tags: Sequence[int], tag_set: TagSet
) -> list[SpanMismatch]:
    """Compare what was drawn in a document with what a model reads in it.

    Args:
        document: Annotated.
        tagged: Its words and tags.
        tags: What the model says of the same words.
        tag_set: What the tags mean.

    Returns:
        Mistakes in text order: `gold` is what the model reads, `predicted` what was drawn. Spans of
        the same label that stand side by side are one mistake of boundary: whoever marks the next
        word makes one slip, not two. Where the truth is unknown there is none.
    """
    drawn, read = _comparable_spans(tagged, tags, tag_set)
    found = find_mismatches(read, drawn)
    for spurious in [one for one in found if one.error_type == "spurious"]:
        beside = next(
            (one for one in found if _is_adjacent_pair(document.text, one, spurious)), None
        )
        if beside is not None:
            found.remove(beside)
            found.remove(spurious)
            found.append(SpanMismatch("boundary shifted", beside.gold, spurious.predicted))
    return sorted(found, key=lambda mistake: (mistake.extent, mistake.error_type))


def _comparable_spans(
    tagged: TaggedWords, tags: Sequence[int], tag_set: TagSet
) -> tuple[list[Span], list[Span]]:
    """Spans drawn and spans read, but for those read where the truth is unknown, and their like."""
    drawn, read = list(tag_set.entities(tagged.tags)), list(tag_set.entities(tags))
    unclear = [chunk for chunk in read if IGNORE_INDEX in tagged.tags[chunk[0] : chunk[1]]]
    clear = [
        chunk
        for chunk in drawn
        if not any(chunk[0] < other[1] and other[0] < chunk[1] for other in unclear)
    ]
    return (
        [_entity_to_span(tagged, chunk) for chunk in clear],
        [_entity_to_span(tagged, chunk) for chunk in read if chunk not in unclear],
    )


def _entity_to_span(tagged: TaggedWords, chunk: tuple[int, int, str]) -> Span:
    """A chunk of words as a stretch of text."""
    first, last, label = chunk
    return Span(tagged.words[first][0], tagged.words[last - 1][1], label)


def _is_adjacent_pair(text: str, missed: SpanMismatch, spurious: SpanMismatch) -> bool:
    """Whether a span read and a span drawn are of one label, with no word between them."""
    read, drawn = missed.gold, spurious.predicted
    if missed.error_type != "missed" or read is None or drawn is None or read.label != drawn.label:
        return False
    first, second = sorted((read, drawn))
    return not text[first.end : second.start].strip()
