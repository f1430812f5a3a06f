"""The tabs that ``tagalong curate`` makes, opened in Label Studio's web page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.label_studio.annotation_queue import TAB
from tagalong.backend.label_studio.api.filters import filter_item, match_all
from tests.backend.doctor.doctor_runner import run_doctor
from tests.end_to_end.curated_project import CuratedProject, create_curated_project
from tests.end_to_end.editor import SCREENSHOTS, Editor, new_editor

COUNT = 6
# The visible texts in the list of tasks, from the top.
TEXTS = """() => [...document.querySelectorAll("[data-testid=table-row-wrapper]")]
  .sort((one, other) => parseFloat(one.style.top) - parseFloat(other.style.top))
  .map(row => [...row.querySelectorAll("*")].filter(part => {
    const {left, top} = part.getBoundingClientRect();
    const isText = !part.children.length && part.textContent.length > 30;
    return isText && part.contains(document.elementFromPoint(left + 2, top + 5));
  }).map(part => part.textContent)).flat()"""
UNKNOWN = "[mobx-state-tree] No matching type for union"


@pytest.fixture(scope="module")
def project(label_studio: LabelStudioServer) -> Iterator[CuratedProject]:
    with create_curated_project(label_studio) as project:
        yield project


@pytest.fixture
def editor(account: BrowserContext, label_studio: LabelStudioServer) -> Iterator[Editor]:
    with new_editor(account, label_studio.url) as editor:
        yield editor


def open_tab(editor: Editor, address: str) -> list[str]:
    """Open a tab and wait for its tasks; returns their texts in order."""
    editor.page.goto(address)
    editor.page.wait_for_selector("[data-testid=table-row-wrapper]")
    editor.page.wait_for_load_state("networkidle")
    found: list[str] = editor.page.evaluate(TEXTS)
    return found


def press_label_button(editor: Editor, button: str) -> int:
    """Press a button that opens the first task; returns its id."""
    if button != "Label All Tasks":
        editor.page.get_by_role("button", name="Toggle open").last.click()
    with editor.page.expect_response(lambda answer: "id=next_task" in answer.url) as given:
        editor.page.get_by_text(button, exact=True).click()
    editor.page.wait_for_selector(".lsf-htx-richtext")
    return int(given.value.json()["id"])


def queue_tasks(project: CuratedProject, count: int = COUNT) -> tuple[list[int], str]:
    """Queue tasks; returns their ids in order and the URL of their tab."""
    found = project.command("select", "--count", count, "--queue")
    return [int(choice["id"]) for choice in found["selected"]], found["shown"]


def test_queue_tab_is_in_queue_order(editor: Editor, project: CuratedProject) -> None:
    order, address = queue_tasks(project)
    assert open_tab(editor, address) == [project.documents[task].text for task in order]
    editor.page.screenshot(path=SCREENSHOTS / "queue.png")
    assert editor.page.get_by_text(TAB).is_visible()
    for button in ("Label All Tasks", "Label Tasks As Displayed"):
        open_tab(editor, address)
        assert press_label_button(editor, button) == order[0]
    with editor.page.expect_response(lambda answer: "id=next_task" in answer.url) as following:
        editor.page.get_by_test_id("bottombar-submit-button").click()
    assert following.value.json()["id"] == order[1]
    assert open_tab(editor, address) == [project.documents[task].text for task in order[1:]]
    assert editor.failures == []


def test_queue_scores_are_shown_as_negative(editor: Editor, project: CuratedProject) -> None:
    order, address = queue_tasks(project)
    stored = {one.task: one for one in project.client.predictions.list_for_project(project.id)}
    task = next(one for one in order if stored[one].result)
    editor.page.goto(f"{address}&task={task}")
    left = COUNT - order.index(task)
    prediction = editor.page.locator(".lsf-annotation-button", has_text=f"-{left}.00%")
    prediction.wait_for()
    regions = editor.page.locator(".lsf-outliner-item__control_type_score")
    regions.first.wait_for()
    shown = [float(score) for score in regions.all_inner_texts()]
    assert shown == [round(region["score"], 2) for region in stored[task].result]
    assert all(0 < score <= 1 for score in shown)
    prediction.hover()
    editor.page.get_by_text("Prediction Score").wait_for()
    editor.page.screenshot(path=SCREENSHOTS / "place.png")
    assert editor.failures == []


def test_review_tab_shows_suspect_tasks(editor: Editor, project: CuratedProject) -> None:
    found = project.command("review", "--model", "bundled", "--create-view", "--limit", 8)
    tasks = {int(finding["document"]) for finding in found["findings"][:8]}
    shown = open_tab(editor, found["shown"])
    assert sorted(shown) == sorted(project.documents[task].text for task in tasks)
    editor.page.get_by_role("button", name="Filters").click()
    editor.page.get_by_text("Add Another Filter").wait_for()
    assert editor.failures == []


def test_queue_of_200_tasks(editor: Editor, label_studio: LabelStudioServer) -> None:
    with create_curated_project(label_studio, 220) as project:
        order, address = queue_tasks(project, 200)
        shown = open_tab(editor, address)
        assert len(shown) > COUNT
        assert shown == [project.documents[task].text for task in order[: len(shown)]]
        editor.page.get_by_role("button", name="Filters").click()
        # With one filter per task, the page needs two minutes.
        editor.page.get_by_text("Add Another Filter").wait_for(timeout=30_000)
        editor.page.keyboard.press("Escape")
        assert press_label_button(editor, "Label Tasks As Displayed") == order[0]
        assert editor.failures == []


def test_doctor_repairs_the_data_manager(editor: Editor, project: CuratedProject) -> None:
    first, second, *_ = project.documents
    old = {
        "title": "Next: long",
        "filters": match_all(filter_item("id", "in_list", [second, first])),
        "ordering": ["-tasks:id"],
    }
    body = {"project": project.id, "data": old}
    tab = project.client.connection.request_json("POST", "api/dm/views/", body=body)["id"]
    address = f"{editor.url}/projects/{project.id}/data"
    editor.page.goto(address)
    editor.page.wait_for_load_state("networkidle")
    assert [failure for failure in editor.failures if UNKNOWN in failure]
    assert editor.page.evaluate(TEXTS) == []
    editor.failures.clear()

    options = DoctorOptions(editor.url, project.running.account.token, project.id)
    assert f"'Next: long' ({tab})" in run_doctor(options)["tabs"].sentence
    assert run_doctor(options, fix=True)["tabs"].status == "ok"
    assert run_doctor(options)["tabs"].status == "ok"
    texts = [project.documents[task].text for task in (second, first)]
    assert open_tab(editor, f"{address}?tab={tab}") == texts
    assert editor.page.get_by_text("Next: long").is_visible()
    assert editor.failures == []


def test_queue_works_with_validation(
    validating_label_studio: LabelStudioServer,
) -> None:
    with create_curated_project(validating_label_studio) as project:
        order, _ = queue_tasks(project)
        scores = project.scores()
        assert [scores[task] for task in order] == [(n - COUNT) / 100 for n in range(COUNT)]
        for task in order[:2]:
            assert project.next_task() == task
            project.annotate(task, project.documents[task])
        options = DoctorOptions(project.running.url, project.running.account.token, project.id)
        assert run_doctor(options)["validation"].status == "ok"
