"""Checks of the connection from Label Studio to the backend."""

from typing import Any

import pytest

from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tests.backend.doctor.scripted import Asked, backend_row, failed, refused, webhook
from tests.backend.doctor.surgery import Surgery, the_only

BANNED = "URL resolves to a reserved network address (block: 127.0.0.0/8)"


def test_no_backend(surgery: Surgery) -> None:
    surgery.studio_says("GET /api/ml/", 200, [])
    skips = "network answers auth setup predict times state version labels webhook"
    finding = the_only(surgery.look(), "connected", "problem", skips=skips)
    assert finding.code == "no-backend"


def test_no_backend_yet_but_one_to_try(surgery: Surgery) -> None:
    surgery.studio_says("GET /api/ml/", 200, [])
    findings = surgery.look(backend_url=surgery.backend.url)
    finding = the_only(findings, "connected", "problem", skips="state version webhook")
    assert surgery.backend.url in finding.remedy


def test_several_backends(surgery: Surgery) -> None:
    url = surgery.backend.url
    rows = [backend_row(url), backend_row(f"{url}/llm", id=9, title="llm-1")]
    surgery.studio_says("GET /api/ml/", 200, rows)
    finding = the_only(surgery.look(), "connected", "warning")
    assert finding.code == "several-backends"
    assert "'llm-1'" in finding.sentence


def test_label_studio_may_not_call_the_address(surgery: Surgery) -> None:
    down = backend_row(surgery.backend.url, state="DI")
    surgery.studio_says("GET /api/ml/", 200, [down])
    surgery.studio_says("POST /api/ml/", *failed(403, BANNED))
    finding = the_only(surgery.look(), "network", "problem", skips="state")
    assert BANNED in finding.sentence
    for switch in (
        "ML_BLOCK_LOCAL_IP=false",
        "SSRF_PROTECTION_ENABLED=false",
        "USE_DEFAULT_BANNED",
    ):
        assert switch in finding.remedy


def test_label_studio_may_not_send_events_to_the_address(surgery: Surgery) -> None:
    surgery.studio_says("POST /api/webhooks/", *failed(403, BANNED))
    finding = the_only(surgery.look(), "network", "problem")
    assert finding.code == "events-blocked"
    assert "SSRF_PROTECTION_ENABLED=false" in finding.remedy


def test_label_studio_does_not_know_the_host(surgery: Surgery) -> None:
    down = backend_row("http://tagalong:9090", state="DI")
    surgery.studio_says("GET /api/ml/", 200, [down])
    surgery.studio_says("POST /api/ml/", *failed(500, "Can't resolve hostname tagalong"))
    finding = surgery.look(backend_url=surgery.backend.url)["network"]
    assert finding.code == "unknown-host"


def test_label_studio_takes_no_webhook_to_a_host_without_a_dot(surgery: Surgery) -> None:
    answer = refused(url=["Enter a valid URL."], project=["Incorrect type."])
    surgery.studio_says("POST /api/webhooks/", *answer)
    finding = the_only(surgery.look(), "network", "problem")
    assert finding.code == "host-without-dot"


def test_a_user_without_permission_sees_the_reason(surgery: Surgery) -> None:
    detail = "You do not have permission to perform this action."
    surgery.studio_says("POST /api/ml/", *failed(403, detail))
    finding = the_only(surgery.look(), "network", "problem")
    assert detail.rstrip(".") in finding.sentence
    assert "ML_BLOCK_LOCAL_IP" not in finding.remedy


