"""Check of the project's webhook."""

from typing import Any

import pytest

from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tests.backend.doctor.doctor_runner import ScriptedServers, only_finding
from tests.backend.doctor.scripted import ReceivedRequest, backend_row, webhook

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
            "ANNOTATIONS_CREATED, ANNOTATION_UPDATED, ANNOTATIONS_DELETED",
        ),
    ],
)
def test_webhook_without_payload_or_some_actions(
    servers: ScriptedServers, changes: dict[str, Any], status: Any, code: str, value: str
) -> None:
    servers.set_label_studio_answer(
        "GET /api/webhooks/", 200, [webhook(servers.backend.url, **changes)]
    )
    finding = only_finding(servers.run_doctor(), "webhook", status)
    assert finding.code == code
    assert value in finding.sentence


def require_secret(servers: ScriptedServers) -> None:
    """Make the backend require the webhook secret."""

    def check_secret(asked: ReceivedRequest) -> tuple[int, Any]:
        is_let_in = asked.headers.get(WEBHOOK_SECRET_HEADER) == SECRET
        return (200, {"status": "ignored"}) if is_let_in else (401, {"error": "no secret"})

    servers.backend.script.answers["POST /webhook"] = check_secret


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, "no secret"), ({WEBHOOK_SECRET_HEADER: "wrong"}, "the wrong secret")],
)
def test_webhook_without_the_secret(
    servers: ScriptedServers, headers: dict[str, str], expected: str
) -> None:
    require_secret(servers)
    rows = [webhook(servers.backend.url, headers=headers)]
    servers.set_label_studio_answer("GET /api/webhooks/", 200, rows)
    finding = only_finding(servers.run_doctor(), "webhook", "problem")
    assert finding.code == "webhook-secret"
    assert expected in finding.sentence
    assert WEBHOOK_SECRET_HEADER in finding.remedy


def add_webhook_with_secret(servers: ScriptedServers) -> None:
    require_secret(servers)
    rows = [webhook(servers.backend.url, headers={WEBHOOK_SECRET_HEADER: SECRET})]
    servers.set_label_studio_answer("GET /api/webhooks/", 200, rows)


def test_webhook_with_the_secret(servers: ScriptedServers) -> None:
    add_webhook_with_secret(servers)
    servers.set_backend_answer("GET /versions", 401, {"error": "username or password is missing"})
    row = backend_row(servers.backend.url, auth_method="BASIC_AUTH")
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    findings = servers.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert SECRET not in "".join(map(str, findings.values()))


def test_secret_without_password_disables_the_train_button(servers: ScriptedServers) -> None:
    add_webhook_with_secret(servers)
    finding = only_finding(servers.run_doctor(), "webhook", "warning")
    assert finding.code == "train-button"
    assert SECRET not in str(finding)


def test_other_backends_get_no_test_event(servers: ScriptedServers) -> None:
    servers.set_backend_answer("GET /health", 200, {"status": "UP", "model_class": "BertForNer"})
    servers.run_doctor()
    assert "POST /webhook" not in servers.backend.script.paths()


def test_inactive_webhook_beside_an_active_one(servers: ScriptedServers) -> None:
    url = servers.backend.url
    rows = [webhook(url, is_active=False), webhook(url, id=5)]
    servers.set_label_studio_answer("GET /api/webhooks/", 200, rows)
    assert servers.run_doctor()["webhook"].status == "ok"
