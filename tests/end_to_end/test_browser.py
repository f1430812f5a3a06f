"""Regions in the editor of Label Studio 1.23.2, compared by character.

These tests also make the README's screenshots in ``build/screenshots``.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_abstracts
from tests.end_to_end.backend_project import BackendProject, create_backend_project, places
from tests.end_to_end.editor import SCREENSHOTS, TOGGLE, Editor, new_editor
from tests.end_to_end.offset_texts import TEXTS
from tests.end_to_end.server_process import ServerProcess

ABSTRACT = next(abstract["text"] for abstract in read_abstracts() if abstract["pmid"] == "19263707")
# "agent" and "batch" are no entities: the annotator marks them, and the server adds the copies.
DRAWN = (
    "😀 The agent was given.\r\nThen agent, Agent, agents and lithium; the agent again, per batch."
)


@pytest.fixture(scope="module")
def project(
    label_studio: LabelStudioServer, bundled_server: ServerProcess
) -> Iterator[BackendProject]:
    texts = [*TEXTS.values(), ABSTRACT, DRAWN]
    with create_backend_project(label_studio, bundled_server.url, texts) as project:
        project.client.predictions.retrieve(project.id)
        yield project


@pytest.fixture
def editor(account: BrowserContext, label_studio: LabelStudioServer) -> Iterator[Editor]:
    with new_editor(account, label_studio.url) as editor:
        yield editor
        assert editor.failures == []


def task_of(project: BackendProject, text: str) -> int:
    return next(task for task, held in project.texts.items() if held == text)


def displayed(text: str) -> str:
    """The text with each line break as one character."""
    return text.replace("\r", "\n")


def test_regions_on_the_page_match_stored_ones(editor: Editor, project: BackendProject) -> None:
    stored = project.stored()
    for name, text in [*TEXTS.items(), ("abstract", ABSTRACT)]:
        task = task_of(project, text)
        editor.open(project.id, task)
        editor.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        expected = places(stored[task].result)
        shown = editor.shown()
        assert shown.text == displayed(text)
        assert shown.regions == [
            (start, end, label, displayed(held).replace("\n", ""))
            for start, end, label, held in expected
        ]
        listed = [(label, held.split()) for label, held in editor.listed()]
        assert listed == [(label, held.split()) for _, _, label, held in expected[: len(listed)]]
        assert len(listed) >= min(len(expected), 10)


def test_label_stream_shows_the_regions(editor: Editor, project: BackendProject) -> None:
    editor.page.goto(f"{editor.url}/projects/{project.id}/data?labeling=1")
    editor.page.wait_for_selector(".lsf-htx-richtext .htx-highlight")
    shown = editor.shown()
    task = next(task for task, text in project.texts.items() if displayed(text) == shown.text)
    starts = [start for start, *_ in places(project.stored()[task].result)]
    assert [start for start, *_ in shown.regions] == starts


def test_submitted_regions_keep_their_offsets(editor: Editor, project: BackendProject) -> None:
    (task,) = project.add(TEXTS["breaks"])
    editor.open(project.id, task)
    with editor.page.expect_response(lambda answer: "/annotations" in answer.url) as submitted:
        editor.page.get_by_role("button", name="Submit").click()
    assert submitted.value.status == 201
    held = project.call("GET", f"api/tasks/{task}/?project={project.id}")
    (annotation,) = held["annotations"]
    (prediction,) = held["predictions"]
    assert [place[:3] for place in places(annotation["result"])] == [
        place[:3] for place in places(prediction["result"])
    ]
    assert {region["origin"] for region in annotation["result"]} == {"prediction"}
    assert held["data"]["text"] == TEXTS["breaks"]


def test_drawn_region_is_completed_in_the_editor(editor: Editor, project: BackendProject) -> None:
    task = task_of(project, DRAWN)
    editor.open(project.id, task)
    before = len(editor.shown().regions)
    editor.page.locator(TOGGLE).check(force=True)
    with editor.page.expect_response(lambda answer: "/interactive-annotating" in answer.url) as it:
        editor.draw("Disease", "agent")
    asked = it.value.request.post_data_json
    assert asked.keys() == {"task", "context"}
    assert asked["context"].keys() == {"result"}
    *_, drawn = asked["context"]["result"]
    assert drawn["origin"] == "manual"
    assert "score" not in drawn
    assert [DRAWN[start:end] for start, end, *_ in places(it.value.json()["data"]["result"])] == [
        "agent",
        "agent",
    ]
    editor.wait_for_regions(before + 3)
    agents = [place for place in editor.shown().regions if place[3] == "agent"]
    assert [start for start, *_ in agents] == [6, 29, 67]
    assert {label for _, _, label, _ in agents} == {"Disease"}
    editor.page.screenshot(path=SCREENSHOTS / "drawn.png")

    editor.delete(before + 2)
    editor.wait_for_regions(before + 2)
    with editor.page.expect_response(lambda answer: "/interactive-annotating" in answer.url) as it:
        editor.draw("Disease", "batch")
    assert it.value.json()["data"]["result"] == []
    editor.wait_for_regions(before + 3)
    assert len([place for place in editor.shown().regions if place[3] == "agent"]) == 2


def test_readme_screenshot(
    editor: Editor, label_studio: LabelStudioServer, bundled_server: ServerProcess
) -> None:
    url = bundled_server.url
    with create_backend_project(label_studio, url, [ABSTRACT], title="BC5CDR abstracts") as project:
        editor.page.set_viewport_size({"width": 1280, "height": 620})
        editor.page.evaluate(
            "localStorage.setItem('labelStudio:settings', JSON.stringify({showLabels: true}))"
        )
        editor.page.goto(f"{editor.url}/projects/{project.id}/data?labeling=1")
        editor.page.wait_for_selector(".lsf-htx-richtext .htx-highlight")
        editor.page.wait_for_load_state("networkidle")
        editor.page.screenshot(path=SCREENSHOTS / "label-studio.png")
        (prediction,) = project.stored().values()
        starts = [start for start, *_ in places(prediction.result)]
        assert [start for start, *_ in editor.shown().regions] == starts


def test_status_page(chromium: Any, project: BackendProject, bundled_server: ServerProcess) -> None:
    failures: list[str] = []
    context = chromium.new_context(viewport={"width": 1000, "height": 1240}, color_scheme="light")
    try:
        page = context.new_page()
        page.on("console", lambda message: failures.append(message.text))
        page.goto(bundled_server.url)
        assert project.backend.model_version in page.inner_text("body")
        page.screenshot(path=SCREENSHOTS / "status.png")
        page.set_viewport_size({"width": 360, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    finally:
        context.close()
    assert failures == []
