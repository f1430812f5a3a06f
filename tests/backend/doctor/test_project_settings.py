"""Checks of the labelling config, the tasks and the pre-labelling setting."""

from typing import Any

import pytest

from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.doctor.finding import DoctorFinding
from tagalong.backend.label_studio.api.filters import (
    MAX_FILTER_ITEMS,
    filter_by_ids,
    filter_item,
    match_all,
)
from tests.backend.doctor.doctor_runner import KEY, ScriptedServers, only_finding, run_doctor
from tests.backend.doctor.scripted import PROJECT, TEXT, ReceivedRequest, backend_row, project, task

HYPERTEXT = (
    '<View><Labels name="l" toName="t"><Label value="Disease"/></Labels>'
    '<HyperText name="t" value="$text"/></View>'
)
NO_LABELS = '<View><Text name="t" value="$text"/></View>'
TWO = (
    '<View><Labels name="one" toName="t"><Label value="Chemical"/><Label value="Disease"/></Labels>'
    '<Labels name="two" toName="t"><Label value="Drug"/></Labels><Text name="t" value="$text"/>'
    "</View>"
)
ENTITY = '<!DOCTYPE v [<!ENTITY a "Disease">]>' + NO_LABELS
DEPENDENT = "tasks setup predict state labels validation"
REFUSED = "422 Client Error: UNPROCESSABLE ENTITY for url: http://127.0.0.1:9/setup"


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (HYPERTEXT, "hypertext"),
        (NO_LABELS, "label-config-without-span-control"),
        ("<View>", "label-config-not-xml"),
        (TWO, "label-config-control-not-unique"),
        (ENTITY, "label-config-with-declaration"),
    ],
)
def test_unusable_config(servers: ScriptedServers, config: str, code: str) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(label_config=config))
    row = backend_row(servers.backend.url, state="ER", error_message=REFUSED)
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(servers.run_doctor(), "config", "problem", skips=DEPENDENT)
    assert finding.code == code


def test_extra_params_choose_the_control(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(label_config=TWO))
    row = backend_row(servers.backend.url, extra_params={"control": "one"})
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = servers.run_doctor()["config"]
    assert finding.status == "ok", finding
    assert "'one'" in finding.sentence


def test_all_texts_are_named(servers: ScriptedServers) -> None:
    config = (
        '<View><Labels name="l" toName="t,a"><Label value="Disease"/></Labels>'
        '<Text name="t" value="$title"/><Text name="a" value="$abstract"/></View>'
    )
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(label_config=config))
    findings = servers.run_doctor()
    assert findings["config"].sentence.endswith(" in the texts under 'title' and 'abstract'.")
    assert "nothing under 'title' or 'abstract', where" in findings["tasks"].sentence


def test_no_tasks(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(task_number=0))
    servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {})
    finding = only_finding(servers.run_doctor(), "tasks", "warning", skips="predict")
    assert finding.code == "no-tasks"


def test_tasks_without_the_data_key(servers: ScriptedServers) -> None:
    tasks = [task(number, abstract=TEXT, predictions=[]) for number in range(11, 18)]
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, tasks)
    finding = only_finding(servers.run_doctor(), "tasks", "problem", skips="predict")
    assert finding.code == "tasks-without-text"
    assert finding.sentence.endswith(": 11, 12, 13, 14, 15, ....")
    assert TEXT not in finding.sentence


def test_some_tasks_without_the_data_key(servers: ScriptedServers) -> None:
    tasks = [task(11), task(12, abstract=TEXT)]
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, tasks)
    finding = only_finding(servers.run_doctor(), "tasks", "warning")
    assert finding.sentence.endswith(": 12.")


def test_tasks_imported_from_plain_text(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, [task(**{"$undefined$": TEXT})])
    assert servers.run_doctor()["tasks"].status == "ok"


def test_only_recently_changed_tasks_are_checked(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(task_number=900))
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, [task(11), task(12)])
    assert "2" in servers.run_doctor()["tasks"].sentence.split(":")[0].split()


def test_predictions_are_not_shown(servers: ScriptedServers) -> None:
    # Switching this off clears the project's model version.
    off = project(show_collab_predictions=False, model_version="")
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, off)
    finding = only_finding(servers.run_doctor(), "shown", "problem", skips="version")
    assert finding.code == "prelabelling-off"


VIEWS = "/api/dm/views/"
BY_SCORE = ["tasks:predictions_score"]


def tab(number: int, title: str, filters: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"title": title, "filters": filters, **more}}


OLD = tab(2, "Next: mixed", match_all(filter_item("id", "in_list", [11, 7])), ordering=BY_SCORE)
FINE = tab(1, "Default", match_all())


