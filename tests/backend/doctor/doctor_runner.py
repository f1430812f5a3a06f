"""Run the doctor on a scripted Label Studio and a scripted backend.

Each test breaks one part of a healthy setup and expects one finding. All other findings are ok,
except those that the test names as skipped.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from tagalong.backend.doctor import backend_responses, old_install
from tagalong.backend.doctor.checks import CHECKS, run_checks
from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.doctor.finding import CheckStatus, DoctorFinding
from tests.backend.doctor.scripted import ScriptedServer, healthy_backend, healthy_label_studio

KEY = "9f2c" * 10  # a legacy token

Findings = Mapping[str, DoctorFinding]


@contextmanager
def open_scripted_servers() -> Iterator["ScriptedServers"]:
    """Start a healthy Label Studio and a healthy backend."""
    with (
        patch.object(old_install, "site_directories", return_value=[]),  # of the test environment
        # On a busy machine, answers are slow. Tests must not measure time.
        patch.multiple(backend_responses, HEALTH_LIMIT_SECONDS=60.0, SETUP_LIMIT_SECONDS=60.0),
        ScriptedServer(healthy_backend()) as backend,
        ScriptedServer(healthy_label_studio(backend.url)) as label_studio,
    ):
        yield ScriptedServers(label_studio, backend)


@dataclass(frozen=True)
class ScriptedServers:
    label_studio: ScriptedServer
    backend: ScriptedServer

    def run_doctor(self, *, key: str = KEY, number: int = 7, **more: Any) -> Findings:
        return run_doctor(DoctorOptions(self.label_studio.url, key, number, **more))

    def set_label_studio_answer(self, path: str, status: int, body: Any) -> None:
        self.label_studio.script.answers[path] = (status, body)

    def set_backend_answer(self, path: str, status: int, body: Any) -> None:
        self.backend.script.answers[path] = (status, body)


def run_doctor(options: DoctorOptions, *, fix: bool = False) -> Findings:
    findings = {finding.check: finding for finding in run_checks(options, fix=fix)}
    assert list(findings) == [check.name for check in CHECKS]
    for finding in findings.values():
        assert finding.sentence.endswith((".", "..."))
        assert "Traceback" not in finding.sentence
        assert len(options.key) < 9 or options.key not in finding.sentence + finding.remedy
        assert bool(finding.remedy) == (finding.status in ("warning", "problem")) or (
            finding.status == "skipped"
        ), finding
        assert (finding.code == "ok") == (finding.status == "ok")
    return findings


def only_finding(
    findings: Findings, name: str, status: CheckStatus, *, skips: str = ""
) -> DoctorFinding:
    """Check that one finding is not ok, and return it.

    Args:
        findings: Findings of all checks.
        name: Name of the check.
        status: Expected status of the finding.
        skips: Names of the skipped checks, separated by spaces.
    """
    others = {other: found.status for other, found in findings.items() if other != name}
    expected = {other: "skipped" if other in skips.split() else "ok" for other in others}
    assert others == expected, [str(found) for found in findings.values() if found.status != "ok"]
    finding = findings[name]
    assert finding.status == status, finding
    return finding
