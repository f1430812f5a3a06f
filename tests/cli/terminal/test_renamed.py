"""Names of earlier releases are refused with the current name."""

from typing import Any

import pytest
import typer.main

from tagalong.cli.main import app, main
from tagalong.cli.terminal.renamed import (
    RENAMED_COMMANDS,
    RENAMED_OPTIONS,
    RENAMED_VARIABLES,
    refuse_renamed,
)
from tagalong.ner.errors import InputError
from tests.errors import failed, raises

ROOT: Any = typer.main.get_command(app)


def leaves(command: Any, *words: str) -> dict[str, Any]:
    commands = getattr(command, "commands", {})
    if not commands:
        return {" ".join(words): command}
    found = {}
    for name, subcommand in commands.items():
        found |= leaves(subcommand, *words, name)
    return found


COMMANDS = leaves(ROOT)
OPTIONS = {
    name
    for command in COMMANDS.values()
    for option in command.params
    for name in (*option.opts, *option.secondary_opts)
}


def test_new_names_exist_and_old_commands_do_not() -> None:
    assert {*RENAMED_COMMANDS.values()} <= {*COMMANDS}
    assert not {*RENAMED_COMMANDS} & {*COMMANDS}
    assert {new.split()[0] for new in RENAMED_OPTIONS.values()} <= OPTIONS
    variables = {option.envvar for command in COMMANDS.values() for option in command.params}
    assert {*RENAMED_VARIABLES.values()} <= variables
    assert not {*RENAMED_VARIABLES} & variables


@pytest.mark.parametrize(
    ("arguments", "new"),
    [
        (["calibrate", "--help"], "'benchmark'"),
        (["curate", "next", "--project", "7"], "'curate select'"),
        (["doctor", "--url", "http://x"], "--label-studio-url"),
        (["doctor", "--project", "7", "--key=k"], "--label-studio-key"),
        (["retrain", "--held-out", "0.1"], "--holdout-share"),
        (["train", "encoder", "a.json", "--held-out", "b.json"], "--exclude"),
    ],
)
def test_old_name_is_refused_with_the_new_one(arguments: list[str], new: str) -> None:
    with raises(InputError, "renamed-setting") as raised:
        refuse_renamed(ROOT, arguments, {})
    assert f" is now {new}:" in str(raised.value)


def test_old_environment_variable_is_refused() -> None:
    environment = {"TAGALONG_CPU_ENGINE": "false"}
    for arguments in (["serve"], ["predict", "text"], ["train", "encoder", "a.json"]):
        with raises(InputError, "renamed-setting"):
            refuse_renamed(ROOT, arguments, environment)
    refuse_renamed(ROOT, ["doctor", "--project", "7"], environment)


def test_current_names_are_accepted() -> None:
    for words, command in COMMANDS.items():
        names = [name for option in command.params for name in option.opts]
        refuse_renamed(ROOT, [*words.split(), *names], {})
    refuse_renamed(ROOT, [], {})


def test_command_with_an_old_name_fails_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--url", "http://x", "--project", "7"])
    assert ended.value.code == 1
    failed(capsys.readouterr().err, "renamed-setting")
