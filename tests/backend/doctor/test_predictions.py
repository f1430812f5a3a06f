"""Checks of the stored predictions: validity and version."""

import json
import re
from typing import Any

import pytest

from tagalong.backend.doctor.predictions import VALIDATION_FLAG
from tests.backend.doctor.scripted import (
    CONFIG,
    PROJECT,
    TEXT,
    UNKNOWN_TASK,
    VERSION,
    backend_row,
    project,
    refused,
    region,
    task,
)
from tests.backend.doctor.surgery import Surgery, the_only

IMPORT = f"POST {PROJECT}import/predictions"
REFUSED = refused(non_field_errors=["Prediction 0: Invalid task ID 0 - task not found in project"])


def flags(*, on: bool) -> str:
    flags = {VALIDATION_FLAG: on, "$system": {"VERSION_EDITION": "Community"}}
    return f"<pre>{json.dumps(flags)}</pre>"


def store_gene(surgery: Surgery) -> None:
    """Store a prediction with a label outside the labelling config."""
    gene = {"id": 5, "model_version": VERSION, "score": 0.9, "result": [region("Gene")]}
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, [task(11, predictions=[gene]), task(12)])


@pytest.mark.parametrize("on", [False, True])
def test_the_flag_is_shown(surgery: Surgery, on: bool) -> None:
    surgery.studio_says("GET /feature-flags/", 200, flags(on=on))
    findings = surgery.look()
    assert f" is {'on' if on else 'off'};" in findings["validation"].sentence
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert IMPORT not in surgery.studio.script.paths()


@pytest.mark.parametrize("page", [(403, ""), (404, ""), (200, "<pre>{}</pre>")])
@pytest.mark.parametrize("on", [False, True])
def test_the_flag_is_found_out_where_it_is_not_shown(
    surgery: Surgery, page: tuple[int, str], on: bool
) -> None:
    surgery.studio_says("GET /feature-flags/", *page)
    answer = REFUSED if on else refused(non_field_errors=[UNKNOWN_TASK])
    surgery.studio_says(IMPORT, *answer)
    assert f" is {'on' if on else 'off'};" in surgery.look()["validation"].sentence


def test_stored_predictions_would_be_refused(surgery: Surgery) -> None:
    store_gene(surgery)
    finding = the_only(surgery.look(), "validation", "warning")
    assert finding.code == "invalid-predictions-unnoticed"
    assert "(11)" in finding.sentence
    assert "'Gene'" in finding.sentence
    assert TEXT[:8] not in finding.sentence


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": 1.7}, "the score 1.7 is not between 0 and 1"),
        ({"result": [region() | {"from_name": "ner"}]}, "the control, the object or the type"),
        ({"result": [region() | {"type": "choices"}]}, "the control, the object or the type"),
        ({"result": [region() | {"value": None}]}, "the control, the object or the type"),
    ],
)
def test_what_is_wrong_with_a_prediction(
    surgery: Surgery, changes: dict[str, Any], said: str
) -> None:
    stored = {"id": 5, "model_version": VERSION, "score": 0.9, "result": [region()], **changes}
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, [task(11, predictions=[stored])])
    finding = the_only(surgery.look(), "validation", "warning")
    assert said in finding.sentence


def test_a_place_in_the_queue_is_no_flaw(surgery: Surgery) -> None:
    stored = {"id": 5, "model_version": VERSION, "score": -0.05, "result": [region()]}
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, [task(11, predictions=[stored])])
    assert surgery.look()["validation"].status == "ok"
    stored["result"] = [region("Gene")]
    assert "'Gene'" in surgery.look()["validation"].sentence


def test_stored_predictions_are_refused(surgery: Surgery) -> None:
    store_gene(surgery)
    surgery.studio_says(IMPORT, *REFUSED)
    finding = the_only(surgery.look(), "validation", "problem")
    assert finding.code == "invalid-predictions"


def test_nothing_is_stored_yet(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}model-versions/", 200, {VERSION: 0})
    findings = surgery.look()
    assert {finding.status for finding in findings.values()} == {"ok"}


