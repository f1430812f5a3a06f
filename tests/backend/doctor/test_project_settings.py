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
def test_a_config_that_cannot_be_served(servers: ScriptedServers, config: str, code: str) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(label_config=config))
    row = backend_row(servers.backend.url, state="ER", error_message=REFUSED)
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(servers.run_doctor(), "config", "problem", skips=DEPENDENT)
    assert finding.code == code


def test_extra_params_choose_between_several_labels(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(label_config=TWO))
    row = backend_row(servers.backend.url, extra_params={"control": "one"})
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = servers.run_doctor()["config"]
    assert finding.status == "ok", finding
    assert "'one'" in finding.sentence


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


def test_tasks_of_plain_text_have_a_key_of_their_own(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, [task(**{"$undefined$": TEXT})])
    assert servers.run_doctor()["tasks"].status == "ok"


def test_only_the_tasks_changed_last_are_looked_at(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(task_number=900))
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, [task(11), task(12)])
    assert "2" in servers.run_doctor()["tasks"].sentence.split(":")[0].split()


def test_predictions_are_not_shown(servers: ScriptedServers) -> None:
    # Label Studio empties the project's model version when this is switched off.
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


def holds(servers: ScriptedServers, *tabs: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Give Label Studio some tabs, and return its tabs, which requests may change."""
    held = {one["id"]: one for one in tabs}
    answers = servers.label_studio.script.answers
    answers[f"GET {VIEWS}"] = lambda _: (200, list(held.values()))

    def change(asked: ReceivedRequest) -> tuple[int, Any]:
        number = int(asked.path.split("/")[-2])
        held[number] = {"id": number, "data": asked.body["data"]}
        return 200, held[number]

    answers.update(dict.fromkeys((f"PATCH {VIEWS}{number}/" for number in held), change))
    return held


def check_tabs(servers: ScriptedServers, *, fix: bool) -> DoctorFinding:
    return run_doctor(DoctorOptions(servers.label_studio.url, KEY, 7), fix=fix)["tabs"]


def test_a_filter_that_the_page_does_not_know(servers: ScriptedServers) -> None:
    held = holds(servers, FINE, OLD)
    before = dict(held)
    finding = only_finding(servers.run_doctor(), "tabs", "problem")
    assert finding.code == "unknown-filter-operator"
    assert "'in_list' of tab 'Next: mixed' (2)" in finding.sentence
    assert "--fix" in finding.remedy
    assert held == before
    assert "PATCH" not in "".join(servers.label_studio.script.paths())


def test_it_is_rewritten(servers: ScriptedServers) -> None:
    held = holds(servers, FINE, OLD, tab(3, "Review", match_all(filter_item("id", "in_list", [5]))))
    finding = check_tabs(servers, fix=True)
    assert finding.status == "ok"
    assert "tabs 'Next: mixed' (2), 'Review' (3)" in finding.sentence
    assert held[1] == FINE
    assert held[2]["data"]["filters"] == filter_by_ids([11, 7])
    assert held[3]["data"]["filters"] == filter_by_ids([5])
    assert (held[2]["data"]["title"], held[2]["data"]["ordering"]) == ("Next: mixed", BY_SCORE)
    assert "tasks:created_at" in held[2]["data"]["hiddenColumns"]["explore"]
    assert check_tabs(servers, fix=True).sentence == "The page knows the filters of 3 tabs."


def test_what_cannot_be_rewritten_keeps_the_tasks_it_shows(servers: ScriptedServers) -> None:
    both = match_all(
        filter_item("id", "in_list", [5, 6, 7]), filter_item("total_annotations", "equal", 0)
    )
    held = holds(servers, tab(4, "Mine", both))
    shown = {"tasks": [{"id": 6}, {"id": 5}], "total": 2}
    servers.set_label_studio_answer("GET /api/tasks/", 200, shown)
    assert check_tabs(servers, fix=True).status == "ok"
    assert held[4]["data"]["filters"] == filter_by_ids([6, 5])


def test_more_tasks_than_a_filter_takes(servers: ScriptedServers) -> None:
    ids = list(range(1, MAX_FILTER_ITEMS + 3))
    held = holds(servers, tab(4, "All", match_all(filter_item("id", "in_list", ids))))
    servers.set_label_studio_answer(
        "GET /api/tasks/", 200, {"tasks": [{"id": n} for n in ids], "total": 902}
    )
    finding = check_tabs(servers, fix=True)
    assert "first 900 of its 902 tasks" in finding.sentence
    assert held[4]["data"]["filters"] == filter_by_ids(ids[:MAX_FILTER_ITEMS])


def test_label_studio_does_not_take_it(servers: ScriptedServers) -> None:
    holds(servers, OLD)
    servers.set_label_studio_answer(
        f"PATCH {VIEWS}2/", 403, {"detail": "You do not have permission."}
    )
    finding = check_tabs(servers, fix=True)
    assert finding.status == "problem"
    assert finding.code == "label-studio-forbidden"
    assert "permission" in finding.sentence
