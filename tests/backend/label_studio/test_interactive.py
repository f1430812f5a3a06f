"""Interactive requests: mentions are found, and annotators' regions are kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from tagalong.backend.label_studio.context import MAX_MENTION_CHARACTERS, InteractiveContext
from tagalong.backend.label_studio.interactive import (
    MENTION_SCORE,
    suggest_spans,
)
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.results import prediction_to_label_studio
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.words import word_offsets
from tests.odd_documents import spans_in
from tests.spans import overlap

XML = """<View><Text name="text" value="$text"/><Labels name="label" toName="text">
<Label value="Chemical" alias="CHEM"/><Label value="Disease"/><Label value="Gene or gene product"/>
</Labels></View>"""
CONFIG = parse_label_config(XML)
INTERFACE = LabelInterface(XML)
TEXT = "Naloxone: naloxone, naloxone-like; analoxone. Naloxone2 and naloxone"


def drawn(text: str, *spans: Span, existing: tuple[Span, ...] = ()) -> InteractiveContext:
    return InteractiveContext(tuple(sorted(spans)), tuple(sorted({*spans, *existing})))


def found(
    text: str, *spans: Span, existing: tuple[Span, ...] = (), predicted: tuple[Span, ...] = ()
) -> list[tuple[int, int, str]]:
    document = Document("1", text)
    added = suggest_spans(document, predicted, drawn(text, *spans, existing=existing))
    return [(span.start, span.end, span.label) for span in added]


def test_drawn_string_is_marked_at_every_word() -> None:
    assert found(TEXT, Span(10, 18, "CHEM")) == [(20, 28, "CHEM"), (60, 68, "CHEM")]
    assert found(TEXT, Span(0, 8, "CHEM")) == []


def test_part_of_a_word_is_found_where_it_is_a_word() -> None:
    text = "anti-antigen anti antigen"
    assert found(text, Span(5, 9, "CHEM")) == [(0, 4, "CHEM"), (13, 17, "CHEM")]


def test_lowercasing_never_shifts_offsets() -> None:
    text = "İİ cisplatin İ cisplatin CISPLATIN"
    assert found(text, Span(3, 12, "CHEM")) == [(15, 24, "CHEM")]


def test_drawn_strings_are_not_regular_expressions() -> None:
    text = "(R)-a.b (R)-axb (R)-a.b"
    assert found(text, Span(0, 7, "CHEM")) == [(16, 23, "CHEM")]


@pytest.mark.parametrize("string", [",", "+", "😀", " ", " a", "a ", "\n", "--"])
def test_punctuation_and_spaces_are_not_searched(string: str) -> None:
    text = f"{string}x{string}x"
    assert found(text, Span(0, len(string), "CHEM")) == []


def test_long_passage_is_not_searched() -> None:
    for length, times in ((MAX_MENTION_CHARACTERS, 1), (MAX_MENTION_CHARACTERS + 1, 0)):
        text = "x" * length + " " + "x" * length
        assert len(found(text, Span(0, length, "CHEM"))) == times


def test_words_of_a_long_passage_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of thousands of passages would take minutes."""
    monkeypatch.delattr("tagalong.backend.label_studio.interactive.trim_to_words")
    text = "x" * (MAX_MENTION_CHARACTERS + 1)
    assert suggest_spans(Document("1", text), (), drawn(text, Span(0, len(text), "CHEM"))) == ()


def test_string_with_two_labels_is_not_searched() -> None:
    text = "lead lead lead"
    assert found(text, Span(0, 4, "CHEM"), Span(5, 9, "Disease")) == []


def test_longest_then_first_mention_takes_precedence() -> None:
    text = "breast cancer cell line; cancer cell line; breast cancer; breast cancer cell line"
    cell_line, breast_cancer = Span(25, 41, "CHEM"), Span(43, 56, "Disease")
    assert found(text, cell_line, breast_cancer) == [(7, 23, "CHEM"), (65, 81, "CHEM")]
    assert found("a a a a", Span(0, 3, "CHEM")) == [(4, 7, "CHEM")]


