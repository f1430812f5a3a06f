"""Properties of tags: kept spans, masked words, and decoding."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product, starmap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seqeval.scheme import IOB2, Entities

from tagalong.ner.document import DROP_REASONS, Document, DroppedAnnotation, Span
from tagalong.ner.errors import LabelError
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TaggedWords, TagSet
from tagalong.ner.words import is_inside_word, trim_to_words, word_offsets
from tests.errors import raises
from tests.odd_documents import texts
from tests.spans import decode

TAGS = TagSet(("Chemical", "Disease"))
UNKNOWN_LABEL = "Gene"  # a label outside the label set
B_CHEMICAL, I_CHEMICAL, B_DISEASE, I_DISEASE = 1, 2, 3, 4
TEXT = "Aspirin-induced asthma attack"  # words: Aspirin - induced asthma attack


@st.composite
def ranges(draw: st.DrawFn, text: str) -> tuple[int, int]:
    """A range of a text: consecutive words, or any two offsets."""
    words = word_offsets(text)
    if words and draw(st.booleans()):
        first = draw(st.integers(0, len(words) - 1))
        last = draw(st.integers(first, min(first + 2, len(words) - 1)))
        return words[first][0], words[last][1]
    start = draw(st.integers(0, len(text) - 1))
    return start, draw(st.integers(start + 1, min(start + 12, len(text))))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any spans and masked ranges: overlapping, repeated, blank, inside words, unknown labels."""
    text = draw(texts | st.text(max_size=20))
    if not text:
        return Document("empty", text)
    labels = st.sampled_from((*TAGS.labels, UNKNOWN_LABEL))
    places = st.lists(st.tuples(ranges(text), labels), max_size=6)
    spans = tuple(Span(start, end, label) for (start, end), label in draw(places))
    twice = spans[: draw(st.integers(0, 1))]
    unknown = draw(st.lists(ranges(text), max_size=2))
    return Document("odd", text, spans + twice, masked_ranges=tuple(unknown))


def span_of(lost: DroppedAnnotation) -> Span:
    return Span(lost.start, lost.end, lost.label)


def kept_of(document: Document, tagged: TaggedWords) -> set[Span]:
    return set(document.spans) - set(map(span_of, tagged.dropped))


def is_stripped(document: Document, span: Span) -> bool:
    return stripped(document, span) == span


def stripped(document: Document, span: Span) -> Span | None:
    """The span, stripped of white space, format and control characters; None if it has no more."""
    trimmed = trim_to_words(document.text, span.start, span.end)
    return Span(*trimmed, span.label) if trimmed else None


def code_points(document: Document, span: Span) -> set[int]:
    """The code points of a span that belong to words."""
    in_words = {at for word in word_offsets(document.text) for at in range(*word)}
    return in_words & {*range(span.start, span.end)}


def touches(word: tuple[int, int], start: int, end: int) -> bool:
    return not set(range(*word)).isdisjoint(range(start, end))


def tag_names(tags: Sequence[int]) -> str:
    """Tags as text, with ? for IGNORED."""
    return " ".join("?" if tag == IGNORE_INDEX else TAGS.tag_names[tag] for tag in tags)


@given(documents())
@example(Document("wide", "a b", (Span(0, 2, "Chemical"), Span(1, 3, "Disease"))))
def test_decoding_returns_every_kept_span(document: Document) -> None:
    tagged = TAGS.encode(document)
    kept = [stripped(document, span) for span in kept_of(document, tagged)]
    assert decode(TAGS, tagged.tags, tagged.words) == sorted(kept)


@given(documents())
def test_each_span_is_kept_or_dropped(document: Document) -> None:
    spans = {span for span in document.spans if is_stripped(document, span)}
    tagged = TAGS.encode(replace(document, spans=tuple(spans)))
    decoded = decode(TAGS, tagged.tags, tagged.words)
    assert sorted([*decoded, *map(span_of, tagged.dropped)]) == sorted(spans)


