"""The doctor and the project: its labelling config, its tasks, whether predictions are shown."""

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
    ("config", "said"),
    [
        (HYPERTEXT, "HyperText"),
        (NO_LABELS, "no <Labels> over a <Text>"),
        ("<View>", "not XML"),
        (TWO, "'one', 'two'"),
        (ENTITY, "declares a document type"),
    ],
)
def test_a_config_that_cannot_be_served(surgery: Surgery, config: str, said: str) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(label_config=config))
    row = backend_row(surgery.backend.url, state="ER", error_message=REFUSED)
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = the_only(surgery.look(), "config", "problem", skips=DEPENDENT)
    assert said in finding.sentence
    assert "Settings, Labeling Interface, Code" in finding.remedy


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
    assert "no tasks" in finding.sentence
    assert "Import" in finding.remedy


def test_tasks_without_the_data_key(surgery: Surgery) -> None:
    tasks = [task(number, abstract=TEXT, predictions=[]) for number in range(11, 18)]
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, tasks)
    finding = the_only(surgery.look(), "tasks", "problem", skips="predict")
    assert "7 have nothing under 'text'" in finding.sentence
    assert "11, 12, 13, 14, 15, ..." in finding.sentence
    assert "labelling config" in finding.remedy
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
    assert "2 tasks changed last" in surgery.look()["tasks"].sentence


def test_predictions_are_not_shown(surgery: Surgery) -> None:
    # Label Studio empties the project's model version when this is switched off.
    off = project(show_collab_predictions=False, model_version="")
    surgery.studio_says(f"GET {PROJECT}", 200, off)
    finding = the_only(surgery.look(), "shown", "problem", skips="version")
    assert "'Use predictions to prelabel tasks' is off" in finding.sentence
    assert "Settings, Annotation" in finding.remedy
