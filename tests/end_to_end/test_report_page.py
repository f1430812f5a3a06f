"""The report page in a browser: light, dark, on a phone, and printed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tagalong.ner.document import Span
from tagalong.training.evaluation.html import report_to_html
from tests.end_to_end import test_curate_pages
from tests.end_to_end.html_pages import open_page
from tests.end_to_end.test_curate_pages import GOLD, agreement_page, review_page
from tests.training.evaluation.test_html import make_comparison, make_report

LONG = "Long_label" * 8  # cannot be wrapped


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_loads_nothing(chromium: Any, tmp_path: Path, scheme: str) -> None:
    html = report_to_html(make_report())
    with open_page(chromium, html, tmp_path, name="report", scheme=scheme) as page:
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        lit = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
        assert (lit[0] > lit[1]) == (scheme == "light")
        text = page.locator(".text").first
        assert "clonidine" in text.inner_text()


def relabelled(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(replace(span, label=LONG) for span in spans)


def test_long_label_fits_a_phone(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = make_comparison()
    worst = tuple(
        replace(one, gold=relabelled(one.gold), predicted=relabelled(one.predicted))
        for one in report.worst_documents
    )
    by_label = {LONG: report.by_label["Disease"]}
    assert report.comparison is not None
    against = replace(report.comparison, by_label={LONG: report.comparison.by_label["Disease"]})
    report = replace(report, worst_documents=worst, by_label=by_label, comparison=against)
    long = [replace(one, spans=relabelled(one.spans)) for one in GOLD]
    monkeypatch.setattr(test_curate_pages, "GOLD", long)
    pages = {
        "report-long": report_to_html(report),
        "review-long": review_page(),
        "agreement-long": agreement_page(),
    }
    for name, html in pages.items():
        with open_page(chromium, html, tmp_path, name=name, scheme="light") as page:
            assert LONG in page.locator(".text .tag").first.inner_text()


def test_page_can_be_printed(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_to_html(make_report()), encoding="utf-8")
    context = chromium.new_context(color_scheme="dark")
    try:
        page = context.new_page()
        page.goto(path.as_uri())
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert page.pdf(format="A4").startswith(b"%PDF")
    finally:
        context.close()
