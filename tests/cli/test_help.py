"""The help of all commands: complete, plain, and without type names."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tagalong.cli.main import app, main
from tests.cli.run_command import run

VAGUE_STARTS = ("Of ", "What ", "Whether ", "How ", "Who ")
# Options that had two names for one meaning, or two meanings for one name.
RETIRED_OPTIONS = {
    *("--held-out", "--price", "--dollars-per-hour", "--tab", "--budget", "--budget-ms"),
    *("--silver-least", "--like", "--warm", "--lesson-window", "--unlabelled", "--labelled"),
    *("--url", "--key", "--cpu-engine", "--no-promote"),
}


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
    for part, subcommand in getattr(command, "commands", {}).items():
        yield from commands(subcommand, f"{name} {part}".strip())


COMMANDS = dict(commands(typer.main.get_command(app)))
PARAMETERS = [
    pytest.param(parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in COMMANDS.items()
    for parameter in command.params
    if not getattr(parameter, "hidden", False)
]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_option_help_begins_with_a_noun_or_verb(parameter: Any) -> None:
    assert parameter.help
    assert len(parameter.help.split()) >= 2
    assert not parameter.help.startswith(VAGUE_STARTS)
    assert parameter.help.endswith(".")


def test_removed_options_do_not_exist() -> None:
    declared = {
        option
        for command in COMMANDS.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert not declared & RETIRED_OPTIONS
    assert not {"calibrate", "models engine", "curate next"} & COMMANDS.keys()


def test_options_have_the_same_meaning_in_all_commands() -> None:
    """Equal names have equal types, apart from commands with fewer choices."""
    kinds: dict[str, set[bool]] = {}
    for command in COMMANDS.values():
        for parameter in command.params:
            for option in parameter.opts:
                kinds.setdefault(option, set()).add(bool(getattr(parameter, "is_flag", False)))
    assert [option for option, flags in kinds.items() if len(flags) > 1] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_option_help_shows_no_type_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    _, _, shown = capsys.readouterr().out.partition(" Options ")
    assert "--help" in shown
    assert not re.search(r"<(bool|int|float|str|list|path|file)", shown)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("retrain", "--warm"), "--warm-start"),
        (("prelabel", "--unlabelled"), "--unlabeled"),
        (("models", "engine"), None),
        (("calibrate",), None),
    ],
)
def test_old_names_are_refused_as_unknown(
    arguments: tuple[str, ...], suggestion: str | None
) -> None:
    stderr = run(*arguments, code=2).stderr
    assert "No such " in stderr
    assert suggestion is None or suggestion in stderr