def set_tabs(servers: ScriptedServers, *tabs: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Set the tabs of Label Studio; returns its tabs by id, which requests change."""
    tabs_by_id = {one["id"]: one for one in tabs}
    answers = servers.label_studio.script.answers
    answers[f"GET {VIEWS}"] = lambda _: (200, list(tabs_by_id.values()))

    def change(asked: ReceivedRequest) -> tuple[int, Any]:
        number = int(asked.path.split("/")[-2])
        tabs_by_id[number] = {"id": number, "data": asked.body["data"]}
        return 200, tabs_by_id[number]

    answers.update(dict.fromkeys((f"PATCH {VIEWS}{number}/" for number in tabs_by_id), change))
    return tabs_by_id


def check_tabs(servers: ScriptedServers, *, fix: bool) -> DoctorFinding:
    return run_doctor(DoctorOptions(servers.label_studio.url, KEY, 7), fix=fix)["tabs"]


def test_tab_with_unsupported_filter(servers: ScriptedServers) -> None:
    tabs_by_id = set_tabs(servers, FINE, OLD)
    before = dict(tabs_by_id)
    finding = only_finding(servers.run_doctor(), "tabs", "problem")
    assert finding.code == "unknown-filter-operator"
    assert "'in_list' of tab 'Next: mixed' (2)" in finding.sentence
    assert "--fix" in finding.remedy
    assert tabs_by_id == before
    assert "PATCH" not in "".join(servers.label_studio.script.paths())


def test_unsupported_filters_are_rewritten(servers: ScriptedServers) -> None:
    tabs_by_id = set_tabs(
        servers, FINE, OLD, tab(3, "Review", match_all(filter_item("id", "in_list", [5])))
    )
    finding = check_tabs(servers, fix=True)
    assert finding.status == "ok"
    assert "tabs 'Next: mixed' (2), 'Review' (3)" in finding.sentence
    assert tabs_by_id[1] == FINE
    assert tabs_by_id[2]["data"]["filters"] == filter_by_ids([11, 7])
    assert tabs_by_id[3]["data"]["filters"] == filter_by_ids([5])
    assert (tabs_by_id[2]["data"]["title"], tabs_by_id[2]["data"]["ordering"]) == (
        "Next: mixed",
        BY_SCORE,
    )
    assert "tasks:created_at" in tabs_by_id[2]["data"]["hiddenColumns"]["explore"]
    assert check_tabs(servers, fix=True).sentence == "The page knows the filters of 3 tabs."


def test_other_filters_are_replaced_by_their_tasks(servers: ScriptedServers) -> None:
    both = match_all(
        filter_item("id", "in_list", [5, 6, 7]), filter_item("total_annotations", "equal", 0)
    )
    tabs_by_id = set_tabs(servers, tab(4, "Mine", both))
    shown = {"tasks": [{"id": 6}, {"id": 5}], "total": 2}
    servers.set_label_studio_answer("GET /api/tasks/", 200, shown)
    assert check_tabs(servers, fix=True).status == "ok"
    assert tabs_by_id[4]["data"]["filters"] == filter_by_ids([6, 5])


def test_too_many_tasks_for_a_filter(servers: ScriptedServers) -> None:
    ids = list(range(1, MAX_FILTER_ITEMS + 3))
    tabs_by_id = set_tabs(servers, tab(4, "All", match_all(filter_item("id", "in_list", ids))))
    servers.set_label_studio_answer(
        "GET /api/tasks/", 200, {"tasks": [{"id": n} for n in ids], "total": 902}
    )
    finding = check_tabs(servers, fix=True)
    assert "first 900 of its 902 tasks" in finding.sentence
    assert tabs_by_id[4]["data"]["filters"] == filter_by_ids(ids[:MAX_FILTER_ITEMS])


def test_label_studio_refuses_the_update(servers: ScriptedServers) -> None:
    set_tabs(servers, OLD)
    servers.set_label_studio_answer(
        f"PATCH {VIEWS}2/", 403, {"detail": "You do not have permission."}
    )
    finding = check_tabs(servers, fix=True)
    assert finding.status == "problem"
    assert finding.code == "label-studio-forbidden"
    assert "permission" in finding.sentence


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, " 0 annotations; the advice is about 30 before the first one."), (30, " 30 annotations.")],
)
def test_annotations_of_a_training_are_counted(
    servers: ScriptedServers, count: int, expected: str
) -> None:
    changed = project(total_annotations_number=count)
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, changed)
    finding = servers.run_doctor()["annotations"]
    assert finding.status == "ok"
    assert finding.sentence.endswith(expected)
