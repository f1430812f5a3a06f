"""Checks of the connection from Label Studio to the backend."""

from typing import Any

import pytest

from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tests.backend.doctor.doctor_runner import ScriptedServers, only_finding
from tests.backend.doctor.scripted import ReceivedRequest, backend_row, failed, refused, webhook

BANNED = "URL resolves to a reserved network address (block: 127.0.0.0/8)"


def test_no_backend(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/ml/", 200, [])
    skips = "network answers auth setup predict times state version labels webhook"
    finding = only_finding(servers.run_doctor(), "connected", "problem", skips=skips)
    assert finding.code == "no-backend"


def test_no_backend_yet_but_one_to_try(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/ml/", 200, [])
    findings = servers.run_doctor(backend_url=servers.backend.url)
    finding = only_finding(findings, "connected", "problem", skips="state version webhook")
    assert servers.backend.url in finding.remedy


def test_several_backends(servers: ScriptedServers) -> None:
    url = servers.backend.url
    rows = [backend_row(url), backend_row(f"{url}/llm", id=9, title="llm-1")]
    servers.set_label_studio_answer("GET /api/ml/", 200, rows)
    finding = only_finding(servers.run_doctor(), "connected", "warning")
    assert finding.code == "several-backends"
    assert "'llm-1'" in finding.sentence


def test_label_studio_may_not_call_the_address(servers: ScriptedServers) -> None:
    down = backend_row(servers.backend.url, state="DI")
    servers.set_label_studio_answer("GET /api/ml/", 200, [down])
    servers.set_label_studio_answer("POST /api/ml/", *failed(403, BANNED))
    finding = only_finding(servers.run_doctor(), "network", "problem", skips="state")
    assert BANNED in finding.sentence
    for switch in (
        "ML_BLOCK_LOCAL_IP=false",
        "SSRF_PROTECTION_ENABLED=false",
        "USE_DEFAULT_BANNED",
    ):
        assert switch in finding.remedy


def test_label_studio_may_not_send_events_to_the_address(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("POST /api/webhooks/", *failed(403, BANNED))
    finding = only_finding(servers.run_doctor(), "network", "problem")
    assert finding.code == "events-blocked"
    assert "SSRF_PROTECTION_ENABLED=false" in finding.remedy


def test_label_studio_does_not_know_the_host(servers: ScriptedServers) -> None:
    down = backend_row("http://tagalong:9090", state="DI")
    servers.set_label_studio_answer("GET /api/ml/", 200, [down])
    servers.set_label_studio_answer(
        "POST /api/ml/", *failed(500, "Can't resolve hostname tagalong")
    )
    finding = servers.run_doctor(backend_url=servers.backend.url)["network"]
    assert finding.code == "unknown-host"


def test_label_studio_takes_no_webhook_to_a_host_without_a_dot(servers: ScriptedServers) -> None:
    answer = refused(url=["Enter a valid URL."], project=["Incorrect type."])
    servers.set_label_studio_answer("POST /api/webhooks/", *answer)
    finding = only_finding(servers.run_doctor(), "network", "problem")
    assert finding.code == "host-without-dot"


def test_a_user_without_permission_sees_the_reason(servers: ScriptedServers) -> None:
    detail = "You do not have permission to perform this action."
    servers.set_label_studio_answer("POST /api/ml/", *failed(403, detail))
    finding = only_finding(servers.run_doctor(), "network", "problem")
    assert detail.rstrip(".") in finding.sentence
    assert "ML_BLOCK_LOCAL_IP" not in finding.remedy


@pytest.mark.parametrize("path", ["POST /api/ml/", "POST /api/webhooks/"])
def test_asking_for_the_switches_adds_nothing(servers: ScriptedServers, path: str) -> None:
    servers.run_doctor()
    sent = [
        asked
        for asked in servers.label_studio.script.requests
        if f"{asked.method} {asked.path}" == path
    ]
    assert [asked.body["project"] for asked in sent] == ["none"]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded with url: "
            "/versions (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object at "
            "0x7f1>: Failed to establish a new connection: [Errno 111] Connection refused'))",
            "[Errno 111] Connection refused.",
        ),
        ("502 Server Error: Bad Gateway for url: http://b/versions", "Bad Gateway"),
    ],
)
def test_label_studio_cannot_reach_it(servers: ScriptedServers, reason: str, said: str) -> None:
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, state="DI")]
    )
    servers.set_label_studio_answer("GET /api/ml/3/versions", 500, {"error": reason})
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert said in finding.sentence
    assert "0x7f1" not in finding.sentence
    assert finding.code == "backend-unreachable-from-label-studio"


