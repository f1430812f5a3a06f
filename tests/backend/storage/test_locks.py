"""Locks between processes and threads, and scratch folders."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagalong.backend.storage import locks
from tagalong.backend.storage.locks import (
    folder_lock,
    remove_abandoned_scratch_folders,
    remove_folder,
    scratch_folder,
    try_lock,
)
from tests.backend.storage.storage_worker import FILES, LONG, SHORT, fill, names_in
from tests.disk_recorder import DiskRecorder, identity
from tests.forked_process import run_forked

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 60  # seconds


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> DiskRecorder:
    return DiskRecorder(monkeypatch)


@contextmanager
def worker(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a process of storage_worker.py, and kill it at the end."""
    command = [sys.executable, "-m", "tests.backend.storage.storage_worker", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_locked(path: Path) -> bool:
    """Whether another process sees the folder as locked."""
    command = "import sys; from tagalong.backend.storage.locks import try_lock\n"
    command += "with try_lock(sys.argv[1]) as free: print(free)"
    return run_forked("-c", command, path, check=True).stdout.strip() == "False"


def test_reader_sees_old_or_new_content(tmp_path: Path) -> None:
    path = tmp_path / "current"
    path.write_text(SHORT)
    seen = {SHORT: 0, LONG: 0}
    with worker("replace", path) as process:
        while min(seen.values()) < 50:
            assert process.poll() is None
            seen[path.read_text()] += 1  # KeyError: neither the old nor the new content


@pytest.mark.parametrize(
    ("action", "least"), [("replace", 7), ("remove-folder", 8), ("scratch", 12), ("cleanup", 12)]
)
def test_kill_at_every_step_leaves_old_or_new_state(
    action: str, least: int, tmp_path: Path
) -> None:
    with worker(f"kill-{action}", tmp_path) as process:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0
    assert int(output) >= least


@pytest.mark.slow
def test_lock_excludes_other_processes(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    with worker("hold", tmp_path) as process:
        line_of(process)
        assert is_locked(tmp_path / ".lock")
        process.communicate("\n", timeout=TIMEOUT_SECONDS)
        assert not is_locked(tmp_path / ".lock")


def test_lock_excludes_other_threads(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with folder_lock(tmp_path):
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    with folder_lock(tmp_path):
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(TIMEOUT_SECONDS)
    thread.join()


def test_lock_is_released_by_error_and_kill(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), folder_lock(tmp_path):
        raise ValueError("inside")
    assert not is_locked(tmp_path / ".lock")
    with worker("hold", tmp_path) as process:
        line_of(process)
    assert not is_locked(tmp_path / ".lock")


def test_concurrent_changes_under_a_lock_lose_nothing(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    with worker("count", number, 20) as one, worker("count", number, 20) as other:
        assert [process.wait(TIMEOUT_SECONDS) for process in (one, other)] == [0, 0]
    assert number.read_text() == "40"


def fill_and_fail(folder: Path) -> None:
    fill(folder)
    raise ValueError("inside")


def test_scratch_folder_is_hidden_empty_and_removed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        fill(folder)
        assert all(name.startswith(".") for name in names_in(tmp_path))
        with scratch_folder(tmp_path) as other:
            assert names_in(other) == set()
    with pytest.raises(ValueError, match="inside"), scratch_folder(tmp_path) as folder:
        fill_and_fail(folder)
    assert names_in(tmp_path) == {".lock"}


def test_renamed_scratch_folder_stays_and_is_readable(
    tmp_path: Path,
) -> None:
    (tmp_path / "usual").mkdir()
    with scratch_folder(tmp_path) as folder:
        fill(folder)
        folder.rename(tmp_path / "version")
    assert names_in(tmp_path) == {".lock", "usual", "version"}
    assert names_in(tmp_path / "version") == FILES.keys()
    modes = [(tmp_path / name).stat().st_mode for name in ("usual", "version")]
    assert modes[0] == modes[1]


def test_cleanup_keeps_scratch_folders_of_running_processes(tmp_path: Path) -> None:
    (tmp_path / ".staging-before-its-lock").mkdir()
    (tmp_path / ".other").mkdir()
    (tmp_path / "version").mkdir()
    keep = {".lock", ".other", "version"}
    with scratch_folder(tmp_path) as own, worker("scratch", tmp_path) as process:
        foreign = Path(line_of(process))
        remove_abandoned_scratch_folders(tmp_path)
        assert names_in(tmp_path) == keep | {own.parent.name, foreign.parent.name}
        assert own.is_dir()
        assert foreign.is_dir()
        process.kill()
        process.wait()
        assert foreign.is_dir()
        remove_abandoned_scratch_folders(tmp_path)
        assert names_in(tmp_path) == keep | {own.parent.name}


def test_cleanup_waits_until_a_new_scratch_folder_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent stays locked until the new folder is locked, so that no cleanup runs."""
    homes, real = [], locks.FileLock

    def file_lock(path: Path, **options: object) -> object:
        if path.parent != tmp_path:
            homes.append(is_locked(tmp_path / ".lock"))
        return real(path, **options)

    monkeypatch.setattr(locks, "FileLock", file_lock)
    with scratch_folder(tmp_path) as folder:
        assert homes == [True]
        assert not is_locked(tmp_path / ".lock")
        [owner] = [path for path in folder.parent.iterdir() if path != folder]
        assert is_locked(owner)


def test_removed_folder_is_renamed_and_synced_before_deletion(
    tmp_path: Path, disk: DiskRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "version"
    folder.mkdir()
    fill(folder)
    files = [identity(path) for path in folder.iterdir()]
    whole_at_sync = []
    record = disk.record_sync

    def fsync(descriptor: int) -> None:
        record(descriptor)
        left = {identity(path) for path in tmp_path.rglob("*")}
        whole_at_sync.append(not folder.exists() and left.issuperset(files))

    monkeypatch.setattr(os, "fsync", fsync)
    remove_folder(folder)
    assert [event[0] for event in disk.events] == ["rename", "sync"]
    assert disk.events[1] == ("sync", identity(tmp_path), None)
    assert whole_at_sync == [True]
    assert names_in(tmp_path) == set()


def test_lock_covers_one_folder(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path]
    for folder in folders[:2]:
        folder.mkdir()
    with folder_lock(folders[0]):
        assert [is_locked(folder / ".lock") for folder in folders] == [True, False, False]


def test_try_lock_succeeds_once_and_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with try_lock(path) as ours, try_lock(path) as second:
        assert (ours, second) == (True, False)
        assert is_locked(path)
    with worker("try", path) as process:
        line_of(process)
        with try_lock(path) as ours:
            assert not ours
        process.kill()
        process.wait()
        with try_lock(path) as ours:
            assert ours


def test_lock_on_a_removed_file_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with try_lock(path) as first:
        path.unlink()
        with try_lock(path) as second:
            assert (first, second) == (True, True)
