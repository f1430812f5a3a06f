"""Interactive requests: new regions are distinguished from existing ones."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagalong.backend.label_studio.context import (
    MAX_MENTION_CHARACTERS,
    InteractiveContext,
    read_interactive_context,
    with_unique_region_ids,
)
from tagalong.backend.label_studio.interactive import suggest_spans
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.results import result_from_spans
from tagalong.ner.document import Document, Span
from tests.odd_documents import annotation, region, task

CONFIG = parse_label_config("""<View><Text name="text" value="$text"/>
<Labels name="label" toName="text"><Label value="Chemical" alias="CHEM"/><Label value="Disease"/>
<Label value="Gene or gene product"/></Labels></View>""")
TEXT = "lead lead ill"

LEAD = region(TEXT, 0, 4, "Chemical")


def asked(sent: Any, **known: Any) -> InteractiveContext:
    return read_interactive_context({**task(TEXT), **known}, sent, CONFIG, Document("1", TEXT))


def test_new_and_existing_regions_are_distinguished() -> None:
    draft = {"id": 5, "result": [region(TEXT, 5, 9, "CHEM")]}
    mine = annotation(region(TEXT, 10, 13, "Disease"), id=7)
    others = annotation(region(TEXT, 0, 13, "Disease"), id=8)
    sent = {"draft_id": 5, "annotation_id": "7", "user_id": 1, "result": [LEAD]}
    marked = asked(sent, annotations=[mine, others], drafts=[{"id": 4, "result": [LEAD]}, draft])
    assert marked.new_spans == (Span(0, 4, "CHEM"),)
    assert marked.existing_spans == (
        Span(0, 4, "CHEM"),
        Span(5, 9, "CHEM"),
        Span(10, 13, "Disease"),
    )


def mine(*names: str) -> list[Any]:
    """A stored result: ``c`` at 5 is the annotator's, ``d`` at 10 a prediction."""
    every = {
        "c": region(TEXT, 5, 9, "CHEM", id="c", origin="manual"),
        "d": region(TEXT, 10, 13, "Disease", id="d", origin="prediction", score=0.9),
    }
    return [every[name] for name in names]


NEW = region(TEXT, 0, 4, "CHEM", id="new", origin="manual")
LEAD_1, LEAD_2, ILL = Span(0, 4, "CHEM"), Span(5, 9, "CHEM"), Span(10, 13, "Disease")


def test_active_version_shares_most_regions() -> None:
    draft, other = {"id": 1, "result": mine("c", "d")}, {"id": 2, "result": [LEAD]}
    for kind in ("drafts", "annotations", "predictions"):
        marked = asked({"result": [*mine("c"), NEW]}, **{kind: [other, draft]})
        assert marked == InteractiveContext((LEAD_1,), (LEAD_1, LEAD_2, ILL)), kind


def test_latest_of_equally_shared_versions_is_active() -> None:
    before, after = {"id": 1, "result": mine("c", "d")}, {"id": 2, "result": mine("c")}
    for earlier, later in (("predictions", "annotations"), ("annotations", "drafts")):
        marked = asked({"result": [*mine("c"), NEW]}, **{earlier: [before], later: [after]})
        assert marked.existing_spans == (LEAD_1, LEAD_2), later


def test_indistinguishable_versions_may_all_be_active() -> None:
    one, two = {"id": 1, "result": mine("d")}, {"id": 2, "result": [region(TEXT, 5, 9, "Disease")]}
    marked = asked({"result": [NEW]}, annotations=[one], predictions=[two])
    assert marked.existing_spans == (LEAD_1, Span(5, 9, "Disease"), ILL)


def test_version_without_sent_regions_is_not_active() -> None:
    one = {"id": 1, "result": mine("c", "d")}
    assert asked({"result": [NEW]}, predictions=[one]).existing_spans == (LEAD_1,)


