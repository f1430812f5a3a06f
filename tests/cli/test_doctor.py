"""The command `tagalong doctor`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tagalong.backend.label_studio.api.filters import filter_by_ids, filter_item
from tagalong.cli.main import main
from tests.backend.doctor.doctor_runner import KEY, ScriptedServers, open_scripted_servers
from tests.backend.doctor.scripted import ReceivedRequest, backend_row
from tests.errors import failed


@pytest.fixture
def servers() -> Iterator[ScriptedServers]:
    with open_scripted_servers() as servers:
        yield servers


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "LABEL_STUDIO_URL",
        "LABEL_STUDIO_API_KEY",
        "TAGALONG_USERNAME",
        "TAGALONG_PASSWORD",
    ):
        monkeypatch.delenv(name, raising=False)


def ends_with(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == code


def test_healthy_setup_ends_with_0(
    servers: ScriptedServers, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(
        0,
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    )
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == "✓ Label Studio: Label Studio 1.23.2 answers."
    assert lines[-1] == "No problem."
    assert all(line.startswith("✓ ") for line in lines[:-2])
    assert KEY not in shown


def test_url_and_key_from_the_environment(
    servers: ScriptedServers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", f"{servers.label_studio.url}/projects/7/data?tab=2")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    ends_with(0, "--project", "7")
    assert capsys.readouterr().out.endswith("No problem.\n")


def test_problem_is_shown_with_remedy_and_ends_with_1(
    servers: ScriptedServers, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.set_label_studio_answer("GET /api/webhooks/", 200, [])
    ends_with(
        1,
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    )
    lines = capsys.readouterr().out.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("✗ ")]
    assert lines[number].startswith("✗ Webhook: ")
    assert lines[number + 1].startswith("  → ")
    assert lines[-1].startswith("One problem.")


def test_fix_rewrites_a_tab(servers: ScriptedServers, capsys: pytest.CaptureFixture[str]) -> None:
    filters = {"conjunction": "and", "items": [filter_item("id", "in_list", [1, 2])]}
    held = {"id": 2, "data": {"title": "Review", "filters": filters}}
    servers.label_studio.script.answers["GET /api/dm/views/"] = lambda _: (200, [held])

    def change(asked: ReceivedRequest) -> tuple[int, Any]:
        held["data"] = asked.body["data"]
        return 200, held

    servers.label_studio.script.answers["PATCH /api/dm/views/2/"] = change
    command = [
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    ]
    ends_with(1, *command)
    assert "--fix" in capsys.readouterr().out
    ends_with(0, *command, "--fix")
    assert held["data"]["filters"] == filter_by_ids([1, 2])


def test_warning_ends_with_0(servers: ScriptedServers, capsys: pytest.CaptureFixture[str]) -> None:
    servers.set_label_studio_answer("GET /api/version/", 200, {"release": "2.0"})
    ends_with(
        0,
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("! Label Studio: ")
    assert lines[-1] == "No problem, one warning."


def test_checks_skipped_for_one_cause_are_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends_with(
        1, "--label-studio-url", "http://127.0.0.1:1", "--label-studio-key", KEY, "--project", "7"
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("· ")]
    assert len(lines) == 1
    assert lines[0].startswith("· Key, Project, ")


def test_json_is_one_object(servers: ScriptedServers, capsys: pytest.CaptureFixture[str]) -> None:
    servers.set_label_studio_answer("GET /api/webhooks/", 200, [])
    arguments = [
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
        "--json",
    ]
    ends_with(1, *arguments)
    answer = json.loads(capsys.readouterr().out)
    assert answer["healthy"] is False
    (finding,) = [found for found in answer["findings"] if found["status"] == "problem"]
    assert (finding["check"], finding["code"]) == ("webhook", "no-webhook")
    assert {*finding} == {"check", "title", "status", "sentence", "remedy", "code"}


def test_control_characters_of_a_server_are_escaped(
    servers: ScriptedServers, capsys: pytest.CaptureFixture[str]
) -> None:
    row = backend_row(servers.backend.url, title="[red]\x1b[2J\nForged")
    servers.set_label_studio_answer("GET /api/ml/", 200, [row])
    ends_with(
        0,
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]" in shown
    assert "\nForged" not in shown


def test_backend_with_a_password(
    servers: ScriptedServers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAGALONG_USERNAME", "ann")
    ends_with(
        1,
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    )
    failed(capsys.readouterr().err, "login-incomplete")
    monkeypatch.setenv("TAGALONG_PASSWORD", "secret")
    ends_with(
        0,
        "--label-studio-url",
        servers.label_studio.url,
        "--label-studio-key",
        KEY,
        "--project",
        "7",
    )
    setups = [asked for asked in servers.backend.script.requests if asked.path == "/setup"]
    assert [asked.headers["Authorization"] for asked in setups] == ["Basic YW5uOnNlY3JldA=="]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--label-studio-url", "http://x", "--label-studio-key", "k"],
        ["--project", "0"],
        ["--project", "a"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(2, *arguments)
    assert "Usage" in capsys.readouterr().err
