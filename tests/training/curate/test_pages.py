"""HTML pages of curation: their content and escaping."""

from dataclasses import replace

import pytest

from tagalong.backend.annotations.annotators import ANNOTATOR_META_KEY, TASK_META_KEY
from tagalong.ner.document import Document, Span
from tagalong.training.curate.findings import ReviewFinding, ReviewReport, SuspectDocument
from tagalong.training.curate.inter_annotator import compute_agreement
from tagalong.training.curate.pages import (
    MAX_TABLE_ROWS,
    agreement_tables,
    agreement_to_html,
    agreement_to_markdown,
    review_to_html,
    review_to_markdown,
)
from tests.html_page import HOSTILE, LINKS, Page

TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
NALOXONE, EFFECT = Span(0, 8, "Chemical"), Span(22, 45, "Disease")
CLONIDINE = Span(49, 58, "Chemical")
DOCUMENT = Document("227508", TEXT, (NALOXONE, EFFECT))
MISSED = ReviewFinding("227508", "missed", None, CLONIDINE, "clonidine", "effect of ", ".", 0.02)
SPURIOUS = ReviewFinding(
    "227508", "spurious", EFFECT, None, "antihypertensive effect", "the ", " of", 0.0004
)


def review_of(*findings: ReviewFinding) -> ReviewReport:
    suspects = (SuspectDocument("227508", len(findings), 3.0),) if findings else ()
    return ReviewReport(1, 2, findings, suspects, ())


def drawn_in(page: Page) -> list[tuple[str, str]]:
    """Classes and texts of the segments of the last article."""
    start = page.html.rindex('<p class="text" dir="auto">')
    inside = page.html[start : page.html.index("</p>", start)]
    pieces = inside.split('<span class="piece ')[1:]
    return [
        (piece.partition('"')[0], piece.partition(">")[2].partition("<")[0]) for piece in pieces
    ]


class Shown(Page):
    def __init__(self, html: str) -> None:
        self.html = html
        super().__init__(html)


def test_review_page_shows_annotations_findings_and_suggestions() -> None:
    found = review_of(SPURIOUS, MISSED)
    page = Shown(
        review_to_html(found, [DOCUMENT], model_name="five models", notes=["Mind the gap"])
    )
    assert drawn_in(page) == [
        ("right", "Naloxone"),
        ("missed", "antihypertensive effect"),
        ("spurious", "clonidine"),
    ]
    assert "2 findings in 2 annotations of 1 document" in page.text
    assert "Mind the gap." in page.text
    assert "<0.001spurious227508antihypertensive effect (Disease)-" in page.text
    assert "script" not in page.tags


def test_clean_corpus_has_a_page() -> None:
    page = Page(review_to_html(review_of(), [DOCUMENT], model_name="one", notes=[]))
    assert "No findings" in page.text
    assert "table" not in page.tags
    assert "No findings" not in review_to_markdown(review_of(), model_name="one", notes=[])


def test_truncated_queue_shows_number_of_others() -> None:
    found = review_of(*[MISSED] * (MAX_TABLE_ROWS + 1_234))
    assert (
        "1,234 more are in report.json."
        in Page(review_to_html(found, [DOCUMENT], model_name="one", notes=[])).text
    )
    assert "1,234 more are in report.json." in review_to_markdown(found, model_name="one", notes=[])


def voices(*spoken: tuple[str, str, tuple[Span, ...]], text: str = TEXT) -> list[Document]:
    return [
        Document(f"{task}-{who}", text, spans, meta={TASK_META_KEY: task, ANNOTATOR_META_KEY: who})
        for task, who, spans in spoken
    ]


def test_agreement_page_shows_both_sides_of_disagreements() -> None:
    documents = voices(
        ("1", "ada", (NALOXONE, EFFECT)),
        ("1", "ben", (NALOXONE, CLONIDINE)),
        ("2", "ada", (NALOXONE,)),
        ("2", "ben", (NALOXONE,)),
        ("3", "ada", ()),
    )
    agreement = compute_agreement(documents)
    page = Shown(agreement_to_html(agreement, documents))
    assert page.tags.count("article") == 1  # the annotators agree on the other task
    assert drawn_in(page) == [
        ("right", "Naloxone"),
        ("missed", "antihypertensive effect"),
        ("spurious", "clonidine"),
    ]
    for excerpt in ("ada only", "ben only", "0.667"):
        assert excerpt in page.text
    assert "| All | 6 | 0.667 | 0.667 |" in agreement_to_markdown(agreement)


def test_label_named_all_is_not_the_total() -> None:
    named_all = Span(0, 8, "All")
    documents = voices(("1", "ada", (named_all, EFFECT)), ("1", "ben", (named_all, CLONIDINE)))
    table = agreement_tables(compute_agreement(documents))[0]
    assert [row[:3] for row in table.rows if row[0] == "All"] == [
        ("All", "4", "0.500"),
        ("All", "2", "1.000"),
    ]


def test_duplicate_ids_are_two_tasks() -> None:
    documents = voices(("1", "ada", (NALOXONE,)), ("1", "ben", ()))
    documents += voices(("1", "ada", ()), ("1", "ben", (Span(0, 5, "Drug"),)), text="Other one.")
    page = Page(agreement_to_html(compute_agreement(documents), documents))
    assert page.tags.count("article") == 2
    assert "Other" in page.text
    assert "reverses" in page.text


def test_least_agreeing_annotators_are_shown() -> None:
    documents = voices(
        ("1", "ada", (NALOXONE,)), ("1", "ben", (NALOXONE,)), ("1", "cid", (CLONIDINE,))
    )
    page = Shown(agreement_to_html(compute_agreement(documents), documents))
    assert drawn_in(page) == [("missed", "Naloxone"), ("spurious", "clonidine")]
    assert "3 annotators" in page.text


@pytest.mark.parametrize("kind", ["review", "agreement"])
def test_pages_escape_markup_and_load_nothing(kind: str) -> None:
    text = HOSTILE + " clonidine"
    span = Span(0, len(HOSTILE), HOSTILE)
    if kind == "review":
        document = Document(HOSTILE, text, (span,))
        finding = replace(MISSED, document=HOSTILE, gold=span, suggested=None, text=HOSTILE)
        found = ReviewReport(1, 1, (finding,), (SuspectDocument(HOSTILE, 1, 1.0),), ())
        html = review_to_html(found, [document], model_name=HOSTILE, notes=[HOSTILE])
    else:
        documents = voices((HOSTILE, HOSTILE, (span,)), (HOSTILE, "ben", ()), text=text)
        html = agreement_to_html(compute_agreement(documents), documents)
    page = Page(html)
    assert not {"script", "img"} & set(page.tags)
    assert [value for name in LINKS for value in page.values(name)] == ["data:,"]
    assert "alert(1)" in page.text
