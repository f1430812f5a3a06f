"""Continuous integration installs what a fresh machine lacks, and nothing else."""

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
    """Run it on a machine that has some commands, each only telling how it was called."""

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
        usual = {"sudo": '"$@"', "python3": "", "chromium": ""}
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


def test_where_nothing_is_missing_nothing_is_installed(run) -> None:
    assert run(make=TELL, apt_get=TELL) == (0, [MAKE])


def test_what_is_missing_is_installed(run) -> None:
    brings_make = f'{TELL}; ln -sf apt-get "$(dirname "$0")/make"'
    told = [UPDATE, install("make", "python3-venv"), MAKE]
    assert run(apt_get=brings_make, python3="exit 1") == (0, told)


def test_only_what_is_missing_is_installed(run) -> None:
    told = [UPDATE, install("python3-venv"), MAKE]
    assert run(make=TELL, apt_get=TELL, python3="exit 1") == (0, told)


def test_a_browser_is_installed_with_letters_to_show(run) -> None:
    browser = install("chromium", "fonts-dejavu-core", "fonts-noto-color-emoji")
    assert run(make=TELL, apt_get=TELL, chromium=None) == (0, [UPDATE, browser, MAKE])


def test_without_apt_get_make_is_tried_all_the_same(run) -> None:
    assert run(make=TELL, python3="exit 1") == (0, [MAKE])


def test_an_installation_that_fails_ends_it(run) -> None:
    assert run(make=TELL, apt_get=f"{TELL}; exit 9", python3="exit 1") == (9, [UPDATE])


def test_tests_that_fail_end_it(run) -> None:
    assert run(make=f"{TELL}; exit 2") == (2, [MAKE])
