"""Starting our Label Studio: environment, readiness and errors."""

import json
import os
import socket
from pathlib import Path

import pytest

from tagalong.backend.demo.label_studio_server import read_or_create_account, start_label_studio
from tagalong.backend.demo.supervised_process import find_free_port
from tagalong.ner.errors import LabelStudioError
from tests.backend.demo.conftest import Script
from tests.backend.demo.test_supervised_process import is_running
from tests.errors import raises


def test_server_accepts_its_account_and_stops(toy_program: Path, tmp_path: Path) -> None:
    with start_label_studio(toy_program, tmp_path / "home") as running:
        with running.connect() as toy_client:
            assert toy_client.whoami().email == running.account.email
            assert toy_client.read_version() == "1.23.2"
        pid = running.process.pid
    assert not is_running(pid)
    with running.connect() as toy_client, pytest.raises(LabelStudioError) as raised:
        toy_client.connection.request_text("POST", "api/projects/")
    assert raised.value.kind == "unreachable"


def test_servers_run_side_by_side_and_keep_their_data(toy_program: Path, tmp_path: Path) -> None:
    with (
        start_label_studio(toy_program, tmp_path / "a") as one,
        start_label_studio(toy_program, tmp_path / "b") as other,
    ):
        assert one.url != other.url
        assert one.account != other.account
        with one.connect() as toy_client:
            toy_client.create_project("kept", "<View/>")
        with other.connect() as toy_client:
            assert toy_client.list_projects() == []
    with start_label_studio(toy_program, tmp_path / "a") as again, again.connect() as toy_client:
        assert again.account == one.account
        assert [project.title for project in toy_client.list_projects()] == ["kept"]


def test_environment_has_the_settings_and_no_variables_of_ours(
    toy_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUG", "1")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    flag = "fflag_feat_utc_210_prediction_validation_15082025"
    with start_label_studio(
        toy_program, tmp_path, extra_variables={flag: "true", "TZ": "UTC"}
    ) as running:
        seen = json.loads((tmp_path / "data" / "environment.json").read_text())
    assert not {"DEBUG", "HTTP_PROXY"} & seen.keys()
    assert seen[flag] == "true"
    assert seen["TZ"] == "UTC"
    assert seen["LABEL_STUDIO_PASSWORD"] == running.account.password
    assert {seen[name] for name in ("SENTRY_DSN", "FRONTEND_SENTRY_DSN")} == {""}
    off = ("COLLECT_ANALYTICS", "LATEST_VERSION_CHECK", "USE_DEFAULT_BANNED_SUBNETS")
    assert {seen[name] for name in off} == {"false"}
    assert "127." not in seen["USER_ADDITIONAL_BANNED_SUBNETS"]


def test_account_is_kept_and_private(tmp_path: Path) -> None:
    account = read_or_create_account(tmp_path / "data")
    assert account == read_or_create_account(tmp_path / "data")
    assert account != read_or_create_account(tmp_path / "other")
    assert (tmp_path / "data" / "account.json").stat().st_mode & 0o777 == 0o600
    assert account.password not in repr(account)
    assert account.token not in repr(account)
    assert len(account.token) == 40  # the length of Label Studio's column


@pytest.mark.parametrize("content", ["", "[]", '{"email": "a"}'])
def test_invalid_account_file_is_reported(content: str, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(content)
    with raises(LabelStudioError, "account-file-broken"):
        read_or_create_account(tmp_path)


def test_taken_port_is_reported_before_start(script: Script, tmp_path: Path) -> None:
    witness = tmp_path / "started"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with raises(LabelStudioError, "port-taken"):
            start_label_studio(script(f"touch {witness}"), tmp_path, port=port)
    assert not witness.exists()


def test_early_exit_is_reported(script: Script, tmp_path: Path) -> None:
    program = script("echo sqlite3.DatabaseError: database disk image is malformed; exit 1")
    with raises(LabelStudioError, "process-ended") as raised:
        start_label_studio(program, tmp_path)
    assert "sqlite3.DatabaseError" in str(raised.value)


def test_slow_start_is_reported_and_stopped(script: Script, tmp_path: Path) -> None:
    program = script('echo $$ > "$0.pids"; exec sleep 600')
    with raises(LabelStudioError, "process-not-ready"):
        start_label_studio(program, tmp_path, timeout_seconds=1)
    assert not is_running(int(Path(f"{program}.pids").read_text()))


def test_other_server_at_the_port_is_detected(
    script: Script, toy_program: Path, tmp_path: Path
) -> None:
    """Another program takes the port after the check."""
    port = find_free_port()
    usurper = script(f'LABEL_STUDIO_USER_TOKEN=other exec {toy_program} "$@"')
    with raises(LabelStudioError, "port-taken"):
        start_label_studio(usurper, tmp_path, port=port)


def test_account_is_not_on_the_command_line(toy_program: Path, tmp_path: Path) -> None:
    with start_label_studio(toy_program, tmp_path) as running:
        lines = [
            path.read_bytes().decode()
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if os.access(path, os.R_OK) and _readable(path)
        ]
    assert any(str(tmp_path / "data") in line for line in lines)
    assert not any(running.account.token in line for line in lines)
    assert not any(running.account.password in line for line in lines)


def _readable(path: Path) -> bool:
    """Whether a process exists."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