@given(documents())
@example(Document("twice", TEXT, (Span(0, 7, "Chemical"), Span(0, 7, "Chemical"))))
@example(Document("lost twice", TEXT, (Span(0, 3, "Chemical"), Span(0, 3, "Chemical"))))
def test_dropped_span_is_reported_once_with_text_and_document(document: Document) -> None:
    lost = TAGS.encode(document).dropped
    spans = [span_of(entry) for entry in lost]
    assert len(set(spans)) == len(spans)
    assert set(spans) <= set(document.spans)
    for entry in lost:
        assert entry.text == document.text[entry.start : entry.end]
        assert entry.document == document.id
        assert entry.reason in DROP_REASONS


@given(documents())
@example(Document("left", TEXT, (Span(1, 7, "Chemical"),)))
@example(Document("right", TEXT, (Span(0, 6, "Chemical"),)))
@example(Document("space", TEXT, (Span(15, 16, "Chemical"),)))
@example(Document("foreign", TEXT, (Span(0, 7, UNKNOWN_LABEL),)))
@example(Document("shorter", TEXT, (Span(0, 7, "Chemical"), Span(0, 15, "Disease"))))
@example(Document("chain", TEXT, (Span(0, 15, "Disease"), Span(8, 22, "Chemical"))))
@example(  # the span of an unknown label is the longest, but drops no other
    Document("foreign and shorter", TEXT, (Span(0, 15, UNKNOWN_LABEL), Span(0, 7, "Chemical")))
)
def test_drop_reason_is_true(document: Document) -> None:
    tagged = TAGS.encode(document)
    kept = kept_of(document, tagged)

    def reasons(span: Span) -> set[str]:
        """All valid reasons to drop a span. A longer span has priority; then the first."""
        rank = (span.start - span.end, span.start, span.label)
        ahead = [one for one in kept if (one.start - one.end, one.start, one.label) < rank]
        shared = [one for one in ahead if code_points(document, one) & code_points(document, span)]
        cut = any(is_inside_word(tagged.words, edge) for edge in (span.start, span.end))
        holds = {
            "label unknown": span.label not in TAGS.labels,
            "no words": not code_points(document, span),
            "edge inside a word": cut,
            "overlap": bool(shared),
        }
        return {reason for reason, is_true in holds.items() if is_true}

    assert [span for span in kept if reasons(span)] == []
    for entry in tagged.dropped:
        others = reasons(span_of(entry)) - {"overlap"}
        # A span that is invalid on its own is not dropped as overlapping.
        assert entry.reason in (others or {"overlap"} & reasons(span_of(entry)))


def test_first_of_equally_long_spans_is_kept() -> None:
    first, last = Span(0, 3, "Chemical"), Span(4, 7, "Chemical")
    lost = [Span(0, 3, "Disease"), Span(2, 5, "Chemical")]
    for spans in permutations([first, *lost, last]):
        tagged = TAGS.encode(Document("equals", "a b c d", spans))
        assert decode(TAGS, tagged.tags, tagged.words) == [first, last]
        assert [span_of(entry) for entry in tagged.dropped] == lost


def test_first_label_by_name_is_kept_on_same_word() -> None:
    """Many words, because the random order of a set would pass on few."""
    places = [(start, start + 1) for start in range(0, 40, 2)]
    spans = tuple(Span(*place, label) for place in places for label in reversed(TAGS.labels))
    tagged = TAGS.encode(Document("pairs", "x " * 20, spans))
    assert tagged.tags == (B_CHEMICAL,) * 20
    assert {lost.label for lost in tagged.dropped} == {"Disease"}


@given(documents(), st.randoms(use_true_random=False))
def test_encoding_ignores_order_duplicates_and_scores(document: Document, chance) -> None:
    scored = [replace(span, score=0.5) for span in document.spans]
    spans = [*document.spans, *scored]
    chance.shuffle(spans)
    assert TAGS.encode(replace(document, spans=tuple(spans))) == TAGS.encode(document)


