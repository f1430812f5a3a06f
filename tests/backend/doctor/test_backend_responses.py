"""Checks of the backend's own answers and their duration."""

import re
from typing import Any

import pytest

from tagalong.backend.doctor import backend_responses
from tests.backend.doctor.doctor_runner import ScriptedServers, only_finding
from tests.backend.doctor.scripted import (
    PROJECT,
    VERSION,
    ReceivedRequest,
    ScriptedServer,
    backend_row,
    healthy_backend,
    project,
    region,
    setup_answer,
    webhook,
)

CALLED = "auth setup predict times labels"
DENIED = (401, {"error": "username or password is missing or wrong"})


def test_backend_is_down(servers: ScriptedServers) -> None:
    down = backend_row("http://127.0.0.1:1", state="DI")
    servers.set_label_studio_answer("GET /api/ml/", 200, [down])
    findings = servers.run_doctor()
    assert findings["answers"].status == "problem"
    assert findings["answers"].code == "backend-unreachable"
    assert {findings[name].status for name in (*CALLED.split(), "state", "version")} == {"skipped"}


def test_backend_is_reachable_only_from_label_studio(servers: ScriptedServers) -> None:
    hidden = "http://backend.invalid:9090"
    servers.set_label_studio_answer("GET /api/ml/", 200, [backend_row(hidden)])
    servers.set_label_studio_answer("GET /api/webhooks/", 200, [webhook(hidden)])
    finding = only_finding(servers.run_doctor(), "answers", "skipped", skips=CALLED)
    assert finding.code == "backend-unreachable-from-here"
    assert "--backend" in finding.remedy


def test_backend_url_option_is_used(servers: ScriptedServers) -> None:
    hidden = "http://backend.invalid:9090"
    servers.set_label_studio_answer("GET /api/ml/", 200, [backend_row(hidden)])
    servers.set_label_studio_answer("GET /api/webhooks/", 200, [webhook(hidden)])
    findings = servers.run_doctor(backend_url=servers.backend.url)
    assert {finding.status for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize(
    ("answer", "status"), [((404, {}), "404"), ((500, {}), "500"), ((200, "<html>"), "200")]
)
def test_another_server_answers(
    servers: ScriptedServers, answer: tuple[int, Any], status: str
) -> None:
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, state="DI")]
    )
    servers.set_backend_answer("GET /health", *answer)
    finding = only_finding(servers.run_doctor(), "answers", "problem", skips=f"{CALLED} state")
    assert finding.code == "not-an-ml-backend"
    assert status in finding.sentence


HTML = "<html><head><title>nginx</title></head></html>"
HOST_NOT_SERVED = {"error": "it does not serve that host: give --server-names", "code": "own-code"}
REFUSALS = [
    ((400, HTML), "request-malformed", "https"),
    ((403, HTML), "backend-forbidden", ""),
    ((408, HTML), "request-too-slow", ""),
    ((413, HTML), "body-too-large", "client_max_body_size"),
    ((421, HTML), "host-not-served", "--server-names"),
    ((429, HTML), "too-many-requests", ""),
    ((502, HTML), "proxy-without-backend", "Start the backend"),
    ((503, HTML), "backend-unavailable", ""),
    ((504, HTML), "proxy-timeout", "proxy_read_timeout"),
    *(
        ((status, HOST_NOT_SERVED), "own-code", "Give --server-names.")
        for status in (400, 403, 408, 413, 421, 429, 503)
    ),
]


@pytest.mark.parametrize(
    ("route", "check", "skips"),
    [
        ("GET /health", "answers", CALLED),
        ("POST /setup", "setup", "predict"),
        ("POST /predict", "predict", ""),
        ("POST /webhook", "webhook", ""),
    ],
)
@pytest.mark.parametrize(("answer", "code", "remedy"), REFUSALS)
def test_proxy_or_server_refuses_a_request(
    servers: ScriptedServers,
    route: str,
    check: str,
    skips: str,
    answer: tuple[int, Any],
    code: str,
    remedy: str,
) -> None:
    servers.set_backend_answer(route, *answer)
    finding = only_finding(servers.run_doctor(), check, "problem", skips=skips)
    assert finding.code == code
    assert str(answer[0]) in finding.sentence
    assert remedy in finding.remedy


def test_a_proxy_of_label_studio_refuses_the_host(servers: ScriptedServers) -> None:
    error = "421 Client Error: Misdirected Request for url: http://nginx/setup"
    row = backend_row(servers.backend.url, state="ER", error_message=error)
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert "--server-names" in finding.remedy