def test_shorter_mention_is_marked_where_longer_overlaps() -> None:
    text = "a b c, a b, a b c"
    spans = (Span(0, 5, "CHEM"), Span(7, 10, "Disease"))
    taken = Span(16, 17, "Disease")
    assert found(text, *spans, existing=(taken,)) == [(12, 15, "Disease")]


def test_strings_with_common_prefix_are_both_found() -> None:
    text = "a, a b, a b d e, a c, a d, a b d x, a bc, a b dd"
    spans = (Span(0, 1, "CHEM"), Span(3, 6, "CHEM"), Span(8, 15, "CHEM"), Span(17, 20, "CHEM"))
    assert [text[start:end] for start, end, _ in found(text, *spans)] == [
        "a",  # of "a d"
        "a b",  # of "a b d x"
        "a",  # of "a bc"
        "a b",  # of "a b dd"
    ]


def test_longest_model_span_is_kept() -> None:
    predicted = (Span(0, 3, "Disease"), Span(2, 13, "CHEM"), Span(2, 5, "Disease"))
    assert found("lead lead ill", predicted=predicted) == [(2, 13, "CHEM")]


def test_regions_precede_mentions_and_mentions_precede_model() -> None:
    text = "naloxone naloxone reverses naloxone"
    predicted = (
        Span(9, 26, "Disease", 0.9),
        Span(18, 26, "Disease", 0.8),
        Span(27, 35, "Disease", 0.7),
    )
    existing = (Span(27, 30, "Disease"),)
    added = found(text, Span(0, 8, "CHEM"), existing=existing, predicted=predicted)
    assert added == [(9, 17, "CHEM"), (18, 26, "Disease")]


def test_copies_have_score_1_and_model_spans_keep_scores() -> None:
    document = Document("1", "lead lead ill")
    predicted = (Span(10, 13, "Disease", 0.25),)
    added = suggest_spans(document, predicted, drawn(document.text, Span(0, 4, "CHEM")))
    assert [span.score for span in added] == [MENTION_SCORE, 0.25]


def test_without_drawn_regions_only_model_spans() -> None:
    assert found("lead ill", predicted=(Span(5, 8, "Disease"),)) == [(5, 8, "Disease")]
    assert found("", predicted=(Span(0, 8, "Disease"),)) == []


PIECES = ("lead", "Lead", "leads", "lead acetate", "acetate", "β-cell", "😀", "nai\u0308ve", "İ")
texts = st.lists(
    st.sampled_from([*PIECES, " ", " ", " ", "  ", "\r\n", "-", ",", "a", "a b"]), max_size=25
).map("".join)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Document, tuple[Span, ...], InteractiveContext]:
    text = draw(texts)
    several = [tuple(draw(spans_in(text, most=6))) for _ in range(3)]
    scored = tuple(replace(span, score=0.5) for span in several[2])
    return Document("1", text), scored, drawn(text, *several[0], existing=several[1])


@given(calls())
def test_added_spans_never_overlap(
    call: tuple[Document, tuple[Span, ...], InteractiveContext],
) -> None:
    document, predicted, marked = call
    added = suggest_spans(document, predicted, marked)
    assert list(added) == sorted(added)
    for i, span in enumerate(added):
        assert not any(overlap(span, other) for other in added[i + 1 :])
        assert not any(overlap(span, region) for region in marked.existing_spans)


@given(calls())
def test_mentions_are_the_drawn_string_between_word_boundaries(
    call: tuple[Document, tuple[Span, ...], InteractiveContext],
) -> None:
    document, predicted, marked = call
    labels = {(document.span_text(span), span.label) for span in marked.new_spans}
    words = word_offsets(document.text)
    for span in suggest_spans(document, predicted, marked):
        if span.score != MENTION_SCORE:
            assert span in predicted
            continue
        assert (document.span_text(span), span.label) in labels
        assert not any(
            start < edge < end for start, end in words for edge in (span.start, span.end)
        )


