"""Checks of the connection from Label Studio to the backend."""

import pytest

from tests.backend.doctor.doctor_runner import ScriptedServers, only_finding
from tests.backend.doctor.scripted import backend_row, failed, refused

BANNED = "URL resolves to a reserved network address (block: 127.0.0.0/8)"


def test_no_backend(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/ml/", 200, [])
    skips = "network answers auth setup predict times state version labels webhook"
    finding = only_finding(servers.run_doctor(), "connected", "problem", skips=skips)
    assert finding.code == "no-backend"


def test_no_backend_but_backend_url_option(servers: ScriptedServers) -> None:
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


def test_label_studio_blocks_requests_to_the_address(servers: ScriptedServers) -> None:
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


def test_label_studio_blocks_events_to_the_address(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("POST /api/webhooks/", *failed(403, BANNED))
    finding = only_finding(servers.run_doctor(), "network", "problem")
    assert finding.code == "events-blocked"
    assert "SSRF_PROTECTION_ENABLED=false" in finding.remedy


def test_label_studio_cannot_resolve_the_host(servers: ScriptedServers) -> None:
    down = backend_row("http://tagalong:9090", state="DI")
    servers.set_label_studio_answer("GET /api/ml/", 200, [down])
    servers.set_label_studio_answer(
        "POST /api/ml/", *failed(500, "Can't resolve hostname tagalong")
    )
    finding = servers.run_doctor(backend_url=servers.backend.url)["network"]
    assert finding.code == "unknown-host"


def test_label_studio_refuses_webhook_host_without_dot(servers: ScriptedServers) -> None:
    answer = refused(url=["Enter a valid URL."], project=["Incorrect type."])
    servers.set_label_studio_answer("POST /api/webhooks/", *answer)
    finding = only_finding(servers.run_doctor(), "network", "problem")
    assert finding.code == "host-without-dot"


def test_missing_permission_is_reported(servers: ScriptedServers) -> None:
    detail = "You do not have permission to perform this action."
    servers.set_label_studio_answer("POST /api/ml/", *failed(403, detail))
    finding = only_finding(servers.run_doctor(), "network", "problem")
    assert detail.rstrip(".") in finding.sentence
    assert "ML_BLOCK_LOCAL_IP" not in finding.remedy


@pytest.mark.parametrize("path", ["POST /api/ml/", "POST /api/webhooks/"])
def test_probing_the_settings_creates_nothing(servers: ScriptedServers, path: str) -> None:
    servers.run_doctor()
    sent = [
        asked
        for asked in servers.label_studio.script.requests
        if f"{asked.method} {asked.path}" == path
    ]
    assert [asked.body["project"] for asked in sent] == ["none"]


@pytest.mark.parametrize(
    ("reason", "expected"),
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
def test_label_studio_cannot_reach_the_backend(
    servers: ScriptedServers, reason: str, expected: str
) -> None:
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, state="DI")]
    )
    servers.set_label_studio_answer("GET /api/ml/3/versions", 500, {"error": reason})
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert expected in finding.sentence
    assert "0x7f1" not in finding.sentence
    assert finding.code == "backend-unreachable-from-label-studio"


def test_only_health_fails(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(
        "GET /api/ml/", 200, [backend_row(servers.backend.url, state="DI")]
    )
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert finding.code == "health-failed"


def test_setup_fails_only_for_label_studio(servers: ScriptedServers) -> None:
    error = "500 Server Error: INTERNAL SERVER ERROR for url: http://127.0.0.1:9/setup"
    row = backend_row(servers.backend.url, state="ER", error_message=error)
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    finding = only_finding(servers.run_doctor(), "state", "problem")
    assert finding.code == "setup-failed"
    assert error in finding.sentence
