"""Checks of the labelling config, the tasks and the pre-labelling setting."""

import pytest

from tests.backend.doctor.scripted import PROJECT, TEXT, backend_row, project, task
from tests.backend.doctor.surgery import Surgery, the_only

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
def test_a_config_that_cannot_be_served(surgery: Surgery, config: str, code: str) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(label_config=config))
    row = backend_row(surgery.backend.url, state="ER", error_message=REFUSED)
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = the_only(surgery.look(), "config", "problem", skips=DEPENDENT)
    assert finding.code == code


def test_extra_params_choose_between_several_labels(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(label_config=TWO))
    row = backend_row(surgery.backend.url, extra_params={"control": "one"})
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = surgery.look()["config"]
    assert finding.status == "ok", finding
    assert "'one'" in finding.sentence


def test_no_tasks(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(task_number=0))
    surgery.studio_says(f"GET {PROJECT}model-versions/", 200, {})
    finding = the_only(surgery.look(), "tasks", "warning", skips="predict")
    assert finding.code == "no-tasks"


def test_tasks_without_the_data_key(surgery: Surgery) -> None:
    tasks = [task(number, abstract=TEXT, predictions=[]) for number in range(11, 18)]
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, tasks)
    finding = the_only(surgery.look(), "tasks", "problem", skips="predict")
    assert finding.code == "tasks-without-text"
    assert finding.sentence.endswith(": 11, 12, 13, 14, 15, ....")
    assert TEXT not in finding.sentence


def test_some_tasks_without_the_data_key(surgery: Surgery) -> None:
    tasks = [task(11), task(12, abstract=TEXT)]
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, tasks)
    finding = the_only(surgery.look(), "tasks", "warning")
    assert finding.sentence.endswith(": 12.")


def test_tasks_of_plain_text_have_a_key_of_their_own(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, [task(**{"$undefined$": TEXT})])
    assert surgery.look()["tasks"].status == "ok"


def test_only_the_tasks_changed_last_are_looked_at(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(task_number=900))
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, [task(11), task(12)])
    assert "2" in surgery.look()["tasks"].sentence.split(":")[0].split()


def test_predictions_are_not_shown(surgery: Surgery) -> None:
    # Label Studio empties the project's model version when this is switched off.
    off = project(show_collab_predictions=False, model_version="")
    surgery.studio_says(f"GET {PROJECT}", 200, off)
    finding = the_only(surgery.look(), "shown", "problem", skips="version")
    assert finding.code == "prelabelling-off"
