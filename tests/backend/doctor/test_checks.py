"""The order of the checks and their time limit."""

from itertools import pairwise

import pytest

from tagalong.backend.doctor.checks import CHECKS, is_healthy, run_checks
from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.doctor.finding import DoctorFinding
from tests.backend.doctor.doctor_runner import KEY, ScriptedServers
from tests.backend.doctor.scripted import PROJECT, failed


def test_every_check_comes_after_those_it_builds_on() -> None:
    names = [check.name for check in CHECKS]
    assert len({*names}) == len(names)
    for number, check in enumerate(CHECKS):
        assert {*check.requires, *check.explained_by} <= {*names[:number]}


@pytest.mark.parametrize(
    ("statuses", "healthy"), [("ok warning skipped", True), ("ok problem", False), ("", True)]
)
def test_only_a_problem_is_unhealthy(statuses: str, healthy: bool) -> None:
    findings = [DoctorFinding("a", "A", status, "B.") for status in statuses.split()]  # type: ignore[arg-type]
    assert is_healthy(findings) is healthy


def test_it_stops_when_it_took_too_long(servers: ScriptedServers) -> None:
    findings = list(
        run_checks(DoctorOptions(servers.label_studio.url, KEY, 7), time_limit_seconds=-1.0)
    )
    assert {finding.status for finding in findings} == {"skipped"}
    assert findings[0].code == "out-of-time"
    assert servers.label_studio.script.requests == []


def test_a_cause_is_named_and_not_what_lies_between(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", *failed(404, "Not found."))
    findings = list(run_checks(DoctorOptions(servers.label_studio.url, KEY, 7)))
    skipped = {(one.code, one.sentence) for one in findings if one.status == "skipped"}
    ((code, sentence),) = skipped
    assert code == "blocked"
    assert "'Project'" in sentence


def test_label_studio_fails_amid_it(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/webhooks/", *failed(500, "database is locked"))
    findings = {
        found.check: found for found in run_checks(DoctorOptions(servers.label_studio.url, KEY, 7))
    }
    assert findings["webhook"].status == "problem"
    assert findings["webhook"].code == "label-studio-failed"
    assert findings["stored"].status == "ok"


def test_findings_come_as_they_are_found(servers: ScriptedServers) -> None:
    found = run_checks(DoctorOptions(servers.label_studio.url, KEY, 7))
    next(found)
    assert servers.label_studio.script.paths() == ["GET /api/version/"]
    checks = [finding.check for finding in found]
    assert [check.name for check in CHECKS[1:]] == checks
    assert all(one != other for one, other in pairwise(checks))


def test_nothing_is_changed(servers: ScriptedServers) -> None:
    list(run_checks(DoctorOptions(servers.label_studio.url, KEY, 7)))
    probes = {"POST /api/ml/", "POST /api/webhooks/", f"POST {PROJECT}import/predictions"}
    written = {path for path in servers.label_studio.script.paths() if not path.startswith("GET ")}
    assert written == probes
