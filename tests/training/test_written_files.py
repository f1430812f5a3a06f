"""Files of a training or an export are synced with their names when the writer returns."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.ner.document import Document
from tagalong.training.corpus.write import write_documents
from tagalong.training.jobs.project_data import write_tasks
from tagalong.training.loop.training_state import write_state
from tests.disk_recorder import DiskRecorder, identity

WRITERS: list[Callable[[Path], object]] = [
    lambda path: write_state(path, {"epoch": 1}),
    lambda path: write_tasks(path, [{"id": 1}]),
    lambda path: write_documents([Document("d", "text")], path, "jsonl", overwrite=True),
]


@pytest.mark.parametrize("write", WRITERS, ids=["state", "tasks", "documents"])
def test_content_is_synced_before_rename_and_rename_before_return(
    write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    disk = DiskRecorder(monkeypatch)
    write(path)
    *content, rename, folder = disk.events
    assert ("sync", identity(path), path.stat().st_size) in content
    assert rename[0] == "rename"
    assert rename[2] == path
    assert folder == ("sync", identity(tmp_path), None)