def require_login(servers: ScriptedServers) -> None:
    """Make the backend require a username and password."""

    def check_login(asked: ReceivedRequest) -> tuple[int, Any]:
        known = asked.headers.get("Authorization") == "Basic YW5uOnNlY3JldA=="  # ann:secret
        answers = healthy_backend().answers
        answer = answers[f"{asked.method} {asked.path}"] if known else DENIED
        assert not callable(answer)
        return answer

    for path in ("GET /versions", "POST /setup", "POST /predict"):
        servers.backend.script.answers[path] = check_login


def test_label_studio_sends_no_password(servers: ScriptedServers) -> None:
    require_login(servers)
    row = backend_row(servers.backend.url, state="ER", error_message="401 Client Error")
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(
        servers.run_doctor(), "auth", "problem", skips="setup predict state version"
    )
    assert finding.code == "login-missing"


def test_label_studio_sends_a_wrong_password(servers: ScriptedServers) -> None:
    require_login(servers)
    row = backend_row(
        servers.backend.url,
        state="ER",
        error_message="401 Client Error",
        auth_method="BASIC_AUTH",
        basic_auth_user="ann",
    )
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(
        servers.run_doctor(), "auth", "problem", skips="setup predict state version"
    )
    assert finding.code == "login-refused"


def test_checks_are_skipped_without_the_password(servers: ScriptedServers) -> None:
    require_login(servers)
    row = backend_row(servers.backend.url, auth_method="BASIC_AUTH", basic_auth_user="ann")
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(servers.run_doctor(), "setup", "skipped", skips="predict")
    assert finding.code == "doctor-login-missing"


def test_all_checks_run_with_the_password(servers: ScriptedServers) -> None:
    require_login(servers)
    row = backend_row(servers.backend.url, auth_method="BASIC_AUTH", basic_auth_user="ann")
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    findings = servers.run_doctor(login=("ann", "secret"))
    assert {finding.status for finding in findings.values()} == {"ok"}
    wrong = servers.run_doctor(login=("ann", "wrong"))
    finding = only_finding(wrong, "setup", "skipped", skips="predict")
    assert finding.code == "doctor-login-refused"


def test_backend_refuses_the_project(servers: ScriptedServers) -> None:
    servers.set_backend_answer("POST /setup", 422, {"error": "gone: retrain"})
    finding = only_finding(servers.run_doctor(), "setup", "problem", skips="predict")
    assert finding.code == "setup-refused"
    assert finding.sentence.endswith("(HTTP 422): gone: retrain.")


def test_assigned_model_is_named(servers: ScriptedServers) -> None:
    # The address belongs to the default model, whose labels and version are others.
    health = {"status": "UP", "model_class": "Tagalong", "version": "v-0", "labels": ["Gene"]}
    servers.set_backend_answer("GET /health", 200, health)
    setup = setup_answer(model="cardiology", labels=["Disease", "Chemical"])
    servers.set_backend_answer("POST /setup", 200, setup)
    findings = servers.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}
    expected = f"The backend accepts the project, and serves version '{VERSION}' of model "
    assert findings["setup"].sentence == f"{expected}'cardiology'."
    assert "Disease, Chemical" in findings["labels"].sentence


@pytest.mark.parametrize(
    ("changes", "code", "sentence", "remedy"),
    [
        (
            {"assignment_fault": "there is no model 'cardiology'"},
            "assignment-does-not-hold",
            f"The default model answers in place of the assigned one, with version '{VERSION}' of "
            "model 'encoder': there is no model 'cardiology'.",
            "tagalong models assign",
        ),
        (
            {"assignments_error": "/m/.assignments.json cannot be read (cut): move it away"},
            "assignments-unreadable",
            f"The backend serves version '{VERSION}' of model 'encoder' by assignments read "
            "earlier: /m/.assignments.json cannot be read (cut).",
            "Move it away.",
        ),
    ],
)
def test_assignment_that_does_not_hold(
    servers: ScriptedServers, changes: dict[str, str], code: str, sentence: str, remedy: str
) -> None:
    servers.set_backend_answer("POST /setup", 200, setup_answer(**changes))
    finding = only_finding(servers.run_doctor(), "setup", "warning")
    assert (finding.code, finding.sentence) == (code, sentence)
    assert remedy in finding.remedy


