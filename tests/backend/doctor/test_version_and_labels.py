"""Checks that Label Studio and the backend use the same version and labels."""

from typing import Any

import pytest

from tests.backend.doctor.scripted import CONFIG, PROJECT, VERSION, backend_row, project
from tests.backend.doctor.surgery import Surgery, the_only


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
