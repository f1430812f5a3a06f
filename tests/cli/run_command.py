"""Run commands in this process: successful ones, and ones that fail in one sentence."""

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagalong.cli.main import app, main


def run(*arguments: object, code: int = 0, stdin: str | None = None) -> Result:
    """Run a command; unexpected exceptions are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def run_failing(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a failing command; returns its error sentence."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 1
    stderr = capsys.readouterr().err
    assert "Traceback" not in stderr
    [sentence] = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    return sentence
