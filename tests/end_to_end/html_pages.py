"""HTML pages of Tagalong in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.editor import SCREENSHOTS

WIDTHS = (1000, 360)  # of a screen and a phone


@contextmanager
def open_page(chromium: Any, html: str, folder: Path, *, name: str, scheme: str) -> Iterator[Any]:
    """Open a page and take screenshots. It must fit, load nothing and log nothing.

    Args:
        chromium: The browser.
        html: The page.
        folder: Folder for its file.
        name: Name of the screenshots.
        scheme: Colour scheme, ``light`` or ``dark``.

    Yields:
        The browser's page, at the width of a phone.
    """
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    requests: list[str] = []
    console: list[str] = []
    context = chromium.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: console.append(message.text))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
        yield page
    finally:
        context.close()
    assert console == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
