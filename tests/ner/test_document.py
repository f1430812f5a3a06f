"""Documents and spans: valid offsets, order and equality."""

from dataclasses import FrozenInstanceError
from itertools import permutations
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagalong.ner.document import DROP_REASONS, Document, DropReason, Span
from tagalong.ner.errors import OffsetError
from tests.errors import raises
from tests.odd_documents import texts
from tests.spans import overlap

TEXT = "Aspirin 😀 asthma"  # 16 code points, 17 units of UTF-16
LENGTH = 16
offsets = st.integers(-2, LENGTH + 2)
spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    st.integers(0, LENGTH - 1),
    st.integers(1, 6),
    st.sampled_from(("Chemical", "Disease")),
)
inner_spans = spans.filter(lambda span: span.end <= LENGTH)


@given(offsets, offsets)
@example(0, 1)
@example(0, 0)
@example(3, 2)
@example(-1, 2)
def test_span_is_not_empty_and_starts_at_0_or_later(start: int, end: int) -> None:
    if 0 <= start < end:
        assert (Span(start, end, "x").start, Span(start, end, "x").end) == (start, end)
    else:
        with raises(OffsetError, "span-not-a-stretch"):
            Span(start, end, "x")


def test_spans_compare_by_start_end_label_but_not_score() -> None:
    ordered = [Span(0, 1, "y"), Span(0, 2, "x"), Span(0, 2, "y"), Span(1, 2, "a")]
    assert all(sorted(mixed) == ordered for mixed in permutations(ordered))
    sure, unsure = Span(0, 1, "y", 1.0), Span(0, 1, "y", 0.1)
    assert sure == unsure == Span(0, 1, "y")
    assert len({sure, unsure}) == 1
    assert not sure < unsure
    assert not unsure < sure
    assert len({*ordered, Span(0, 1, "x")}) == 5


@given(spans, spans)
@example(Span(0, 2, "x"), Span(2, 4, "x"))
@example(Span(0, 4, "x"), Span(1, 2, "y"))
def test_spans_overlap_if_they_share_a_code_point(one: Span, other: Span) -> None:
    shared = set(range(one.start, one.end)) & set(range(other.start, other.end))
    assert overlap(one, other) == overlap(other, one) == bool(shared)


@given(st.lists(spans, max_size=5))
@example([Span(0, LENGTH, "x")])
@example([Span(0, LENGTH + 1, "x"), Span(1, 2, "x")])  # not the last one
@example([Span(8, 10, "x"), Span(15, 17, "x")])
def test_span_past_end_of_text_is_refused(found: list[Span]) -> None:
    last = max((span.end for span in found), default=0)
    if last <= LENGTH:
        assert len(Document("d", TEXT, tuple(found)).spans) == len(found)
    else:
        with raises(OffsetError, "span-outside-text"):
            Document("d", TEXT, tuple(found))


@given(st.lists(inner_spans, max_size=8), st.randoms(use_true_random=False))
@example([Span(0, 2, "y"), Span(0, 2, "x"), Span(0, 3, "y"), Span(1, 2, "x")], None)
def test_spans_are_sorted_by_start_then_longest_then_label(found: list[Span], chance) -> None:
    document = Document("d", TEXT, tuple(found))
    assert sorted(document.spans) == sorted(found)  # no span lost or repeated
    for before, after in zip(document.spans, document.spans[1:], strict=False):
        assert before.start <= after.start
        if before.start == after.start:
            assert before.end >= after.end
            assert before.end > after.end or before.label <= after.label
    if chance is not None:
        chance.shuffle(found)
    assert Document("d", TEXT, tuple(found)) == document


def test_equal_spans_keep_order_and_scores() -> None:
    scored = [Span(0, 7, "x", score) for score in (0.5, 0.9, 0.1)]
    assert [span.score for span in Document("d", TEXT, tuple(scored)).spans] == [0.5, 0.9, 0.1]


@given(st.lists(st.tuples(offsets, offsets), max_size=4))
@example([(0, LENGTH)])
@example([(0, LENGTH + 1), (1, 2)])
@example([(3, 3)])
@example([(5, 4)])
@example([(-1, 4)])
@example([(1, 4), (0, 2), (1, 4), (0, 9)])
def test_masked_ranges_are_inside_text_sorted_and_unique(
    unknown: list[tuple[int, int]],
) -> None:
    wrong = [(start, end) for start, end in unknown if not 0 <= start < end <= LENGTH]
    if wrong:
        with raises(OffsetError, "stretch-outside-text"):
            Document("d", TEXT, masked_ranges=tuple(unknown))
    else:
        assert Document("d", TEXT, masked_ranges=tuple(unknown)).masked_ranges == tuple(
            sorted(set(unknown))
        )


@given(texts.filter(bool), st.data())
@example("a b", None)
def test_span_text_is_text_between_offsets(text: str, data) -> None:
    start = data.draw(st.integers(0, len(text) - 1)) if data else 1
    end = data.draw(st.integers(start + 1, len(text))) if data else 2
    covered = Document("d", text).span_text(Span(start, end, "x"))
    assert len(covered) == end - start
    assert text[:start] + covered + text[end:] == text


def test_offsets_count_code_points() -> None:
    document = Document("d", TEXT, (Span(8, 9, "Emoji"), Span(10, 16, "Disease")))
    assert [document.span_text(span) for span in document.spans] == ["😀", "asthma"]


def test_equality_ignores_metadata_and_scores() -> None:
    document = Document("d", TEXT, (Span(0, 7, "x"),), {"source": "a"}, masked_ranges=((8, 9),))
    same = Document("d", TEXT, (Span(0, 7, "x", 0.5),), {"source": "b"}, masked_ranges=((8, 9),))
    assert document == same
    assert hash(document) == hash(same)  # meta is not hashed: a dictionary cannot be
    assert same.meta == {"source": "b"}


@pytest.mark.parametrize(
    "other",
    [
        Document("e", TEXT, (Span(0, 7, "x"),), masked_ranges=((8, 9),)),
        Document("d", TEXT + " ", (Span(0, 7, "x"),), masked_ranges=((8, 9),)),
        Document("d", TEXT, (Span(0, 7, "y"),), masked_ranges=((8, 9),)),
        Document("d", TEXT, (Span(0, 7, "x"), Span(0, 7, "x")), masked_ranges=((8, 9),)),
        Document("d", TEXT, (Span(0, 7, "x"),), masked_ranges=((8, 10),)),
        Document("d", TEXT, (Span(0, 7, "x"),)),
    ],
    ids=["id", "text", "label", "a span twice", "unknown", "nothing unknown"],
)
def test_equality_compares_all_other_fields(other: Document) -> None:
    assert other != Document("d", TEXT, (Span(0, 7, "x"),), masked_ranges=((8, 9),))


@pytest.mark.parametrize("field", ["text", "spans", "masked_ranges"])
def test_document_is_immutable(field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(Document("d", TEXT), field, ())


def test_all_drop_reasons_are_listed() -> None:
    assert get_args(DropReason) == DROP_REASONS
