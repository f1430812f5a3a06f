"""Leftovers of the release that installed four top-level packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tagalong.backend.doctor import old_install
from tagalong.backend.doctor.old_install import MARKER_FILES, find_old_install
from tests.backend.doctor.doctor_runner import ScriptedServers, only_finding

FINDER = "__editable___tagalong_0_1_0_finder.py"


def install_old(site: Path) -> None:
    for package, marker in MARKER_FILES.items():
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").write_text("raise ImportError('old')")
        (site / package / marker).write_text("")


def test_packages_of_an_old_install_are_found(tmp_path: Path) -> None:
    install_old(tmp_path)
    assert find_old_install([tmp_path, tmp_path / "absent"]) == [
        tmp_path / name for name in ("backend", "cli", "ner", "training")
    ]


def test_only_the_old_editable_finder_is_found(tmp_path: Path) -> None:
    finder = tmp_path / FINDER
    finder.write_text("MAPPING: dict[str, str] = {'tagalong': '/src/tagalong'}")
    assert find_old_install([tmp_path]) == []
    finder.write_text("MAPPING: dict[str, str] = {'backend': '/backend', 'cli': '/cli'}")
    assert find_old_install([tmp_path]) == [finder]


def test_packages_of_other_projects_are_ignored(tmp_path: Path) -> None:
    for package in MARKER_FILES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    assert find_old_install([tmp_path]) == []


def test_warning_names_the_folders(
    servers: ScriptedServers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_old(tmp_path)
    monkeypatch.setattr(old_install, "site_directories", lambda: [tmp_path])
    finding = only_finding(servers.run_doctor(), "old_install", "warning")
    assert finding.code == "old-install"
    for package in MARKER_FILES:
        assert str(tmp_path / package) in finding.sentence


def test_environment_with_an_old_install_works(tmp_path: Path) -> None:
    install_old(tmp_path)
    # First in the path, so that a bare import finds the old packages.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    program = (
        "import sys, tagalong.cli.main, tagalong.backend.label_studio.label_config_parser\n"
        "assert not {'ner', 'backend', 'training', 'cli'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
