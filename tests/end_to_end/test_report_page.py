"""What a person sees of a report: in light and dark, on a telephone, and on paper."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.look import looked_at
from tests.training.test_report_page import judged
from training.report_page import report_to_html


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_loads_nothing(chromium: Any, tmp_path: Path, scheme: str) -> None:
    html = report_to_html(judged())
    with looked_at(chromium, html, tmp_path, name="report", scheme=scheme) as page:
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        lit = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
        assert (lit[0] > lit[1]) == (scheme == "light")
        text = page.locator(".text").first
        assert "clonidine" in text.inner_text()


def test_it_can_be_printed(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_to_html(judged()), encoding="utf-8")
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
