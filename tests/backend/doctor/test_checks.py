"""The order of the checks and their time limit."""

from itertools import pairwise

import pytest

from tagalong.backend.doctor.checks import CHECKS, is_healthy, run_checks
from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.doctor.finding import DoctorFinding
from tests.backend.doctor.doctor_runner import KEY, ScriptedServers
from tests.backend.doctor.scripted import PROJECT, failed


def test_checks_follow_their_requirements() -> None:
    names = [check.name for check in CHECKS]
    assert len({*names}) == len(names)
    for number, check in enumerate(CHECKS):
        assert {*check.requires, *check.explained_by} <= {*names[:number]}


@pytest.mark.parametrize(
    ("statuses", "healthy"), [("ok warning skipped", True), ("ok problem", False), ("", True)]
)
def test_only_problems_are_unhealthy(statuses: str, healthy: bool) -> None:
    findings = [DoctorFinding("a", "A", status, "B.") for status in statuses.split()]  # type: ignore[arg-type]
    assert is_healthy(findings) is healthy


def test_checks_stop_at_the_time_limit(servers: ScriptedServers) -> None:
    findings = list(
        run_checks(DoctorOptions(servers.label_studio.url, KEY, 7), time_limit_seconds=-1.0)
    )
    assert {finding.status for finding in findings} == {"skipped"}
    assert findings[0].code == "out-of-time"
    assert servers.label_studio.script.requests == []


def test_skipped_checks_name_the_root_cause(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer(f"GET {PROJECT}", *failed(404, "Not found."))
    findings = list(run_checks(DoctorOptions(servers.label_studio.url, KEY, 7)))
    skipped = {(one.code, one.sentence) for one in findings if one.status == "skipped"}
    ((code, sentence),) = skipped
    assert code == "blocked"
    assert "'Project'" in sentence


def test_label_studio_fails_during_a_check(servers: ScriptedServers) -> None:
    servers.set_label_studio_answer("GET /api/webhooks/", *failed(500, "database is locked"))
    findings = {
        found.check: found for found in run_checks(DoctorOptions(servers.label_studio.url, KEY, 7))
    }
    assert findings["webhook"].status == "problem"
    assert findings["webhook"].code == "label-studio-failed"
    assert findings["stored"].status == "ok"


def test_findings_are_yielded_one_by_one(servers: ScriptedServers) -> None:
    found = run_checks(DoctorOptions(servers.label_studio.url, KEY, 7))
    next(found)
    assert servers.label_studio.script.paths() == ["GET /api/version/"]
    checks = [finding.check for finding in found]
    assert [check.name for check in CHECKS[1:]] == checks
    assert all(one != other for one, other in pairwise(checks))


def test_doctor_changes_nothing(servers: ScriptedServers) -> None:
    list(run_checks(DoctorOptions(servers.label_studio.url, KEY, 7)))
    probes = {"POST /api/ml/", "POST /api/webhooks/", f"POST {PROJECT}import/predictions"}
    written = {path for path in servers.label_studio.script.paths() if not path.startswith("GET ")}
    assert written == probes
