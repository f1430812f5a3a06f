"""Continuous integration installs missing packages only."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci" / "run"
TELL = 'echo "$(basename "$0") $*" >> "$LOG"'
UPDATE, MAKE = "apt-get update", "make test"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Run it with fake commands that print their arguments."""

    def run(**commands: str | None) -> tuple[int, list[str]]:
        bash = shutil.which("bash")
        assert bash is not None
        commands_at, log = tmp_path / "bin", tmp_path / "log"
        commands_at.mkdir()
        log.touch()
        for real in ("dirname", "basename", "env", "ln"):
            found = shutil.which(real)
            assert found is not None
            (commands_at / real).symlink_to(found)
        usual = {"sudo": '"$@"', "python3": "", "chromium": "", "nginx": ""}
        for name, body in (usual | commands).items():
            if body is None:
                continue
            path = commands_at / name.replace("_", "-")
            path.write_text(f"#!{bash}\n{body}\n", encoding="utf-8")
            path.chmod(0o755)
        environment = {"PATH": str(commands_at), "LOG": str(log)}
        done = subprocess.run([bash, RUN], check=False, capture_output=True, env=environment)
        return done.returncode, log.read_text(encoding="utf-8").splitlines()

    return run


def install(*packages: str) -> str:
    return " ".join(["apt-get install --yes --no-install-recommends", *packages])


def test_nothing_missing_installs_nothing(run) -> None:
    assert run(make=TELL, apt_get=TELL) == (0, [MAKE])


def test_missing_packages_are_installed(run) -> None:
    brings_make = f'{TELL}; ln -sf apt-get "$(dirname "$0")/make"'
    expected_commands = [UPDATE, install("make", "python3-venv"), MAKE]
    assert run(apt_get=brings_make, python3="exit 1") == (0, expected_commands)


def test_only_missing_packages_are_installed(run) -> None:
    expected_commands = [UPDATE, install("python3-venv"), MAKE]
    assert run(make=TELL, apt_get=TELL, python3="exit 1") == (0, expected_commands)


def test_browser_is_installed_with_fonts(run) -> None:
    browser = install("chromium", "fonts-dejavu-core", "fonts-noto-color-emoji")
    assert run(make=TELL, apt_get=TELL, chromium=None) == (0, [UPDATE, browser, MAKE])


def test_proxy_is_installed(run) -> None:
    assert run(make=TELL, apt_get=TELL, nginx=None) == (0, [UPDATE, install("nginx-light"), MAKE])


def test_make_runs_without_apt_get(run) -> None:
    assert run(make=TELL, python3="exit 1") == (0, [MAKE])


def test_failed_installation_ends_the_run(run) -> None:
    assert run(make=TELL, apt_get=f"{TELL}; exit 9", python3="exit 1") == (9, [UPDATE])


def test_failed_tests_end_the_run(run) -> None:
    assert run(make=f"{TELL}; exit 2") == (2, [MAKE])
