"""Label Studio 1.23.2 in headless Chromium: reading and using its editor.

TAGALONG_CHROMIUM names a Chromium; without it, the installed one is used.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tagalong.backend.demo.label_studio_server import LabelStudioServer

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages reach loopback only.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
WINDOW = {"width": 1280, "height": 1600}
TIMEOUT_MILLISECONDS = 60_000  # enough for slow machines
TEXT = ".lsf-htx-richtext"
TOGGLE = "[data-testid=bottombar-auto-annotation-toggle]"
# Offsets of the displayed text: in code points, with one per line break. A region has one or
# several <span>s of its own class; those of one line are adjacent.
READ = """() => {
  const regions = new Map();
  let text = "", length = 0;
  const add = (shown, inside) => {
    for (const [name, span] of inside) {
      if (!regions.has(name)) regions.set(name, {start: length, text: "", pieces: 0, label: ""});
      const region = regions.get(name);
      region.text += shown;
      region.end = length + [...shown].length;
      region.pieces += [...shown].length;
      region.label ||= span.dataset.label ?? "";
    }
    text += shown;
    length += [...shown].length;
  };
  const walk = (node, inside) => {
    if (node.nodeType === Node.TEXT_NODE) return add(node.data, inside);
    if (node.nodeName === "BR") return add("\\n", []);
    const name = [...(node.classList ?? [])].find(name => /^htx-highlight-.+-\\d+$/.test(name));
    for (const child of node.childNodes) walk(child, name ? [...inside, [name, node]] : inside);
  };
  walk(document.querySelector(".lsf-htx-richtext"), []);
  return {text, regions: [...regions.values()]};
}"""
BOX = """([word, number]) => {
  const walker = document.createTreeWalker(
    document.querySelector(".lsf-htx-richtext"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (let at = node.data.indexOf(word); at >= 0; at = node.data.indexOf(word, at + 1))
      if (number-- === 0) {
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        return range.getBoundingClientRect().toJSON();
      }
}"""

LISTED = """() => [...document.querySelectorAll(".lsf-outliner-item__title")].map(title => [
  title.querySelector(".lsf-labels-list").textContent,
  title.querySelector(".lsf-outliner-item__text").textContent,
])"""


@dataclass(frozen=True)
class EditorContent:
    """The displayed text and regions.

    Attributes:
        text: With each line break as ``\\n``.
        regions: Start, end, label and text of each region, sorted. Text over several lines has no
            line breaks, because these are not highlighted.
    """

    text: str
    regions: list[tuple[int, int, str, str]]


@dataclass(frozen=True)
class Editor:
    """Label Studio's editor in a logged-in browser.

    Attributes:
        failures: Uncaught errors of the page.
    """

    page: Page
    url: str
    failures: list[str]

    def open(self, project: int, task: int) -> None:
        """Open a task and wait for its regions."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self.page.wait_for_selector(f"{TEXT} .htx-highlight")

    def shown(self) -> EditorContent:
        found = self.page.evaluate(READ)
        for region in found["regions"]:
            breaks = found["text"][region["start"] : region["end"]].count("\n")
            assert region["pieces"] + breaks == region["end"] - region["start"]
        return EditorContent(
            found["text"],
            sorted(
                (one["start"], one["end"], one["label"].partition(":")[2], one["text"])
                for one in found["regions"]
            ),
        )

    def listed(self) -> list[tuple[str, str]]:
        """Label and text of the visible regions in the panel, in its order."""
        return [(label, text) for label, text in self.page.evaluate(LISTED)]

    def wait_for_regions(self, count: int) -> None:
        """Wait until this number of regions is displayed."""
        self.page.wait_for_function(f"count => ({READ})().regions.length === count", arg=count)

    def draw(self, label: str, word: str, number: int = 0) -> None:
        """Choose a label and drag over an occurrence of a word, counted from 0."""
        self.page.locator(".lsf-label", has_text=label).first.click()
        left, middle, right = self._place(word, number)
        self.page.mouse.move(left + 1, middle)
        self.page.mouse.down()
        self.page.mouse.move((left + right) / 2, middle, steps=4)
        self.page.mouse.move(right - 1, middle, steps=4)
        self.page.mouse.up()

    def delete(self, number: int) -> None:
        """Delete a region by its position in the panel, counted from 0."""
        self.page.locator(".lsf-outliner-item").nth(number).click()
        self.page.get_by_text("View region details").wait_for(state="hidden")
        self.page.keyboard.press("Backspace")

    def _place(self, word: str, number: int) -> tuple[float, float, float]:
        box = self.page.evaluate(BOX, [word, number])
        return box["left"], (box["top"] + box["bottom"]) / 2, box["right"]


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium with a new profile."""
    program = os.environ.get("TAGALONG_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), ""
    )
    if not Path(program).is_file():
        lacking = (
            "there is no Chromium, which these tests look at Label Studio with: install it (on "
            "Debian: apt-get install chromium), or name one in TAGALONG_CHROMIUM"
        )
        if os.environ.get("CI"):  # no test may be skipped there
            pytest.fail(lacking, pytrace=False)
        pytest.skip(lacking)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def logged_in(chromium: Any, running: LabelStudioServer) -> Iterator[BrowserContext]:
    """A browser profile that is logged in."""
    context = chromium.new_context(viewport=WINDOW, color_scheme="light")
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    try:
        page = context.new_page()
        page.goto(f"{running.url}/user/login/")
        page.fill("input[name=email]", running.account.email)
        page.fill("input[name=password]", running.account.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        page.close()
        yield context
    finally:
        context.close()


@contextmanager
def new_editor(context: BrowserContext, url: str) -> Iterator[Editor]:
    """Open a new page; its local storage is cleared at the end."""
    page = context.new_page()
    editor = Editor(page, url, [])
    page.on("pageerror", lambda error: editor.failures.append(str(error)))
    try:
        page.goto(f"{url}/version")  # a page without scripts, as storage belongs to an origin
        yield editor
    finally:
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        page.close()
