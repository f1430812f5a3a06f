"""The pages of a review and of an agreement in a browser: light, dark, and on a phone."""

from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.annotations.annotators import ANNOTATOR_META_KEY, TASK_META_KEY
from tagalong.backend.models.openvino.compile import read_sample_documents
from tagalong.ner.document import Document
from tagalong.training.curate.findings import ReviewFinding, ReviewReport, SuspectDocument
from tagalong.training.curate.inter_annotator import compute_agreement
from tagalong.training.curate.pages import agreement_to_html, review_to_html
from tests.end_to_end.html_pages import open_page

GOLD = [document for document in read_sample_documents() if len(document.spans) > 4][:4]


def finding_on(document: Document, place: int, *, forgotten: bool) -> ReviewFinding:
    span = document.spans[place]
    return ReviewFinding(
        document.id,
        "missed" if forgotten else "spurious",
        None if forgotten else span,
        span if forgotten else None,
        document.span_text(span),
        document.text[max(0, span.start - 20) : span.start],
        document.text[span.end : span.end + 20],
        0.001 * (place + 1),
    )


def review_page() -> str:
    """A review with a missed and a spurious entity per document."""
    findings = [
        finding_on(document, place, forgotten=place == 1) for document in GOLD for place in (1, 3)
    ]
    drawn = [
        Document(one.id, one.text, tuple(span for span in one.spans if span != one.spans[1]))
        for one in GOLD
    ]
    found = ReviewReport(
        document_count=len(GOLD),
        annotation_count=sum(len(one.spans) for one in drawn),
        findings=tuple(findings),
        suspect_documents=tuple(SuspectDocument(one.id, 2, 12.0) for one in GOLD),
        dropped=(),
    )
    return review_to_html(
        found, drawn, model_name="models of 5 folds", notes=["12 labels are gone"]
    )


def agreement_page() -> str:
    """An agreement of two annotators, one with fewer entities."""
    documents = [
        Document(
            f"{one.id}-{who}",
            one.text,
            spans,
            meta={TASK_META_KEY: one.id, ANNOTATOR_META_KEY: who},
        )
        for one in GOLD
        for who, spans in (("ada", one.spans), ("ben", one.spans[1:]))
    ]
    return agreement_to_html(compute_agreement(documents), documents)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("make", [review_page, agreement_page])
def test_pages_fit_and_load_nothing(chromium: Any, tmp_path: Path, make: Any, scheme: str) -> None:
    with open_page(chromium, make(), tmp_path, name=make.__name__, scheme=scheme) as page:
        drawn = page.locator("article").first.locator(".piece.missed, .piece.spurious")
        kinds = [one.get_attribute("class") for one in drawn.all()]
        assert set(kinds) >= {"piece missed"}