def test_another_version_is_stored(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(task_number=9))
    surgery.studio_says(f"GET {PROJECT}model-versions/", 200, {"old-1": 7, VERSION: 2})
    finding = the_only(surgery.look(), "stored", "warning")
    assert finding.code == "other-versions-stored"
    assert re.search(r"old-1 \(7\).* 2, .* 9 tasks", finding.sentence)


def test_another_version_beside_a_whole_new_one_is_fine(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}model-versions/", 200, {"old-1": 1, VERSION: 1})
    assert surgery.look()["stored"].status == "ok"


def name(surgery: Surgery, *, title: str, chosen: str) -> None:
    surgery.studio_says("GET /api/ml/", 200, [backend_row(surgery.backend.url, title=title)])
    surgery.studio_says(f"GET {PROJECT}", 200, project(model_version=chosen))


def test_the_title_is_not_the_version(surgery: Surgery) -> None:
    name(surgery, title="Tagalong", chosen="Tagalong")
    finding = the_only(surgery.look(), "version", "problem")
    assert "'Tagalong'" in finding.sentence
    assert finding.code == "outdated-title"
    assert VERSION in finding.remedy


@pytest.mark.parametrize("chosen", ["", "batch-1"])
def test_the_project_shows_another_version(surgery: Surgery, chosen: str) -> None:
    name(surgery, title=VERSION, chosen=chosen)
    finding = the_only(surgery.look(), "version", "problem")
    assert finding.code == "shows-other-version"
    assert chosen in finding.sentence


@pytest.mark.parametrize(("title", "chosen"), [(VERSION, "batch-1"), ("new", VERSION)])
def test_the_project_shows_stored_predictions(surgery: Surgery, title: str, chosen: str) -> None:
    name(surgery, title=title, chosen=chosen)
    surgery.studio_says(f"GET {PROJECT}model-versions/", 200, {chosen: 3, VERSION: 3})
    finding = the_only(surgery.look(), "version", "warning")
    assert finding.code == "shows-stored-predictions"
    assert repr(chosen) in finding.sentence


def test_neither_names_the_version(surgery: Surgery) -> None:
    name(surgery, title="Tagalong", chosen="batch-1")
    finding = the_only(surgery.look(), "version", "problem")
    assert finding.code == "shows-other-version"
    assert VERSION in finding.remedy


def health(labels: Any) -> dict[str, Any]:
    return {"status": "UP", "model_class": "Tagalong", "version": VERSION, "labels": labels}


def test_some_labels_have_no_name_in_the_project(surgery: Surgery) -> None:
    surgery.backend_says("GET /health", 200, health(["Chemical", "Gene", "Species"]))
    finding = the_only(surgery.look(), "labels", "warning")
    assert finding.code == "labels-left-out"
    assert finding.sentence.endswith(": Gene, Species.")
    assert 'predicted_values="Gene,Species"' in finding.remedy


def test_no_label_has_a_name_in_the_project(surgery: Surgery) -> None:
    surgery.backend_says("GET /health", 200, health(["Gene"]))
    finding = the_only(surgery.look(), "labels", "problem")
    assert finding.code == "no-label-in-common"
    assert finding.sentence.endswith(": Gene.")


def test_labels_may_have_other_names(surgery: Surgery) -> None:
    config = CONFIG.replace('value="Chemical"', 'value="Drug" predicted_values="Chemical"')
    config = config.replace("</Labels>", '<Label value="Gene"/></Labels>')
    surgery.studio_says(f"GET {PROJECT}", 200, project(label_config=config))
    surgery.studio_says(f"GET {PROJECT}tasks/", 200, [{"id": 11, "data": {"text": "x"}}])
    findings = surgery.look()
    assert ": Chemical as Drug, Disease." in findings["labels"].sentence
    assert findings["labels"].sentence.endswith(" Gene.")
    assert {finding.status for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize("answer", [health([]), {"status": "UP"}, {"labels": 3}, []])
def test_a_backend_that_does_not_say_its_labels(surgery: Surgery, answer: Any) -> None:
    surgery.backend_says("GET /health", 200, answer)
    assert the_only(surgery.look(), "labels", "skipped").code == "labels-unknown"
