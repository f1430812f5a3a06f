"""Text segments: they concatenate to the text, and spans can be rebuilt from them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tagalong.ner.document import Span
from tagalong.training.evaluation.text_segments import (
    MATCH_KINDS,
    MatchKind,
    TextSegment,
    segment_text,
)

TEXT = "Naloxone reverses the 😀 effect\r\nof clonidine."
spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, min(start + length, len(TEXT)), label),
        st.integers(0, len(TEXT) - 1),
        st.integers(1, 20),
        st.sampled_from(("Chemical", "Disease")),
    ),
    max_size=6,
)


@given(gold=spans, predicted=spans)
def test_segments_concatenate_to_the_text(gold: list[Span], predicted: list[Span]) -> None:
    pieces = segment_text(TEXT, gold, predicted)
    assert "".join(piece.text for piece in pieces) == TEXT
    assert all(piece.text for piece in pieces)
    sets = {
        "right": set(gold) & set(predicted),
        "missed": set(gold) - set(predicted),
        "spurious": set(predicted) - set(gold),
    }
    ended = []
    at = 0
    for piece in pieces:
        end = at + len(piece.text)
        for place in range(at, end):
            covering = {
                standing
                for standing in MATCH_KINDS
                if any(span.start <= place < span.end for span in sets[standing])
            }
            assert set(piece.match_kinds) == covering
        ended += [(end, *tag) for tag in piece.ending_labels]
        at = end
    assert sorted(ended) == sorted(
        (span.end, span.label, standing) for standing in MATCH_KINDS for span in sets[standing]
    )


def split_naively(text: str, gold: list[Span], predicted: list[Span]) -> list[TextSegment]:
    """A naive implementation that checks every span against every segment."""
    standing: dict[Span, MatchKind] = {
        span: "missed" if span not in predicted else "right" if span in gold else "spurious"
        for span in sorted({*gold, *predicted}, key=lambda one: (one.start, one.end, one.label))
    }
    edges = {0, len(text)}.union(*((span.start, span.end) for span in standing))
    return [
        TextSegment(
            text[start:end],
            tuple(
                one
                for one in MATCH_KINDS
                if any(
                    span.start <= start and end <= span.end
                    for span, of_span in standing.items()
                    if of_span == one
                )
            ),
            tuple((span.label, of_span) for span, of_span in standing.items() if span.end == end),
        )
        for start, end in pairwise(sorted(edges))
    ]


@given(gold=spans, predicted=spans)
def test_segments_equal_a_naive_implementation(gold: list[Span], predicted: list[Span]) -> None:
    assert segment_text(TEXT, gold, predicted) == split_naively(TEXT, gold, predicted)


def test_empty_text_has_no_segments() -> None:
    assert segment_text("", [], []) == []
