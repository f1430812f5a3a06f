"""The commands `tagalong connect` and `tagalong disconnect`."""

from collections.abc import Iterator

import pytest

from tagalong.cli.main import main
from tests.backend.doctor.doctor_runner import KEY, open_scripted_servers
from tests.backend.doctor.editable_project import EditableProject
from tests.backend.doctor.scripted import VERSION
from tests.errors import failed

SECRETS = {"TAGALONG_USERNAME": "ann", "TAGALONG_PASSWORD": "pa55word"}


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[EditableProject]:
    with open_scripted_servers() as servers:
        monkeypatch.setenv("LABEL_STUDIO_URL", servers.label_studio.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
        for name in (*SECRETS, "TAGALONG_WEBHOOK_SECRET"):
            monkeypatch.delenv(name, raising=False)
        yield EditableProject(servers)


def ends_with(code: int, command: str, studio: EditableProject, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--project", "7", "--backend-url", studio.url, *arguments])
    assert ended.value.code == code


def test_dry_run_shows_the_lines_of_the_changes(
    studio: EditableProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**SECRETS, "TAGALONG_WEBHOOK_SECRET": "c0ffee"}.items():
        monkeypatch.setenv(name, value)
    ends_with(0, "connect", studio, "--dry-run")
    *shown, last = capsys.readouterr().out.splitlines()
    assert last == "Dry run: nothing was changed."
    assert (studio.rows, studio.webhooks) == ([], [])
    ends_with(0, "connect", studio)
    output = capsys.readouterr().out
    changes, _, findings = output.partition("\n\n")
    assert changes.splitlines() == shown
    assert findings.splitlines()[0].startswith("✓ Label Studio: ")
    assert findings.endswith("\nNo problem.\n")
    assert not any(secret in output for secret in (KEY, "pa55word", "c0ffee"))
    ends_with(0, "connect", studio)
    nothing = f"Nothing to change for {studio.url} in project 7.\n\n"
    assert capsys.readouterr().out.startswith(nothing)


def test_problem_ends_the_command(
    studio: EditableProject, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.servers.set_backend_answer("POST /setup", 401, {"error": "no password"})
    ends_with(1, "connect", studio)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✗ User and password: ")
    assert lines[-1] == "Nothing was changed."
    assert studio.rows == []


def test_problem_that_remains_ends_with_1(
    studio: EditableProject, capsys: pytest.CaptureFixture[str]
) -> None:
    studio.servers.set_backend_answer("POST /predict", 500, {"error": "broken"})
    ends_with(1, "connect", studio)
    assert capsys.readouterr().out.splitlines()[-1].startswith("One problem.")
    assert studio.rows[0]["title"] == VERSION


def test_disconnect_needs_no_server(
    studio: EditableProject, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(0, "connect", studio)
    studio.servers.set_backend_answer("GET /health", 500, "")
    capsys.readouterr()
    ends_with(0, "disconnect", studio, "--dry-run")
    *shown, last = capsys.readouterr().out.splitlines()
    assert last == "Dry run: nothing was changed."
    ends_with(0, "disconnect", studio)
    assert capsys.readouterr().out.splitlines() == shown
    assert (studio.rows, studio.webhooks) == ([], [])
    ends_with(0, "disconnect", studio)
    assert "Nothing to change" in capsys.readouterr().out


def test_half_a_login_is_refused(
    studio: EditableProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAGALONG_USERNAME", "ann")
    ends_with(1, "connect", studio)
    failed(capsys.readouterr().err, "login-incomplete")