@pytest.mark.parametrize("path", ["POST /api/ml/", "POST /api/webhooks/"])
def test_asking_for_the_switches_adds_nothing(surgery: Surgery, path: str) -> None:
    surgery.look()
    sent = [
        asked for asked in surgery.studio.script.asked if f"{asked.method} {asked.path}" == path
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
def test_label_studio_cannot_reach_it(surgery: Surgery, reason: str, said: str) -> None:
    surgery.studio_says("GET /api/ml/", 200, [backend_row(surgery.backend.url, state="DI")])
    surgery.studio_says("GET /api/ml/3/versions", 500, {"error": reason})
    finding = the_only(surgery.look(), "state", "problem")
    assert said in finding.sentence
    assert "0x7f1" not in finding.sentence
    assert finding.code == "backend-unreachable-from-label-studio"


def test_only_the_health_check_fails(surgery: Surgery) -> None:
    surgery.studio_says("GET /api/ml/", 200, [backend_row(surgery.backend.url, state="DI")])
    finding = the_only(surgery.look(), "state", "problem")
    assert finding.code == "health-failed"


def test_the_setup_fails_for_label_studio_alone(surgery: Surgery) -> None:
    error = "500 Server Error: INTERNAL SERVER ERROR for url: http://127.0.0.1:9/setup"
    row = backend_row(surgery.backend.url, state="ER", error_message=error)
    surgery.studio_says("GET /api/ml/", 200, [row])
    finding = the_only(surgery.look(), "state", "problem")
    assert finding.code == "setup-failed"
    assert error in finding.sentence


SECRET = "c0ffee"


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1"])
def test_no_webhook_to_the_backend(surgery: Surgery, url: str | None) -> None:
    surgery.studio_says("GET /api/webhooks/", 200, [webhook(url)] if url else [])
    finding = the_only(surgery.look(), "webhook", "problem")
    assert finding.code == "no-webhook"
    assert f"{surgery.backend.url}/webhook" in finding.sentence


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
    surgery: Surgery, changes: dict[str, Any], status: Any, code: str, value: str
) -> None:
    surgery.studio_says("GET /api/webhooks/", 200, [webhook(surgery.backend.url, **changes)])
    finding = the_only(surgery.look(), "webhook", status)
    assert finding.code == code
    assert value in finding.sentence


def lock(surgery: Surgery) -> None:
    """Make the backend ask for a secret."""

    def door(asked: Asked) -> tuple[int, Any]:
        is_let_in = asked.headers.get(WEBHOOK_SECRET_HEADER) == SECRET
        return (200, {"status": "ignored"}) if is_let_in else (401, {"error": "no secret"})

    surgery.backend.script.answers["POST /webhook"] = door


@pytest.mark.parametrize(
    ("headers", "said"), [({}, "no secret"), ({WEBHOOK_SECRET_HEADER: "wrong"}, "the wrong secret")]
)
def test_a_webhook_without_the_secret(surgery: Surgery, headers: dict[str, str], said: str) -> None:
    lock(surgery)
    rows = [webhook(surgery.backend.url, headers=headers)]
    surgery.studio_says("GET /api/webhooks/", 200, rows)
    finding = the_only(surgery.look(), "webhook", "problem")
    assert finding.code == "webhook-secret"
    assert said in finding.sentence
    assert WEBHOOK_SECRET_HEADER in finding.remedy


def let_the_webhook_in(surgery: Surgery) -> None:
    lock(surgery)
    rows = [webhook(surgery.backend.url, headers={WEBHOOK_SECRET_HEADER: SECRET})]
    surgery.studio_says("GET /api/webhooks/", 200, rows)


def test_a_webhook_with_the_secret(surgery: Surgery) -> None:
    let_the_webhook_in(surgery)
    surgery.backend_says("GET /versions", 401, {"error": "username or password is missing"})
    row = backend_row(surgery.backend.url, auth_method="BASIC_AUTH")
    surgery.studio_says("GET /api/ml/", 200, [row])
    findings = surgery.look()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert SECRET not in "".join(map(str, findings.values()))


def test_a_secret_without_a_password_turns_the_train_button_away(surgery: Surgery) -> None:
    let_the_webhook_in(surgery)
    finding = the_only(surgery.look(), "webhook", "warning")
    assert finding.code == "train-button"
    assert SECRET not in str(finding)


def test_a_backend_that_is_not_ours_gets_no_event(surgery: Surgery) -> None:
    surgery.backend_says("GET /health", 200, {"status": "UP", "model_class": "BertForNer"})
    surgery.look()
    assert "POST /webhook" not in surgery.backend.script.paths()


def test_a_webhook_switched_off_beside_one_that_is_on(surgery: Surgery) -> None:
    url = surgery.backend.url
    rows = [webhook(url, is_active=False), webhook(url, id=5)]
    surgery.studio_says("GET /api/webhooks/", 200, rows)
    assert surgery.look()["webhook"].status == "ok"