def test_address_of_an_unknown_model(servers: ScriptedServers) -> None:
    unknown = {"error": "no model is called 'x': there is encoder", "code": "model-unknown"}
    servers.set_backend_answer("GET /health", 404, unknown)
    skips = "auth setup predict times labels"
    finding = only_finding(servers.run_doctor(), "answers", "problem", skips=skips)
    assert finding.code == "model-unknown"


@pytest.mark.parametrize("answer", [{}, {"model_version": None}, {"model_version": ""}, []])
def test_setup_names_no_version(servers: ScriptedServers, answer: Any) -> None:
    servers.set_backend_answer("POST /setup", 200, answer)
    finding = only_finding(servers.run_doctor(), "setup", "problem", skips="predict version")
    assert finding.code == "setup-without-version"


@pytest.mark.parametrize("results", [[], [{}, {}], None, "none"])
def test_wrong_number_of_results(servers: ScriptedServers, results: Any) -> None:
    servers.set_backend_answer("POST /predict", 200, {"results": results})
    finding = only_finding(servers.run_doctor(), "predict", "problem")
    assert finding.code == "wrong-number-of-results"


def test_prediction_fails(servers: ScriptedServers) -> None:
    servers.set_backend_answer("POST /predict", 500, "<html>Traceback</html>")
    finding = only_finding(servers.run_doctor(), "predict", "problem")
    assert finding.code == "prediction-failed"
    assert "500" in finding.sentence


def test_setup_and_prediction_name_different_versions(servers: ScriptedServers) -> None:
    result = {"model_version": "old-1", "score": 0.9, "result": [region()]}
    servers.set_backend_answer("POST /predict", 200, {"results": [result]})
    finding = only_finding(servers.run_doctor(), "predict", "problem")
    assert finding.code == "version-mismatch"
    assert "'old-1'" in finding.sentence


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("health", "HEALTH_LIMIT_SECONDS"), ("setup", "SETUP_LIMIT_SECONDS")],
)
def test_backend_exceeds_a_timeout_of_label_studio(
    servers: ScriptedServers, monkeypatch: pytest.MonkeyPatch, verb: str, limit: str
) -> None:
    monkeypatch.setattr(backend_responses, limit, 0.2)
    servers.backend.script.delays[f"/{verb}"] = 0.25
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, state="DI")]
    )
    finding = only_finding(servers.run_doctor(), "times", "problem", skips="state")
    assert finding.code == "too-slow"
    assert verb in finding.sentence


def test_backend_near_the_limit_is_a_warning(
    servers: ScriptedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_responses, "SLOW_PREDICTION_SECONDS", 0.2)
    servers.backend.script.delays["/predict"] = 0.3
    finding = only_finding(servers.run_doctor(), "times", "warning")
    assert finding.code == "slow"


def test_setup_never_answers(servers: ScriptedServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagalong.backend.doctor.context.SETUP_TIMEOUT_SECONDS", 0.2)
    servers.backend.script.delays["/setup"] = 0.6
    finding = only_finding(servers.run_doctor(), "setup", "problem", skips="predict")
    assert finding.code == "backend-timeout"


def test_tasks_per_request_are_estimated(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", 200, project(task_number=10_000_000))
    servers.set_label_studio_answer(f"GET {PROJECT}model-versions/", 200, {VERSION: 10_000_000})
    finding = servers.run_doctor()["times"]
    assert finding.status == "ok"
    assert re.search(r"at most [\d,]+ at once", finding.sentence)


def test_requests_are_those_of_label_studio(servers: ScriptedServers) -> None:
    row = backend_row(servers.backend.url, extra_params={"control": "label"})
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    servers.run_doctor()
    (setup,) = [asked for asked in servers.backend.script.requests if asked.path == "/setup"]
    assert setup.body["project"] == "7.1795378435"
    assert setup.body["extra_params"] == {"control": "label"}
    assert setup.body["access_token"] == ""
    (predict,) = [asked for asked in servers.backend.script.requests if asked.path == "/predict"]
    assert predict.body["label_config"] == setup.body["schema"]
    assert [task["id"] for task in predict.body["tasks"]] == [11]
    assert predict.body["params"]["context"] is None


def test_two_backends_on_one_server(servers: ScriptedServers) -> None:
    with ScriptedServer(healthy_backend()) as other:
        other.script.answers = {
            path.replace(" /", " /llm/"): answer for path, answer in other.script.answers.items()
        }
        servers.set_label_studio_answer("GET /api/ml/", 200, [backend_row(f"{other.url}/llm/")])
        servers.set_label_studio_answer("GET /api/webhooks/", 200, [webhook(f"{other.url}/llm")])
        findings = servers.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}