def test_only_the_health_check_fails(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, state="DI")]
    )
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert finding.code == "health-failed"


def test_the_setup_fails_for_label_studio_alone(servers: ScriptedServers) -> None:
    error = "500 Server Error: INTERNAL SERVER ERROR for url: http://127.0.0.1:9/setup"
    row = backend_row(servers.backend.url, state="ER", error_message=error)
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert finding.code == "setup-failed"
    assert error in finding.sentence


SECRET = "c0ffee"


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1"])
def test_no_webhook_to_the_backend(servers: ScriptedServers, url: str | None) -> None:
    servers.set_label_studio_answer("GET /api/webhooks/", 200, [webhook(url)] if url else [])
    finding = only_finding(servers.run_doctor(), "webhook", "problem")
    assert finding.code == "no-webhook"
    assert f"{servers.backend.url}/webhook" in finding.sentence


@pytest.mark.parametrize(
    ("changes", "status", "code", "value"),
    [
        ({"is_active": False}, "problem", "webhook-off", ""),
        ({"send_payload": False}, "warning", "webhook-without-payload", ""),
        (
            {"send_for_all_actions": False, "actions": ["ANNOTATION_CREATED", "TASKS_CREATED"]},
            "warning",
            "webhook-actions-missing",
            "ANNOTATION_UPDATED, ANNOTATIONS_DELETED",
        ),
    ],
)
def test_a_webhook_that_does_not_send_all(
    servers: ScriptedServers, changes: dict[str, Any], status: Any, code: str, value: str
) -> None:
    servers.set_label_studio_answer(
        "GET /api/webhooks/", 200, [webhook(servers.backend.url, **changes)]
    )
    finding = only_finding(servers.run_doctor(), "webhook", status)
    assert finding.code == code
    assert value in finding.sentence


def lock(servers: ScriptedServers) -> None:
    """Make the backend ask for a secret."""

    def door(asked: ReceivedRequest) -> tuple[int, Any]:
        is_let_in = asked.headers.get(WEBHOOK_SECRET_HEADER) == SECRET
        return (200, {"status": "ignored"}) if is_let_in else (401, {"error": "no secret"})

    servers.backend.script.answers["POST /webhook"] = door


@pytest.mark.parametrize(
    ("headers", "said"), [({}, "no secret"), ({WEBHOOK_SECRET_HEADER: "wrong"}, "the wrong secret")]
)
def test_a_webhook_without_the_secret(
    servers: ScriptedServers, headers: dict[str, str], said: str
) -> None:
    lock(servers)
    rows = [webhook(servers.backend.url, headers=headers)]
    servers.set_label_studio_answer("GET /api/webhooks/", 200, rows)
    finding = only_finding(servers.run_doctor(), "webhook", "problem")
    assert finding.code == "webhook-secret"
    assert said in finding.sentence
    assert WEBHOOK_SECRET_HEADER in finding.remedy


def let_the_webhook_in(servers: ScriptedServers) -> None:
    lock(servers)
    rows = [webhook(servers.backend.url, headers={WEBHOOK_SECRET_HEADER: SECRET})]
    servers.set_label_studio_answer("GET /api/webhooks/", 200, rows)


def test_a_webhook_with_the_secret(servers: ScriptedServers) -> None:
    let_the_webhook_in(servers)
    servers.set_backend_answer("GET /versions", 401, {"error": "username or password is missing"})
    row = backend_row(servers.backend.url, auth_method="BASIC_AUTH")
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    findings = servers.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert SECRET not in "".join(map(str, findings.values()))


def test_a_secret_without_a_password_turns_the_train_button_away(servers: ScriptedServers) -> None:
    let_the_webhook_in(servers)
    finding = only_finding(servers.run_doctor(), "webhook", "warning")
    assert finding.code == "train-button"
    assert SECRET not in str(finding)


def test_a_backend_that_is_not_ours_gets_no_event(servers: ScriptedServers) -> None:
    servers.set_backend_answer("GET /health", 200, {"status": "UP", "model_class": "BertForNer"})
    servers.run_doctor()
    assert "POST /webhook" not in servers.backend.script.paths()


def test_a_webhook_switched_off_beside_one_that_is_on(servers: ScriptedServers) -> None:
    url = servers.backend.url
    rows = [webhook(url, is_active=False), webhook(url, id=5)]
    servers.set_label_studio_answer("GET /api/webhooks/", 200, rows)
    assert servers.run_doctor()["webhook"].status == "ok"
