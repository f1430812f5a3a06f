"""The process `tagalong`: start-up, exit codes and error messages."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from tagalong.cli import models
from tagalong.cli.main import app, main

SEEDS = [
    [*command, __file__, *more, "--seed", seed]
    for command, more in ((["train", "encoder"], []), (["evaluate"], [__file__]))
    for seed in ("-1", str(2**32))
]
HEAVY = ("torch", "transformers", "label_studio_sdk", "peft", "accelerate", "sklearn", "numpy")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output = capsys.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 0, output.out, output.err


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list", "--help"], ["train", "-h"]])
def test_help_imports_no_heavy_library(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from tagalong.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended.code\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"  # no heavy library and no traceback
    assert "Usage: tagalong" in done.stdout


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = run(capsys, "--help")
    assert code == 0
    for name in ("train", "models", "data", "evaluate", "predict", "serve", "demo", "doctor"):
        assert f" {name} " in shown


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands and groups with their names."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *path, name)


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_the_whole_docstring(path: tuple[str, ...]) -> None:
    """Includes text in brackets, which Rich would parse as markup."""
    wide = {"COLUMNS": "1000"}  # prevents wrapping
    shown = "".join(CliRunner().invoke(app, [*path, "--help"], env=wide).stdout.split())
    command = COMMANDS[path]
    asked = [one for one in command.params if not getattr(one, "hidden", False)]
    texts = [getattr(one, "help", None) for one in asked]
    defaults = [one.show_default for one in asked if isinstance(one.show_default, str)]
    texts += [command.help, *(f"[default: ({default})]" for default in defaults)]
    for text in filter(None, texts):
        assert "".join(text.split()) in shown, text


def test_every_command_has_help() -> None:
    assert len(COMMANDS) > 20
    assert sum(len(command.params) for command in COMMANDS.values()) > 100


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"tagalong {version('tagalong')}\n", "")


@pytest.mark.parametrize(
    "arguments", [["sing"], ["models", "show", "a", "b"], ["--tune", "3"], *SEEDS]
)
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, shown, errors = run(capsys, *arguments)
    assert (code, shown) == (2, "")
    assert "Usage" in errors


def test_failure_exits_with_1_and_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    odd = "[red]not[/red] markup " + "long " * 60
    code, shown, errors = run(capsys, "models", "show", odd, "--models", str(tmp_path))
    assert (code, shown) == (1, "")
    assert errors.count("\n") == 1
    assert errors.startswith(f"Error: no model version is called {odd!r}")


def test_system_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "models")

    monkeypatch.setattr(models, "open_store", refuse)
    assert run(capsys, "models", "list") == (1, "", "Error: models: Permission denied\n")


def test_interrupt_exits_with_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "open_store", interrupt)
    assert run(capsys, "models", "list") == (130, "", "")


def test_unexpected_error_keeps_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError("a library's own")

    monkeypatch.setattr(models, "open_store", fail)
    with pytest.raises(OSError, match="a library's own"):
        main(["models", "list"])
