"""The whole demo with replacements for both servers."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tagalong.backend.demo import session
from tagalong.backend.demo.session import DemoOptions, open_demo
from tagalong.backend.demo.supervised_process import find_free_port
from tagalong.ner.errors import LabelStudioError
from tests.backend.demo.conftest import Script
from tests.backend.demo.test_supervised_process import is_running, wait_until
from tests.errors import raises


@pytest.fixture
def plan(toy_program: Path, toy_serve: Sequence[str], tmp_path: Path) -> DemoOptions:
    return DemoOptions(
        tmp_path / "home", toy_serve, find_free_port(), find_free_port(), toy_program
    )


@contextmanager
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_demo_starts_stops_and_resumes(plan: DemoOptions) -> None:
    steps: list[str] = []
    for resumed in (False, True):
        with open_demo(plan, steps.append) as demo:
            pids = [demo.label_studio.process.pid, demo.backend.pid]
            assert demo.demo_project.is_resumed == resumed
            assert demo.demo_project.project.prediction_count == 12
            assert demo.url.endswith("/projects/1/data")
        assert not any(map(is_running, pids))
    assert steps[:3] == ["Starting Label Studio", "Starting the backend", "Preparing the project"]


def test_home_is_locked_by_one_demo(plan: DemoOptions) -> None:
    with open_demo(plan), raises(LabelStudioError, "demo-already-running"):
        open_demo(plan).__enter__()


@pytest.mark.parametrize("which", ["label_studio_port", "backend_port"])
def test_taken_requested_port_is_reported(plan: DemoOptions, which: str) -> None:
    with taken() as port:
        asked = replace(plan, **{which: port})
        with raises(LabelStudioError, "port-taken"):
            open_demo(asked).__enter__()
    with raises(LabelStudioError, "port-taken"):
        open_demo(
            DemoOptions(
                plan.home,
                plan.serve_command,
                plan.label_studio_port,
                plan.label_studio_port,
                plan.label_studio_program,
            )
        ).__enter__()


def test_taken_default_port_is_replaced_by_a_free_one(
    plan: DemoOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with taken() as port:
        monkeypatch.setattr(session, "LABEL_STUDIO_PORT", port)
        monkeypatch.setattr(session, "BACKEND_PORT", port)
        with open_demo(
            DemoOptions(
                plan.home, plan.serve_command, label_studio_program=plan.label_studio_program
            )
        ) as demo:
            assert f":{port}" not in demo.label_studio.url + demo.demo_project.backend.url


def test_early_exit_of_the_backend_stops_everything(plan: DemoOptions, script: Script) -> None:
    broken = script("echo no module named torch; exit 1")
    asked = DemoOptions(
        plan.home,
        [str(broken)],
        plan.label_studio_port,
        plan.backend_port,
        plan.label_studio_program,
    )
    with raises(LabelStudioError, "process-ended") as raised:
        open_demo(asked).__enter__()
    assert "torch" in str(raised.value)
    with open_demo(plan):  # its ports and its home are free again
        pass


@pytest.mark.slow
@pytest.mark.parametrize("which", ["label_studio", "backend"])
def test_exit_of_a_running_server_is_reported(plan: DemoOptions, which: str) -> None:
    with open_demo(plan) as demo:
        process = demo.label_studio.process if which == "label_studio" else demo.backend
        os.killpg(process.pid, 9)
        assert wait_until(lambda: not process.is_running())
        with raises(LabelStudioError, "process-ended") as raised:
            demo.wait()
        assert process.name in str(raised.value)


def test_backend_gets_no_settings_of_the_caller(
    plan: DemoOptions, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAGALONG_PASSWORD", "of another")
    serve = script(f'env > "$0.env"; exec {" ".join(plan.serve_command)} "$@"')
    with open_demo(
        DemoOptions(
            plan.home,
            [str(serve)],
            plan.label_studio_port,
            plan.backend_port,
            plan.label_studio_program,
        )
    ):
        assert "TAGALONG" not in Path(f"{serve}.env").read_text()
