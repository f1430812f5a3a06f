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
PATIENCE = 60  # seconds


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> DiskRecorder:
    return DiskRecorder(monkeypatch)


@contextmanager
def worker(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of storage_worker.py, killed at the end."""
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
    """In the eyes of another process; this one may hold the lock."""
    command = "import sys; from tagalong.backend.storage.locks import try_lock\n"
    command += "with try_lock(sys.argv[1]) as free: print(free)"
    return run_forked("-c", command, path, check=True).stdout.strip() == "False"


def test_a_reader_sees_the_old_content_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "current"
    path.write_text(SHORT)
    seen = {SHORT: 0, LONG: 0}
    with worker("replace", path) as process:
        while min(seen.values()) < 50:
            assert process.poll() is None
            seen[path.read_text()] += 1  # KeyError: neither the one nor the other


@pytest.mark.parametrize(
    ("action", "least"), [("replace", 7), ("discard", 8), ("scratch", 12), ("sweep", 12)]
)
def test_a_kill_at_every_step_leaves_the_old_state_or_the_new_one(
    action: str, least: int, tmp_path: Path
) -> None:
    with worker(f"kill-{action}", tmp_path) as process:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert int(output) >= least


def test_a_lock_keeps_other_processes_out_until_it_is_released(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    with worker("hold", tmp_path) as process:
        line_of(process)
        assert is_locked(tmp_path / ".lock")
        process.communicate("\n", timeout=PATIENCE)
        assert not is_locked(tmp_path / ".lock")


def test_a_lock_keeps_other_threads_out_until_it_is_released(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with folder_lock(tmp_path):
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    with folder_lock(tmp_path):
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(PATIENCE)
    thread.join()


def test_a_lock_ends_with_an_error_and_with_a_kill(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), folder_lock(tmp_path):
        raise ValueError("inside")
    assert not is_locked(tmp_path / ".lock")
    with worker("hold", tmp_path) as process:
        line_of(process)
    assert not is_locked(tmp_path / ".lock")


def test_changes_under_a_lock_lose_nothing(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    with worker("count", number, 20) as one, worker("count", number, 20) as other:
        assert [process.wait(PATIENCE) for process in (one, other)] == [0, 0]
    assert number.read_text() == "40"


def fill_and_fail(folder: Path) -> None:
    fill(folder)
    raise ValueError("inside")


def test_a_scratch_folder_is_hidden_empty_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        fill(folder)
        assert all(name.startswith(".") for name in names_in(tmp_path))
        with scratch_folder(tmp_path) as other:
            assert names_in(other) == set()
    with pytest.raises(ValueError, match="inside"), scratch_folder(tmp_path) as folder:
        fill_and_fail(folder)
    assert names_in(tmp_path) == {".lock"}


def test_a_scratch_folder_renamed_into_its_home_stays_and_others_may_read_it(
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


def test_a_sweep_keeps_the_scratch_folders_of_living_processes_alone(tmp_path: Path) -> None:
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


def test_a_sweep_never_comes_between_a_scratch_folder_and_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent is locked, so no sweep runs, until the lock of the new folder is held."""
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


def test_a_discarded_folder_is_out_of_sight_on_the_disk_before_a_file_of_it_goes(
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


def test_a_lock_is_of_one_folder_alone(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path]
    for folder in folders[:2]:
        folder.mkdir()
    with folder_lock(folders[0]):
        assert [is_locked(folder / ".lock") for folder in folders] == [True, False, False]


def test_a_lock_that_is_tried_is_free_once_and_again_after_a_kill(tmp_path: Path) -> None:
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


def test_a_lock_is_not_held_by_a_file_that_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with try_lock(path) as first:
        path.unlink()
        with try_lock(path) as second:
            assert (first, second) == (True, True)
