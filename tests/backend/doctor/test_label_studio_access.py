"""Checks of Label Studio, the key and the project."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from tagalong.backend.doctor.context import DoctorOptions
from tests.backend.doctor.doctor_runner import KEY, ScriptedServers, only_finding, run_doctor
from tests.backend.doctor.scripted import failed, project

FIRST = (
    "project config tasks tabs connected network answers auth setup predict times state shown "
    "version labels annotations webhook validation stored"
)
SIGNED = "x" * 32
LATER = datetime(2126, 1, 1, tzinfo=UTC)


def token(kind: str = "refresh", expires: datetime = LATER) -> str:
    return jwt.encode({"token_type": kind, "exp": expires, "user_id": 1}, SIGNED)


def test_healthy_setup_has_only_ok_findings(servers: ScriptedServers) -> None:
    findings = servers.run_doctor()
    assert {finding.status for finding in findings.values()} == {"ok"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1", "label-studio-unreachable"),
        ("http://label-studio.invalid", "label-studio-unreachable"),
        ("ftp://127.0.0.1", "label-studio-address"),
        ("label studio", "label-studio-address"),
        ("http://ann:secret@127.0.0.1", "label-studio-address"),
    ],
)
def test_no_label_studio(url: str, code: str) -> None:
    finding = only_finding(
        run_doctor(DoctorOptions(url, KEY, 7)), "label_studio", "problem", skips=f"key {FIRST}"
    )
    assert finding.code == code
    assert "secret" not in finding.sentence


def test_label_studio_is_too_slow(servers: ScriptedServers) -> None:
    servers.label_studio.script.delays["/api/version/"] = 0.5
    findings = servers.run_doctor(label_studio_timeout_seconds=0.1)
    finding = only_finding(findings, "label_studio", "problem", skips=f"key {FIRST}")
    assert finding.code == "label-studio-slow"


@pytest.mark.parametrize("answer", [(200, "<html>Log in</html>"), (200, {}), (404, "")])
def test_another_server_answers(servers: ScriptedServers, answer: tuple[int, object]) -> None:
    servers.set_label_studio_answer("GET /api/version/", *answer)
    finding = only_finding(servers.run_doctor(), "label_studio", "problem", skips=f"key {FIRST}")
    assert finding.code == "label-studio-foreign"


@pytest.mark.parametrize("release", ["1.15.0", "1.24.0", "2.0.0"])
def test_other_release_is_a_warning(servers: ScriptedServers, release: str) -> None:
    servers.set_label_studio_answer("GET /api/version/", 200, {"release": release})
    finding = only_finding(servers.run_doctor(), "label_studio", "warning")
    assert release in finding.sentence
    assert "1.23.2" in finding.remedy


def test_patch_release_is_ok(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/version/", 200, {"release": "1.23.9"})
    assert servers.run_doctor()["label_studio"].status == "ok"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (token().rpartition(".")[0], "key-incomplete"),
        (f"{token()[:30]}.{'x' * 9}.{'x' * 9}", "key-damaged"),
        (token("access"), "key-short-lived"),
        (token(expires=datetime.now(UTC) - timedelta(days=3)), "key-expired"),
    ],
)
def test_malformed_key_is_never_sent(servers: ScriptedServers, key: str, code: str) -> None:
    finding = only_finding(servers.run_doctor(key=key), "key", "problem", skips=FIRST)
    assert finding.code == code
    assert servers.label_studio.script.paths() == ["GET /api/version/"]


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        (
            "Authentication token no longer valid: legacy token authentication has been disabled "
            "for this organization",
            "legacy-tokens-off",
        ),
        ("Invalid token.", "key-unknown"),
    ],
)
def test_refused_legacy_token(servers: ScriptedServers, detail: str, code: str) -> None:
    servers.set_label_studio_answer("GET /api/current-user/whoami", *failed(401, detail))
    finding = only_finding(servers.run_doctor(), "key", "problem", skips=FIRST)
    assert finding.code == code


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # the SDK's own call
def test_accepted_personal_token(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("POST /api/token/refresh/", 200, {"access": token("access")})
    finding = servers.run_doctor(key=token())["key"]
    assert (finding.status, finding.sentence) == (
        "ok",
        "The key is a personal token of ann@example.org.",
    )


@pytest.mark.parametrize(
    ("detail", "code"),
    [("Token is blacklisted", "key-revoked"), ("Token is invalid", "key-unknown")],
)
def test_refused_personal_token(servers: ScriptedServers, detail: str, code: str) -> None:
    servers.set_label_studio_answer("POST /api/token/refresh/", 401, {"detail": detail})
    finding = only_finding(servers.run_doctor(key=token()), "key", "problem", skips=FIRST)
    assert finding.code == code


@pytest.mark.parametrize("key", ["", " ", "two words", "ключ"])
def test_invalid_key(servers: ScriptedServers, key: str) -> None:
    finding = only_finding(servers.run_doctor(key=key), "key", "problem", skips=FIRST)
    assert finding.remedy


@pytest.mark.parametrize("count", [0, 1, 8])
def test_missing_project(servers: ScriptedServers, count: int) -> None:
    visible = [project(id=number, title=f"P{number}") for number in range(count)]
    servers.set_label_studio_answer("GET /api/projects/", 200, {"count": count, "results": visible})
    skips = FIRST.removeprefix("project ")
    finding = only_finding(servers.run_doctor(number=9), "project", "problem", skips=skips)
    assert finding.code == "no-such-project"
    assert finding.sentence.count("('P") == min(count, 5)
    assert ("3 more" in finding.sentence) == (count == 8)


def test_label_studio_internal_error(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/projects/7/", *failed(500, "locked"))
    skips = FIRST.removeprefix("project ")
    finding = only_finding(servers.run_doctor(), "project", "problem", skips=skips)
    assert finding.code == "label-studio-failed"
    assert "locked" in finding.sentence
