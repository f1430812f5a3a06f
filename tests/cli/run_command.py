"""Commands as they are typed: those that work, and those that end in one sentence."""

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagalong.cli.main import app, main


def run(*arguments: object, code: int = 0, stdin: str | None = None) -> Result:
    """Run a command; what it was not written to raise, it raises here."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def run_failing(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command whose work fails; return the one sentence it says."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    [sentence] = [line for line in said.splitlines() if line.startswith("Error: ")]
    return sentence