@given(documents())
@example(Document("unknown", TEXT, (Span(0, 7, "Chemical"),), masked_ranges=((0, 3), (16, 20))))
@example(Document("lost", TEXT, (Span(0, 8, "Chemical"), Span(7, 22, "Disease"))))
def test_words_of_dropped_spans_are_ignored(
    document: Document,
) -> None:
    tagged = TAGS.encode(document)
    kept = kept_of(document, tagged)
    unclear = [(lost.start, lost.end) for lost in tagged.dropped] + list(document.masked_ranges)
    for word, tag in zip(tagged.words, tagged.tags, strict=True):
        covering = [span for span in kept if touches(word, span.start, span.end)]
        if covering:
            [span] = covering
            assert tag in (TAGS.begin_tag(span.label), TAGS.begin_tag(span.label) + 1)
        elif any(touches(word, start, end) for start, end in unclear):
            assert tag == IGNORE_INDEX
        else:
            assert tag == OUTSIDE


@given(documents())
def test_encoded_tags_are_legal_bio(document: Document) -> None:
    tagged = TAGS.encode(document)
    assert list(tagged.words) == word_offsets(document.text)
    for previous, tag in zip((None, *tagged.tags), tagged.tags, strict=False):
        assert TAGS.may_follow(tag, previous)


@pytest.mark.parametrize(
    ("spans", "tags", "reasons"),
    [
        ([], "O O O O O", []),
        ([(0, 7, "Chemical")], "B-Chemical O O O O", []),
        ([(16, 29, "Disease")], "O O O B-Disease I-Disease", []),
        ([(15, 29, "Disease")], "O O O B-Disease I-Disease", []),  # white space at its start
        ([(16, 22, "Disease"), (23, 29, "Disease")], "O O O B-Disease B-Disease", []),
        ([(0, 8, "Chemical"), (8, 15, "Disease")], "B-Chemical I-Chemical B-Disease O O", []),
        ([(0, 7, "Chemical"), (0, 8, "Disease")], "B-Disease I-Disease O O O", ["overlap"]),
        (
            [(0, 8, "Chemical"), (7, 22, "Disease")],
            "? B-Disease I-Disease I-Disease O",
            ["overlap"],
        ),
        ([(0, 7, UNKNOWN_LABEL)], "? O O O O", ["label unknown"]),
        ([(0, 8, UNKNOWN_LABEL), (0, 7, "Chemical")], "B-Chemical ? O O O", ["label unknown"]),
        ([(1, 7, "Chemical")], "? O O O O", ["edge inside a word"]),
        ([(6, 9, "Chemical")], "? ? ? O O", ["edge inside a word"]),
        ([(16, 28, "Disease")], "O O O ? ?", ["edge inside a word"]),
        ([(15, 16, "Disease")], "O O O O O", ["no words"]),
    ],
)
def test_spans_to_tags(spans: list[tuple[int, int, str]], tags: str, reasons: list[str]) -> None:
    tagged = TAGS.encode(Document("", TEXT, tuple(starmap(Span, spans))))
    assert tag_names(tagged.tags) == tags
    assert [lost.reason for lost in tagged.dropped] == reasons


@pytest.mark.parametrize(
    ("unknown", "tags"),
    [
        ((0, 29), "B-Chemical ? ? ? ?"),
        ((3, 9), "B-Chemical ? ? O O"),
        ((15, 16), "B-Chemical O O O O"),
        ((28, 29), "B-Chemical O O O ?"),
    ],
)
def test_masked_ranges_to_tags(unknown: tuple[int, int], tags: str) -> None:
    document = Document("", TEXT, (Span(0, 7, "Chemical"),), masked_ranges=(unknown,))
    tagged = TAGS.encode(document)
    assert tag_names(tagged.tags) == tags
    assert tagged.dropped == ()


@pytest.mark.parametrize("text", ["", " \r\n\t\u2028"])
def test_text_without_words_has_no_tags(text: str) -> None:
    assert TAGS.encode(Document("", text)) == TaggedWords((), (), ())
    assert decode(TAGS, (), ()) == []


def test_inside_tag_follows_only_its_own_label() -> None:
    table = {  # columns: O, B-Chemical, I-Chemical, B-Disease, I-Disease
        None: "yes yes no yes no",
        OUTSIDE: "yes yes no yes no",
        IGNORE_INDEX: "yes yes no yes no",
        B_CHEMICAL: "yes yes yes yes no",
        I_CHEMICAL: "yes yes yes yes no",
        B_DISEASE: "yes yes no yes yes",
        I_DISEASE: "yes yes no yes yes",
    }
    for previous, row in table.items():
        answers = [TAGS.may_follow(tag, previous) for tag in range(len(TAGS))]
        assert answers == [word == "yes" for word in row.split()], previous
        assert TAGS.may_follow(IGNORE_INDEX, previous)


