"""Differences between annotations and a model's tags of the same words.

They are the mismatches of `tagalong.training.evaluation.error_types` with the model as gold: the
annotator's errors if the model were correct.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from tagalong.ner.document import Document, Span
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.training.evaluation import error_types
from tagalong.training.evaluation.error_types import SpanMismatch, find_mismatches

FindingKind = Literal[
    "missed",  # the model finds an entity that is not annotated
    "spurious",  # the model does not find the annotated entity
    "boundary",  # same label, other boundaries
    "type",  # other label
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
    """Compare the annotations of a document with a model's tags.

    Adjacent spans of the same label are one boundary difference, because marking the wrong word is
    one slip and not two. Ranges of unknown truth are excluded.

    Args:
        document: Annotated document.
        tagged: Its words and tags.
        tags: The model's tags of the same words.
        tag_set: Tag set of both.

    Returns:
        Mismatches in text order; `gold` is the model's span and `predicted` the annotation.
    """
    annotated, suggested = _comparable_spans(tagged, tags, tag_set)
    mismatches = find_mismatches(suggested, annotated)
    for spurious in [one for one in mismatches if one.error_type == "spurious"]:
        adjacent = next(
            (one for one in mismatches if _is_adjacent_pair(document.text, one, spurious)), None
        )
        if adjacent is not None:
            mismatches.remove(adjacent)
            mismatches.remove(spurious)
            mismatches.append(SpanMismatch("boundary shifted", adjacent.gold, spurious.predicted))
    return sorted(mismatches, key=lambda mismatch: (mismatch.extent, mismatch.error_type))


def _comparable_spans(
    tagged: TaggedWords, tags: Sequence[int], tag_set: TagSet
) -> tuple[list[Span], list[Span]]:
    """Annotated and model spans, without those in ranges of unknown truth or overlapping them."""
    annotated, suggested = list(tag_set.entities(tagged.tags)), list(tag_set.entities(tags))
    uncertain = [chunk for chunk in suggested if IGNORE_INDEX in tagged.tags[chunk[0] : chunk[1]]]
    certain = [
        chunk
        for chunk in annotated
        if not any(chunk[0] < other[1] and other[0] < chunk[1] for other in uncertain)
    ]
    return (
        [_entity_to_span(tagged, chunk) for chunk in certain],
        [_entity_to_span(tagged, chunk) for chunk in suggested if chunk not in uncertain],
    )


def _entity_to_span(tagged: TaggedWords, chunk: tuple[int, int, str]) -> Span:
    first, last, label = chunk
    return Span(tagged.words[first][0], tagged.words[last - 1][1], label)


def _is_adjacent_pair(text: str, missed: SpanMismatch, spurious: SpanMismatch) -> bool:
    """Model span and annotation have one label and no word between them."""
    suggested, annotated = missed.gold, spurious.predicted
    if (
        missed.error_type != "missed"
        or suggested is None
        or annotated is None
        or suggested.label != annotated.label
    ):
        return False
    first, second = sorted((suggested, annotated))
    return not text[first.end : second.start].strip()
