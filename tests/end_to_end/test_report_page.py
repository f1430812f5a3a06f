"""What a person sees of a report: in light and dark, on a telephone, and on paper."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.editor import SCREENSHOTS
from tests.training.test_report_page import judged
from training.report_page import report_to_html

WIDTHS = (1000, 360)


@pytest.fixture
def address(tmp_path: Path) -> str:
    path = tmp_path / "report.html"
    path.write_text(report_to_html(judged()), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_loads_nothing(chromium: Any, address: str, scheme: str) -> None:
    asked: list[str] = []
    said: list[str] = []
    context = chromium.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SCREENSHOTS / f"report-{scheme}-{width}.png", full_page=True)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        lit = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
        assert (lit[0] > lit[1]) == (scheme == "light")
        text = page.locator(".text").first
        assert "clonidine" in text.inner_text()
    finally:
        context.close()
    assert said == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}


def test_it_can_be_printed(chromium: Any, address: str) -> None:
    context = chromium.new_context(color_scheme="dark")
    try:
        page = context.new_page()
        page.goto(address)
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert page.pdf(format="A4").startswith(b"%PDF")
    finally:
        context.close()
