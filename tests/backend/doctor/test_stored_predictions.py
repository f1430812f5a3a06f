"""Checks of the stored predictions: validity and version."""

import json
import re
from typing import Any

import pytest

from tagalong.backend.doctor.stored_predictions import VALIDATION_FLAG
from tests.backend.doctor.scripted import (
    PROJECT,
    TEXT,
    UNKNOWN_TASK,
    VERSION,
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