def test_region_is_drawn_once() -> None:
    brought: list[str] = []

    def seen_regions(names: Any) -> frozenset[str]:
        before = frozenset(brought) & set(names)
        brought.extend(names)
        return before

    def ask(*items: Any) -> tuple[Span, ...]:
        document = Document("1", TEXT)
        sent = {"result": list(items)}
        return read_interactive_context(
            {}, sent, CONFIG, document, seen_regions=seen_regions
        ).new_spans

    assert ask(NEW) == (LEAD_1,)
    assert ask(NEW) == ()
    assert ask(region(TEXT, 0, 4, "Disease", id="new", origin="manual")) == ()
    assert ask(NEW, *mine("c")) == (LEAD_2,)


def test_stored_region_is_not_new() -> None:
    draft = {"id": 1, "result": mine("c")}
    assert asked({"result": [*mine("c"), NEW]}, drafts=[draft]).new_spans == (LEAD_1,)


def test_newest_region_is_drawn_even_if_stored() -> None:
    draft = {"id": 1, "result": [*mine("c", "d"), NEW]}
    marked = asked({"result": [*mine("c"), NEW]}, drafts=[draft])
    assert marked == InteractiveContext((LEAD_1,), (LEAD_1, LEAD_2, ILL))


def test_predicted_regions_are_not_drawn() -> None:
    for changes in (
        {"origin": "prediction", "score": 0.9},
        {"origin": "prediction-changed", "score": 0.9},
        {"origin": "manual", "score": 1.0},  # taken over from an answer
    ):
        marked = asked({"result": [{**NEW, **changes}]})
        assert marked == InteractiveContext((), (LEAD_1,))


def test_region_ids_are_unique_per_context() -> None:
    document = Document("7", TEXT)
    spans = (LEAD_1, LEAD_2, ILL)

    def ids(*names: str) -> set[str]:
        context = {"result": [{"id": name} for name in names]}
        return {
            item["id"]
            for item in result_from_spans(with_unique_region_ids(document, context), spans, CONFIG)
        }

    stored = {item["id"] for item in result_from_spans(document, spans, CONFIG)}
    assert ids("a", "b") == ids("b", "a")
    several = [stored, ids(), ids("a"), ids("b"), ids("a", "b")]
    assert len(set.union(*several)) == 3 * len(several)


@pytest.mark.parametrize(
    "item",
    [
        region("lead", 0, 4, "Chemical", from_name="parts"),
        region("lead", 0, 4, "Chemical", to_name="other"),
        region("lead", 0, 4, "Chemical", type="textarea"),
        region("lead", 3, 99, "Chemical"),
        region("lead", -1, 3, "Chemical"),
        region("lead", 3, 3, "Chemical"),
        {**LEAD, "value": {"start": True, "end": 4, "labels": ["Chemical"]}},
        {**LEAD, "value": {"start": 0.0, "end": 4, "labels": ["Chemical"]}},
        {**LEAD, "value": {"start": 0, "end": 4, "labels": "Chemical"}},
        {**LEAD, "value": {"start": 0, "end": 4}},
        {**LEAD, "value": None},
        {},
        None,
    ],
)
def test_other_regions_are_ignored(item: Any) -> None:
    assert asked({"result": [item]}) == InteractiveContext((), ())


def test_first_of_several_labels_counts() -> None:
    two = region("lead", 0, 4, "Disease", "Chemical")
    assert asked({"result": [two]}).new_spans == (Span(0, 4, "Disease"),)


