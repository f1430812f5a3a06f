"""What a person sees of a calibration: in light and dark, and on a telephone."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.editor import SCREENSHOTS
from tests.training.test_calibrate import ENCODER, LLM, report_of
from training.calibrate.report import calibration_to_html


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_loads_nothing(chromium: Any, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "report.html"
    path.write_text(calibration_to_html(report_of(ENCODER, LLM)), encoding="utf-8")
    asked: list[str] = []
    context = chromium.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for width in (1000, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SCREENSHOTS / f"calibrate-{scheme}-{width}.png", full_page=True)
        assert page.locator("h1").inner_text() == "40 ms"
        assert page.locator(".track u").count() == 2  # what is allowed, beside each
    finally:
        context.close()
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
