"""Checks of the backend's own answers and their duration."""

import re
from typing import Any

import pytest

from tagalong.backend.doctor import backend_responses
from tests.backend.doctor.scripted import (
    PROJECT,
    VERSION,
    Asked,
    ScriptedServer,
    backend_row,
    healthy_backend,
    project,
    region,
    webhook,
)
from tests.backend.doctor.surgery import Surgery, the_only

CALLED = "auth setup predict times labels"
DENIED = (401, {"error": "username or password is missing or wrong"})


def test_the_backend_is_down(surgery: Surgery) -> None:
    down = backend_row("http://127.0.0.1:1", state="DI")
    surgery.studio_says("GET /api/ml/", 200, [down])
    findings = surgery.look()
    assert findings["answers"].status == "problem"
    assert findings["answers"].code == "backend-unreachable"
    assert {findings[name].status for name in (*CALLED.split(), "state", "version")} == {"skipped"}


def test_the_backend_can_be_reached_by_label_studio_only(surgery: Surgery) -> None:
    hidden = "http://backend.invalid:9090"
    surgery.studio_says("GET /api/ml/", 200, [backend_row(hidden)])
    surgery.studio_says("GET /api/webhooks/", 200, [webhook(hidden)])
    finding = the_only(surgery.look(), "answers", "skipped", skips=CALLED)
    assert finding.code == "backend-unreachable-from-here"
    assert "--backend" in finding.remedy


def test_the_backend_has_another_address_from_here(surgery: Surgery) -> None:
    hidden = "http://backend.invalid:9090"
    surgery.studio_says("GET /api/ml/", 200, [backend_row(hidden)])
    surgery.studio_says("GET /api/webhooks/", 200, [webhook(hidden)])
    findings = surgery.look(backend_url=surgery.backend.url)
    assert {finding.status for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize(
    ("answer", "status"), [((404, {}), "404"), ((500, {}), "500"), ((200, "<html>"), "200")]
)
def test_something_else_answers(surgery: Surgery, answer: tuple[int, Any], status: str) -> None:
    surgery.studio_says("GET /api/ml/", 200, [backend_row(surgery.backend.url, state="DI")])
    surgery.backend_says("GET /health", *answer)
    finding = the_only(surgery.look(), "answers", "problem", skips=f"{CALLED} state")
    assert finding.code == "not-an-ml-backend"
    assert status in finding.sentence


def lock(surgery: Surgery) -> None:
    """Make the backend ask for a user and password."""

    def door(asked: Asked) -> tuple[int, Any]:
        known = asked.headers.get("Authorization") == "Basic YW5uOnNlY3JldA=="  # ann:secret
        answers = healthy_backend().answers
        answer = answers[f"{asked.method} {asked.path}"] if known else DENIED
        assert not callable(answer)
        return answer

    for path in ("GET /versions", "POST /setup", "POST /predict"):
        surgery.backend.script.answers[path] = door


def test_label_studio_sends_no_password(surgery: Surgery) -> None:
    lock(surgery)
    row = backend_row(surgery.backend.url, state="ER", error_message="401 Client Error")
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = the_only(surgery.look(), "auth", "problem", skips="setup predict state version")
    assert finding.code == "login-missing"


def test_label_studio_sends_the_wrong_password(surgery: Surgery) -> None:
    lock(surgery)
    row = backend_row(
        surgery.backend.url,
        state="ER",
        error_message="401 Client Error",
        auth_method="BASIC_AUTH",
        basic_auth_user="ann",
    )
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = the_only(surgery.look(), "auth", "problem", skips="setup predict state version")
    assert finding.code == "login-refused"


def test_without_the_password_the_doctor_names_the_skipped_checks(surgery: Surgery) -> None:
    lock(surgery)
    row = backend_row(surgery.backend.url, auth_method="BASIC_AUTH", basic_auth_user="ann")
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = the_only(surgery.look(), "setup", "skipped", skips="predict")
    assert finding.code == "doctor-login-missing"


def test_with_the_password_all_is_seen(surgery: Surgery) -> None:
    lock(surgery)
    row = backend_row(surgery.backend.url, auth_method="BASIC_AUTH", basic_auth_user="ann")
    surgery.studio_says("GET /api/ml/", 200, [row])
    findings = surgery.look(login=("ann", "secret"))
    assert {finding.status for finding in findings.values()} == {"ok"}
    wrong = surgery.look(login=("ann", "wrong"))
    finding = the_only(wrong, "setup", "skipped", skips="predict")
    assert finding.code == "doctor-login-refused"


def test_the_backend_refuses_the_project(surgery: Surgery) -> None:
    surgery.backend_says("POST /setup", 422, {"error": "gone: retrain"})
    finding = the_only(surgery.look(), "setup", "problem", skips="predict")
    assert finding.code == "setup-refused"
    assert finding.sentence.endswith("(HTTP 422): gone: retrain.")


@pytest.mark.parametrize("answer", [{}, {"model_version": None}, {"model_version": ""}, []])
def test_the_setup_names_no_version(surgery: Surgery, answer: Any) -> None:
    surgery.backend_says("POST /setup", 200, answer)
    finding = the_only(surgery.look(), "setup", "problem", skips="predict version")
    assert finding.code == "setup-without-version"


@pytest.mark.parametrize("results", [[], [{}, {}], None, "none"])
def test_not_one_result_per_task(surgery: Surgery, results: Any) -> None:
    surgery.backend_says("POST /predict", 200, {"results": results})
    finding = the_only(surgery.look(), "predict", "problem")
    assert finding.code == "wrong-number-of-results"


def test_the_prediction_fails(surgery: Surgery) -> None:
    surgery.backend_says("POST /predict", 500, "<html>Traceback</html>")
    finding = the_only(surgery.look(), "predict", "problem")
    assert finding.code == "prediction-failed"
    assert "500" in finding.sentence


def test_setup_and_prediction_name_different_versions(surgery: Surgery) -> None:
    result = {"model_version": "old-1", "score": 0.9, "result": [region()]}
    surgery.backend_says("POST /predict", 200, {"results": [result]})
    finding = the_only(surgery.look(), "predict", "problem")
    assert finding.code == "version-mismatch"
    assert "'old-1'" in finding.sentence


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("health", "HEALTH_LIMIT_SECONDS"), ("setup", "SETUP_LIMIT_SECONDS")],
)
def test_the_backend_is_slower_than_label_studio_waits(
    surgery: Surgery, monkeypatch: pytest.MonkeyPatch, verb: str, limit: str
) -> None:
    monkeypatch.setattr(backend_responses, limit, 0.2)
    surgery.backend.script.delays[f"/{verb}"] = 0.25
    surgery.studio_says("GET /api/ml/", 200, [backend_row(surgery.backend.url, state="DI")])
    finding = the_only(surgery.look(), "times", "problem", skips="state")
    assert finding.code == "too-slow"
    assert verb in finding.sentence


