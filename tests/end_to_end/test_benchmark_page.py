"""The benchmark page in a browser: light, dark, and on a phone."""

from pathlib import Path
from typing import Any

import pytest

from tagalong.training.benchmark.report import benchmark_to_html
from tests.end_to_end.html_pages import open_page
from tests.training.benchmark.test_benchmark import ENCODER, LLM, report_of


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_loads_nothing(chromium: Any, tmp_path: Path, scheme: str) -> None:
    html = benchmark_to_html(report_of(ENCODER, LLM))
    with open_page(chromium, html, tmp_path, name="benchmark", scheme=scheme) as page:
        assert page.locator("h1").inner_text() == "40 ms"
        assert page.locator(".track u").count() == 2  # the latency budget in each chart