@pytest.mark.parametrize(
    ("text", "start", "end", "stated", "drawn"),
    [
        ("\U0001f600\U0001f600 lead lead", 3, 7, "lead", (3, 7)),  # code points
        ("\U0001f600\U0001f600 lead lead", 5, 9, "lead", (3, 7)),  # UTF-16
        ("lead \U0001f600 lead", 8, 12, "lead", (7, 11)),  # its end is outside in code points
        ("a\r\nb\r\nlead", 4, 8, "lead", (6, 10)),  # CRLF as one
        ("ill\nlead", 0, 8, "ill\\nlead", (0, 8)),  # a line break as the editor states it
        ("lead ill", 5, 8, "lead", None),  # contradicts the text in every counting
    ],
)
def test_stated_texts_show_how_drawn_regions_count(
    text: str, start: int, end: int, stated: str, drawn: tuple[int, int] | None
) -> None:
    item = region(text, 0, 1, "Disease", id="new")
    item["value"] |= {"start": start, "end": end, "text": stated}
    context = read_interactive_context(task(text), {"result": [item]}, CONFIG, Document("1", text))
    assert context.new_spans == (() if drawn is None else (Span(*drawn, "Disease"),))


@pytest.mark.parametrize("length", [MAX_MENTION_CHARACTERS, MAX_MENTION_CHARACTERS + 1])
def test_passages_are_not_compared_with_their_stated_texts(length: int) -> None:
    """Thousands of them would take minutes; a passage is not searched for anyway."""
    text = "lead " * MAX_MENTION_CHARACTERS
    item = region(text, 0, length, "Disease", id="new")
    item["value"]["text"] = "ill"
    context = read_interactive_context(task(text), {"result": [item]}, CONFIG, Document("1", text))
    drawn = (Span(0, length, "Disease"),) if length > MAX_MENTION_CHARACTERS else ()
    assert context.new_spans == drawn


def draw_in_utf16(more: Any) -> tuple[Span, ...]:
    """Draw "lead" behind an emoji, counted in UTF-16, and then another region."""
    text = "\U0001f600 lead" + "." * 2 * MAX_MENTION_CHARACTERS
    item = region(text, 0, 1, "Disease", id="new")
    item["value"] |= {"start": 3, "end": 7, "text": "lead"}
    sent = {"result": [item, more]}
    return read_interactive_context(task(text), sent, CONFIG, Document("1", text)).new_spans


def test_only_the_first_regions_show_how_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    other = region("ill lead", 4, 8, "Disease", id="other")
    assert draw_in_utf16(other) == ()
    monkeypatch.setattr("tagalong.backend.label_studio.context.MAX_COMPARED_REGIONS", 1)
    assert draw_in_utf16(other) == (Span(2, 6, "Disease"),)


def test_passages_do_not_show_how_regions_count() -> None:
    passage = region("ill" * MAX_MENTION_CHARACTERS, 0, MAX_MENTION_CHARACTERS + 1, "Disease")
    assert Span(2, 6, "Disease") in draw_in_utf16(passage)


def test_regions_with_unknown_label_block_but_are_not_copied() -> None:
    for labels in ((), ("Gone",)):
        marked = asked({"result": [region("lead", 0, 4, *labels)]})
        assert marked.new_spans == ()
        assert [(span.start, span.end) for span in marked.existing_spans] == [(0, 4)]


keys = st.sampled_from(
    ["result", "annotations", "drafts", "id", "draft_id", "annotation_id", "value", "start", "end"]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 20), st.floats(), st.sampled_from(["1", "Disease"])
)
json_values = st.recursive(
    st.one_of(scalars, st.just(LEAD)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(keys, st.just("labels")), inner, max_size=5),
    ),
    max_leaves=25,
)


@given(json_values, json_values)
@example({"drafts": [{"id": 1, "result": [LEAD]}]}, {"draft_id": True, "result": {"0": LEAD}})
@example({"drafts": {"id": 1}}, {"draft_id": [1], "result": [[LEAD], {"value": {"labels": [[]]}}]})
def test_any_json_is_accepted(known: Any, sent: Any) -> None:
    document = Document("1", TEXT)
    marked = read_interactive_context(known, sent, CONFIG, document)
    assert set(marked.new_spans) <= set(marked.existing_spans)
    assert {span.label for span in marked.new_spans} <= set(CONFIG.labels)
    assert all(span.end <= len(document.text) for span in marked.existing_spans)
    suggest_spans(document, (), marked)
