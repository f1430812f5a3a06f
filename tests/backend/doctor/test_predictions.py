"""Checks of the stored predictions: validity and version."""

import json
import re
from typing import Any

import pytest

from tagalong.backend.doctor.predictions import VALIDATION_FLAG
from tests.backend.doctor.doctor_runner import ScriptedServers, only_finding
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

IMPORT = f"POST {PROJECT}import/predictions"
REFUSED = refused(non_field_errors=["Prediction 0: Invalid task ID 0 - task not found in project"])


def flags(*, on: bool) -> str:
    flags = {VALIDATION_FLAG: on, "$system": {"VERSION_EDITION": "Community"}}
    return f"<pre>{json.dumps(flags)}</pre>"


def store_gene(servers: ScriptedServers) -> None:
    """Store a prediction with a label outside the labelling config."""
    gene = {"id": 5, "model_version": VERSION, "score": 0.9, "result": [region("Gene")]}
    servers.set_label_studio_answer(
        f"GET {PROJECT}tasks/", 200, [task(11, predictions=[gene]), task(12)]
    )


@pytest.mark.parametrize("on", [False, True])
def test_validation_flag_is_reported(servers: ScriptedServers, on: bool) -> None:
    servers.set_label_studio_answer("GET /feature-flags/", 200, flags(on=on))
    findings = servers.run_doctor()
    assert f" is {'on' if on else 'off'};" in findings["validation"].sentence
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert IMPORT not in servers.label_studio.script.paths()


@pytest.mark.parametrize("page", [(403, ""), (404, ""), (200, "<pre>{}</pre>")])
@pytest.mark.parametrize("on", [False, True])
def test_validation_flag_is_probed_if_hidden(
    servers: ScriptedServers, page: tuple[int, str], on: bool
) -> None:
    servers.set_label_studio_answer("GET /feature-flags/", *page)
    answer = REFUSED if on else refused(non_field_errors=[UNKNOWN_TASK])
    servers.set_label_studio_answer(IMPORT, *answer)
    assert f" is {'on' if on else 'off'};" in servers.run_doctor()["validation"].sentence


def test_stored_predictions_would_be_refused(servers: ScriptedServers) -> None:
    store_gene(servers)
    finding = only_finding(servers.run_doctor(), "validation", "warning")
    assert finding.code == "invalid-predictions-unnoticed"
    assert "(11)" in finding.sentence
    assert "'Gene'" in finding.sentence
    assert TEXT[:8] not in finding.sentence


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"score": 1.7}, "the score 1.7 is not between 0 and 1"),
        ({"result": [region() | {"from_name": "ner"}]}, "the control, the object or the type"),
        ({"result": [region() | {"type": "choices"}]}, "the control, the object or the type"),
        ({"result": [region() | {"value": None}]}, "the control, the object or the type"),
    ],
)
def test_invalid_prediction_is_described(
    servers: ScriptedServers, changes: dict[str, Any], expected: str
) -> None:
    stored = {"id": 5, "model_version": VERSION, "score": 0.9, "result": [region()], **changes}
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, [task(11, predictions=[stored])])
    finding = only_finding(servers.run_doctor(), "validation", "warning")
    assert expected in finding.sentence


def test_queue_score_is_valid(servers: ScriptedServers) -> None:
    stored = {"id": 5, "model_version": VERSION, "score": -0.05, "result": [region()]}
    servers.set_label_studio_answer(f"GET {PROJECT}tasks/", 200, [task(11, predictions=[stored])])
    assert servers.run_doctor()["validation"].status == "ok"
    stored["result"] = [region("Gene")]
    assert "'Gene'" in servers.run_doctor()["validation"].sentence


def test_stored_predictions_are_refused(servers: ScriptedServers) -> None:
    store_gene(servers)
    servers.set_label_studio_answer(IMPORT, *REFUSED)
    finding = only_finding(servers.run_doctor(), "validation", "problem")
    assert finding.code == "invalid-predictions"


def test_no_stored_predictions(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {VERSION: 0})
    findings = servers.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}


def test_predictions_of_another_version_are_stored(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(task_number=9))
    servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {"old-1": 7, VERSION: 2})
    finding = only_finding(servers.run_doctor(), "stored", "warning")
    assert finding.code == "other-versions-stored"
    assert re.search(r"old-1 \(7\).* 2, .* 9 tasks", finding.sentence)


