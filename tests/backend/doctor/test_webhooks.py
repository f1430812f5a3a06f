"""Checks of the webhook: existence, settings and secret."""

from typing import Any

import pytest

from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tests.backend.doctor.scripted import Asked, backend_row, webhook
from tests.backend.doctor.surgery import Surgery, the_only

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