def test_a_backend_near_the_limit_is_a_warning(
    surgery: Surgery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_responses, "SLOW_PREDICTION_SECONDS", 0.2)
    surgery.backend.script.delays["/predict"] = 0.3
    finding = the_only(surgery.look(), "times", "warning")
    assert finding.code == "slow"


def test_a_setup_that_never_comes(surgery: Surgery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagalong.backend.doctor.context.SETUP_TIMEOUT_SECONDS", 0.2)
    surgery.backend.script.delays["/setup"] = 0.6
    finding = the_only(surgery.look(), "setup", "problem", skips="predict")
    assert finding.code == "backend-timeout"


def test_it_computes_how_many_tasks_fit_into_one_request(surgery: Surgery) -> None:
    surgery.studio_says(f"GET {PROJECT}", 200, project(task_number=10_000_000))
    surgery.studio_says(f"GET {PROJECT}model-versions/", 200, {VERSION: 10_000_000})
    finding = surgery.look()["times"]
    assert finding.status == "ok"
    assert re.search(r"at most [\d,]+ at once", finding.sentence)


def test_the_backend_is_asked_as_label_studio_asks_it(surgery: Surgery) -> None:
    row = backend_row(surgery.backend.url, extra_params={"control": "label"})
    surgery.studio_says("GET /api/ml/", 200, [row])
    surgery.look()
    (setup,) = [asked for asked in surgery.backend.script.asked if asked.path == "/setup"]
    assert setup.body["project"] == "7.1795378435"
    assert setup.body["extra_params"] == {"control": "label"}
    assert setup.body["access_token"] == ""
    (predict,) = [asked for asked in surgery.backend.script.asked if asked.path == "/predict"]
    assert predict.body["label_config"] == setup.body["schema"]
    assert [task["id"] for task in predict.body["tasks"]] == [11]
    assert predict.body["params"]["context"] is None


def test_a_server_may_be_two_backends(surgery: Surgery) -> None:
    with ScriptedServer(healthy_backend()) as other:
        other.script.answers = {
            path.replace(" /", " /llm/"): answer for path, answer in other.script.answers.items()
        }
        surgery.studio_says("GET /api/ml/", 200, [backend_row(f"{other.url}/llm/")])
        surgery.studio_says("GET /api/webhooks/", 200, [webhook(f"{other.url}/llm")])
        findings = surgery.look()
    assert {finding.status for finding in findings.values()} == {"ok"}