def seqeval_chunks(tags: Sequence[int]) -> list[tuple[int, int, str]]:
    names = ["O" if tag == IGNORE_INDEX else TAGS.tag_names[tag] for tag in tags]
    [entities] = Entities([names], IOB2).entities
    return [(entity.start, entity.end, entity.tag) for entity in entities]


def test_entities_equal_seqeval_for_all_short_sequences() -> None:
    for length in range(5):
        for tags in product((*range(len(TAGS)), IGNORE_INDEX), repeat=length):
            assert list(TAGS.entities(tags)) == seqeval_chunks(tags), tag_names(tags)


@given(st.lists(st.sampled_from((*range(len(TAGS)), IGNORE_INDEX)), max_size=30))
def test_entities_equal_seqeval(tags: list[int]) -> None:
    assert list(TAGS.entities(tags)) == seqeval_chunks(tags)


@given(st.lists(st.sampled_from((*range(len(TAGS)), IGNORE_INDEX)), max_size=12))
def test_illegal_inside_tag_counts_as_outside(tags: list[int]) -> None:
    legal: list[int] = []
    for tag in tags:
        legal.append(tag if TAGS.may_follow(tag, legal[-1] if legal else None) else OUTSIDE)
    chunks = list(TAGS.entities(tags))
    assert chunks == list(TAGS.entities(legal))
    assert [first for first, _, _ in chunks] == [
        at for at, tag in enumerate(legal) if tag in (B_CHEMICAL, B_DISEASE)
    ]
    inside = [at for first, last, _ in chunks for at in range(first, last)]
    assert inside == [at for at, tag in enumerate(legal) if tag not in (OUTSIDE, IGNORE_INDEX)]


@given(st.lists(st.sampled_from(range(len(TAGS))), max_size=12))
def test_legalized_tags_begin_an_entity_at_illegal_inside_tag(tags: list[int]) -> None:
    legal = TAGS.legalize(tags)
    for previous, given_tag, tag in zip([None, *legal], tags, legal, strict=False):
        assert TAGS.may_follow(tag, previous)
        assert tag == (given_tag if TAGS.may_follow(given_tag, previous) else given_tag - 1)


def test_decoded_spans_have_word_offsets() -> None:
    tags = [B_CHEMICAL, OUTSIDE, I_CHEMICAL, B_DISEASE, I_DISEASE]
    assert decode(TAGS, tags, word_offsets(TEXT)) == [
        Span(0, 7, "Chemical"),
        Span(16, 29, "Disease"),
    ]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
@example(["I-x", "B-x", "O", "x"])
def test_tag_ids_and_names_agree(labels: list[str]) -> None:
    tag_set = TagSet(tuple(labels))
    assert (
        len(tag_set) == len(tag_set.tag_names) == len(set(tag_set.tag_names)) == 1 + 2 * len(labels)
    )
    assert tag_set.tag_names[OUTSIDE] == "O"
    for label in labels:
        begin = tag_set.begin_tag(label)
        assert tag_set.tag_names[begin : begin + 2] == (f"B-{label}", f"I-{label}")
    inside = [tag_set.begin_tag(label) + 1 for label in labels]
    assert [tag for tag in (IGNORE_INDEX, *range(len(tag_set))) if tag_set.is_inside(tag)] == inside


def test_tag_ids_follow_label_order() -> None:
    """Model versions store their weights in this order."""
    assert TAGS.tag_names == ("O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease")


@pytest.mark.parametrize("labels", [(), ("",), ("Chemical", ""), ("Chemical", "Gene", "Chemical")])
def test_empty_or_repeated_labels_are_refused(
    labels: tuple[str, ...],
) -> None:
    with pytest.raises(LabelError):
        TagSet(labels)


def test_unknown_label_has_no_tag() -> None:
    with raises(LabelError, "label-unknown"):
        TAGS.begin_tag(UNKNOWN_LABEL)
