"""Writing that survives kills, full disks and power cuts, and locks between processes."""

import errno
import fcntl
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagalong.ner.atomic_io import (
    folder_lock,
    fsync_paths,
    make_folder,
    remove_abandoned_scratch_folders,
    remove_folder,
    scratch_folder,
    translate_os_errors,
    write_text_atomically,
)
from tagalong.ner.errors import PublishError
from tests.ner.durable_worker import FILES, LONG, SHORT, fill, names_in

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def worker(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of durable_worker.py, killed at the end."""
    command = [sys.executable, "-m", "tests.ner.durable_worker", *map(str, arguments)]
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
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class Disk:
    """What is synced and renamed, in order.

    Attributes:
        events: ("sync", identity, size of a file or None), or ("rename", path before, path after).
        descriptors: The descriptors synced.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple] = []
        self.descriptors: list[int] = []
        self.fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.record_sync)
        for name in ("rename", "replace"):
            self.record_renames(monkeypatch, name)

    def record_sync(self, descriptor: int) -> None:
        self.fsync(descriptor)
        status = os.fstat(descriptor)
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.descriptors.append(descriptor)
        self.events.append(("sync", (status.st_dev, status.st_ino), size))

    def record_renames(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def recorded(before: Path, after: Path) -> None:
            real(before, after)
            self.events.append(("rename", Path(before), Path(after)))

        monkeypatch.setattr(os, name, recorded)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_new_content_is_on_the_disk_before_its_name_and_its_name_before_the_end(
    tmp_path: Path, disk: Disk
) -> None:
    path = tmp_path / "current"
    path.write_text("old")
    write_text_atomically(path, "naïve 😀\r\n")
    content, [before, after], names = disk.events[0], disk.events[1][1:], disk.events[2]
    assert content == ("sync", identity(path), len("naïve 😀\r\n".encode()))
    assert (before.parent, after) == (tmp_path, path)  # on one file system
    assert names == ("sync", identity(tmp_path), None)
    assert len(disk.events) == 3
    assert path.read_bytes() == "naïve 😀\r\n".encode()
    assert names_in(tmp_path) == {"current"}


def refuse(_: object) -> None:
    raise NO_SPACE


def files_of_a_failed_write(path: Path) -> list[Path]:
    """Replace a text on a disk that refuses to sync it; returns the other files of its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            write_text_atomically(path, LONG)
    return [other for other in path.parent.iterdir() if other != path]


def test_what_a_failure_left_of_a_longer_text_is_no_part_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text_atomically(path, SHORT)
    [aside] = files_of_a_failed_write(path)
    assert aside.read_text() == LONG
    write_text_atomically(path, "new")
    assert path.read_text() == "new"
    assert names_in(tmp_path) == {"current"}


def test_content_that_cannot_be_synced_does_not_take_the_place(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text_atomically(path, "old")
    assert all(aside.name.startswith(".") for aside in files_of_a_failed_write(path))
    assert path.read_text() == "old"


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text_atomically(path, SHORT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(LONG) // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text_atomically(path, LONG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == SHORT


def test_a_reader_sees_the_old_content_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text_atomically(path, SHORT)
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


def test_a_lock_is_of_one_folder_alone(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path]
    for folder in folders[:2]:
        folder.mkdir()
    with folder_lock(folders[0]):
        assert [is_locked(folder / ".lock") for folder in folders] == [True, False, False]


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
    """The home is locked, so no sweep runs, until the lock of the new folder is held."""
    real = fcntl.flock
    homes = []

    def flock(file: object, operation: int) -> None:
        if Path(getattr(file, "name", "")).parent != tmp_path:
            with monkeypatch.context() as patch:
                patch.setattr(fcntl, "flock", real)
                homes.append(is_locked(tmp_path / ".lock"))
        real(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", flock)
    with scratch_folder(tmp_path) as folder:
        assert homes == [True]
        monkeypatch.undo()
        assert not is_locked(tmp_path / ".lock")
        [owner] = [path for path in folder.parent.iterdir() if path != folder]
        assert is_locked(owner)


def test_a_discarded_folder_is_out_of_sight_on_the_disk_before_a_file_of_it_goes(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
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


def test_sync_waits_for_every_path_and_closes_it(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").write_text("four")
    fsync_paths(tmp_path / "file", tmp_path)
    fsync_paths()
    assert disk.events == [
        ("sync", identity(tmp_path / "file"), 4),
        ("sync", identity(tmp_path), None),
    ]
    assert all(not is_open(descriptor) for descriptor in disk.descriptors)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_sync_closes_what_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = []

    def fsync(descriptor: int) -> None:
        descriptors.append(descriptor)
        raise NO_SPACE

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        fsync_paths(tmp_path)
    assert [is_open(descriptor) for descriptor in descriptors] == [False]


def test_every_name_on_the_way_to_a_new_folder_is_on_the_disk(tmp_path: Path, disk: Disk) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    parents = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert {event[1] for event in disk.events} == set(map(identity, parents))
    disk.events.clear()
    fill(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")  # it may be there
    assert disk.events == []
    assert names_in(tmp_path / "a" / "b" / "c") == FILES.keys()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NO_SPACE, "the disk is full, so make room and try again"),
        (OSError(errno.EDQUOT, "Quota"), "the disk is full, so make room and try again"),
        (OSError(errno.EACCES, "No", "models"), "models may not be written"),
        (OSError(errno.EPERM, "No", "models"), "models may not be written"),
        (OSError(errno.EROFS, "No"), "the folder may not be written"),
        (OSError(errno.EIO, "Input/output error", "models"), r"Input/output error \(models\)"),
        (OSError(errno.EIO, "Input/output error"), r"\[Errno 5\] Input/output error"),
        (OSError("no number"), "no number"),
    ],
)
def test_a_refusal_is_one_sentence_with_its_cause(error: OSError, cause: str) -> None:
    sentence = f"^could not promote v1: {cause}.*; what was current before still is$"
    with pytest.raises(PublishError, match=sentence) as caught, translate_os_errors("promote v1"):
        raise error
    assert caught.value.__cause__ is error


def test_only_space_leaves_other_refusals_to_the_caller() -> None:
    with pytest.raises(PublishError), translate_os_errors("write", disk_full_only=True):
        raise NO_SPACE
    with pytest.raises(PermissionError), translate_os_errors("write", disk_full_only=True):
        raise PermissionError(errno.EACCES, "No")


def test_errors_of_other_kinds_pass() -> None:
    with pytest.raises(ValueError, match="mine"), translate_os_errors("write"):
        raise ValueError("mine")
