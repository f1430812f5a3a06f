"""Pages of ours as a browser shows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.editor import SCREENSHOTS

WIDTHS = (1000, 360)  # of a screen, and of a telephone


@contextmanager
def open_page(chromium: Any, html: str, folder: Path, *, name: str, scheme: str) -> Iterator[Any]:
    """A page that fits any screen, loads nothing and says nothing; pictures are kept of it.

    Args:
        chromium: The browser.
        html: The page.
        folder: To put it into.
        name: Of the pictures.
        scheme: Of colours, ``light`` or ``dark``.

    Yields:
        The browser's page, at the width of a telephone.
    """
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    asked: list[str] = []
    said: list[str] = []
    context = chromium.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
        yield page
    finally:
        context.close()
    assert said == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