def test_predictions_of_another_version_beside_complete_current_ones(
    servers: ScriptedServers,
) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {"old-1": 1, VERSION: 1})
    assert servers.run_doctor()["stored"].status == "ok"


def name(servers: ScriptedServers, *, title: str, chosen: str) -> None:
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, title=title)]
    )
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(model_version=chosen))


def test_title_is_not_the_version(servers: ScriptedServers) -> None:
    name(servers, title="Tagalong", chosen="Tagalong")
    finding = only_finding(servers.run_doctor(), "version", "problem")
    assert "'Tagalong'" in finding.sentence
    assert finding.code == "outdated-title"
    assert VERSION in finding.remedy


def test_command_that_corrects_the_title(servers: ScriptedServers) -> None:
    name(servers, title="BERT", chosen="BERT")
    url = servers.backend.url
    command = f"`tagalong connect --project 7 --backend-url {url}`"
    assert command in servers.run_doctor()["version"].remedy
    local = url.replace("127.0.0.1", "localhost")
    command = f"`tagalong connect --project 7 --backend-url {url} --backend {local}`"
    assert command in servers.run_doctor(backend_url=local)["version"].remedy
    servers.set_backend_answer("GET /health", 200, {"status": "UP", "model_class": "BertForNer"})
    assert "tagalong connect" not in servers.run_doctor()["version"].remedy


@pytest.mark.parametrize("chosen", ["", "batch-1"])
def test_project_shows_another_version(servers: ScriptedServers, chosen: str) -> None:
    name(servers, title=VERSION, chosen=chosen)
    finding = only_finding(servers.run_doctor(), "version", "problem")
    assert finding.code == "shows-other-version"
    assert chosen in finding.sentence


@pytest.mark.parametrize(("title", "chosen"), [(VERSION, "batch-1"), ("new", VERSION)])
def test_project_shows_stored_predictions(
    servers: ScriptedServers, title: str, chosen: str
) -> None:
    name(servers, title=title, chosen=chosen)
    servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {chosen: 3, VERSION: 3})
    finding = only_finding(servers.run_doctor(), "version", "warning")
    assert finding.code == "shows-stored-predictions"
    assert repr(chosen) in finding.sentence


def test_neither_title_nor_project_names_the_version(servers: ScriptedServers) -> None:
    name(servers, title="Tagalong", chosen="batch-1")
    finding = only_finding(servers.run_doctor(), "version", "problem")
    assert finding.code == "shows-other-version"
    assert VERSION in finding.remedy


def health(labels: Any) -> dict[str, Any]:
    return {"status": "UP", "model_class": "Tagalong", "version": VERSION, "labels": labels}


def test_some_labels_are_not_in_the_project(servers: ScriptedServers) -> None:
    servers.set_backend_answer("GET /health", 200, health(["Chemical", "Gene", "Species"]))
    finding = only_finding(servers.run_doctor(), "labels", "warning")
    assert finding.code == "labels-left-out"
    assert finding.sentence.endswith(": Gene, Species. The model does not predict Disease yet.")
    assert 'predicted_values="Gene,Species"' in finding.remedy


def test_no_label_is_in_the_project(servers: ScriptedServers) -> None:
    servers.set_backend_answer("GET /health", 200, health(["Gene"]))
    finding = only_finding(servers.run_doctor(), "labels", "problem")
    assert finding.code == "no-label-in-common"
    assert finding.sentence.endswith(": Gene. The model does not predict Chemical, Disease yet.")


def test_labels_are_mapped_by_the_config(servers: ScriptedServers) -> None:
    config = CONFIG.replace('value="Chemical"', 'value="Drug" predicted_values="Chemical"')
    config = config.replace("</Labels>", '<Label value="Gene"/></Labels>')
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(label_config=config))
    servers.set_label_studio_answer(
        f"GET {PROJECT}tasks/", 200, [{"id": 11, "data": {"text": "x"}}]
    )
    findings = servers.run_doctor()
    assert ": Chemical as Drug, Disease." in findings["labels"].sentence
    assert findings["labels"].sentence.endswith(" Disease. The model does not predict Gene yet.")
    assert {finding.status for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize("answer", [health([]), {"status": "UP"}, {"labels": 3}, []])
def test_backend_does_not_report_its_labels(servers: ScriptedServers, answer: Any) -> None:
    servers.set_backend_answer("GET /health", 200, answer)
    assert only_finding(servers.run_doctor(), "labels", "skipped").code == "labels-unknown"