@given(calls())
def test_no_mention_is_missed(call: tuple[Document, tuple[Span, ...], InteractiveContext]) -> None:
    """Compared with the naive search: every position of every string, longest first."""
    document, predicted, marked = call
    labels: dict[str, set[str]] = {}
    for span in marked.new_spans:
        labels.setdefault(document.span_text(span), set()).add(span.label)
    text, words = document.text, word_offsets(document.text)
    edges = {edge for word in words for edge in word}
    wanted = [
        Span(start, start + len(string), *choice)
        for string, choice in labels.items()
        if len(choice) == 1 and any(char.isalnum() for char in string)
        for start in range(len(text))
        if text.startswith(string, start) and {start, start + len(string)} <= edges
    ]
    kept: list[Span] = []
    for span in sorted(wanted, key=lambda span: (span.start - span.end, span.start)):
        if not any(overlap(span, other) for other in (*kept, *marked.existing_spans)):
            kept.append(span)
    mentions = [span for span in suggest_spans(document, (), marked) if span.score == MENTION_SCORE]
    assert mentions == sorted(kept)
    assert set(mentions) <= set(suggest_spans(document, predicted, marked))


@given(calls())
def test_second_request_adds_nothing(
    call: tuple[Document, tuple[Span, ...], InteractiveContext],
) -> None:
    document, predicted, marked = call
    added = suggest_spans(document, predicted, marked)
    accepted = InteractiveContext(marked.new_spans, tuple(sorted({*marked.existing_spans, *added})))
    assert suggest_spans(document, predicted, accepted) == ()


@given(calls())
def test_answer_is_valid(call: tuple[Document, tuple[Span, ...], InteractiveContext]) -> None:
    document, predicted, marked = call
    names = {"Chemical": "CHEM"}
    spans = tuple(
        replace(span, label=names.get(span.label, span.label))
        for span in suggest_spans(document, predicted, marked)
    )
    item = prediction_to_label_studio(document, Prediction(spans, 0.5, "v"), CONFIG)
    assert INTERFACE.validate_prediction(item, return_errors=True) == []


def test_thousands_of_regions_in_a_long_text() -> None:
    """Measures no time: the naive search would not end here."""
    text = "a " * 100_000
    nested = [Span(0, 2 * i + 1, "CHEM") for i in range(MAX_MENTION_CHARACTERS // 2)]
    whole = [Span(i, len(text) - i, "CHEM") for i in range(5_000)]
    document = Document("1", text)
    assert len(suggest_spans(document, (), drawn(text, *nested))) > 300
    assert suggest_spans(document, (), drawn(text, *whole)) == ()


@pytest.mark.parametrize(
    ("text", "region", "mentions"),
    [
        # A character is a word in scripts without blanks.
        ("患者高血压十年，服药后高血压控制。查体：高血压。", (2, 5), ["高血压"] * 2),
        ("zorbex then zorbex , zorbex", (0, 7), ["zorbex"] * 2),  # drawn with a blank
        ("zorbex\u200b then zorbex\xad", (0, 7), ["zorbex"]),  # drawn with a format character
        ("cafe then cafe\u0301ine and cafe", (0, 4), ["cafe"]),  # a mark belongs to its letter
        ("aspirin后aspirin", (0, 7), ["aspirin"]),
        ("नमक नमकीन नमक", (0, 3), ["नमक"]),
    ],
)
def test_mentions_in_every_script(text: str, region: tuple[int, int], mentions: list[str]) -> None:
    document = Document("1", text)
    added = suggest_spans(document, (), drawn(text, Span(*region, "Disease")))
    assert [*map(document.span_text, added)] == mentions
