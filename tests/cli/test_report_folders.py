"""``--report`` of all commands: an unwritable folder is refused before the work."""

from pathlib import Path

import pytest

from tests.cli.run_command import run_failing

SAMPLE = Path("tests/samples/bc5cdr.jsonl").resolve()


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "bundled", SAMPLE),
        ("benchmark", SAMPLE),
        ("curate", "review", SAMPLE),
        ("curate", "agreement", SAMPLE),
    ],
    ids=lambda command: " ".join(map(str, command[:-1])),
)
@pytest.mark.parametrize("name", ["file/report", "taken"])
def test_unwritable_report_folder_is_refused_before_the_work(
    command: tuple[object, ...], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "report.json").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert "--report" in run_failing(capsys, *command, "--report", tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
