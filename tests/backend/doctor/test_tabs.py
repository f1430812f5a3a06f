"""The doctor rewrites filters of tabs that Label Studio's page does not know."""

from typing import Any

from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.doctor.finding import DoctorFinding
from tagalong.backend.label_studio.api.filters import MOST, all_of, on, tasks_of
from tests.backend.doctor.scripted import Asked
from tests.backend.doctor.surgery import KEY, Surgery, the_only
from tests.backend.doctor.surgery import look as surgery_look

VIEWS = "/api/dm/views/"
BY_SCORE = ["tasks:predictions_score"]


def tab(number: int, title: str, filters: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"title": title, "filters": filters, **more}}


OLD = tab(2, "Next: mixed", all_of(on("id", "in_list", [11, 7])), ordering=BY_SCORE)
FINE = tab(1, "Default", all_of())


def holds(surgery: Surgery, *tabs: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Give Label Studio some tabs, and return its tabs, which requests may change."""
    held = {one["id"]: one for one in tabs}
    answers = surgery.studio.script.answers
    answers[f"GET {VIEWS}"] = lambda _: (200, list(held.values()))

    def change(asked: Asked) -> tuple[int, Any]:
        number = int(asked.path.split("/")[-2])
        held[number] = {"id": number, "data": asked.body["data"]}
        return 200, held[number]

    answers.update(dict.fromkeys((f"PATCH {VIEWS}{number}/" for number in held), change))
    return held


def look(surgery: Surgery, *, fix: bool) -> DoctorFinding:
    return surgery_look(DoctorOptions(surgery.studio.url, KEY, 7), fix=fix)["tabs"]


def test_a_filter_that_the_page_does_not_know(surgery: Surgery) -> None:
    held = holds(surgery, FINE, OLD)
    before = dict(held)
    finding = the_only(surgery.look(), "tabs", "problem")
    assert finding.code == "unknown-filter-operator"
    assert "'in_list' of tab 'Next: mixed' (2)" in finding.sentence
    assert "--fix" in finding.remedy
    assert held == before
    assert "PATCH" not in "".join(surgery.studio.script.paths())


def test_it_is_rewritten(surgery: Surgery) -> None:
    held = holds(surgery, FINE, OLD, tab(3, "Review", all_of(on("id", "in_list", [5]))))
    finding = look(surgery, fix=True)
    assert finding.status == "ok"
    assert "tabs 'Next: mixed' (2), 'Review' (3)" in finding.sentence
    assert held[1] == FINE
    assert held[2]["data"]["filters"] == tasks_of([11, 7])
    assert held[3]["data"]["filters"] == tasks_of([5])
    assert (held[2]["data"]["title"], held[2]["data"]["ordering"]) == ("Next: mixed", BY_SCORE)
    assert "tasks:created_at" in held[2]["data"]["hiddenColumns"]["explore"]
    assert look(surgery, fix=True).sentence == "The page knows the filters of 3 tabs."


def test_what_cannot_be_rewritten_keeps_the_tasks_it_shows(surgery: Surgery) -> None:
    both = all_of(on("id", "in_list", [5, 6, 7]), on("total_annotations", "equal", 0))
    held = holds(surgery, tab(4, "Mine", both))
    shown = {"tasks": [{"id": 6}, {"id": 5}], "total": 2}
    surgery.studio_says("GET /api/tasks/", 200, shown)
    assert look(surgery, fix=True).status == "ok"
    assert held[4]["data"]["filters"] == tasks_of([6, 5])


def test_more_tasks_than_a_filter_takes(surgery: Surgery) -> None:
    ids = list(range(1, MOST + 3))
    held = holds(surgery, tab(4, "All", all_of(on("id", "in_list", ids))))
    surgery.studio_says("GET /api/tasks/", 200, {"tasks": [{"id": n} for n in ids], "total": 902})
    finding = look(surgery, fix=True)
    assert "first 900 of its 902 tasks" in finding.sentence
    assert held[4]["data"]["filters"] == tasks_of(ids[:MOST])


def test_label_studio_does_not_take_it(surgery: Surgery) -> None:
    holds(surgery, OLD)
    surgery.studio_says(f"PATCH {VIEWS}2/", 403, {"detail": "You do not have permission."})
    finding = look(surgery, fix=True)
    assert finding.status == "problem"
    assert finding.code == "label-studio-forbidden"
    assert "permission" in finding.sentence
