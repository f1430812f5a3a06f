"""Writing files and folders that survives kills, full disks and power cuts."""

import errno
import os
import re
import resource
import stat
from pathlib import Path

import pytest

from tagalong.ner.atomic_io import (
    fsync_paths,
    make_folder,
    move_into_place,
    open_atomically,
    remove_unfinished_writes,
    translate_os_errors,
    write_text_atomically,
)
from tagalong.ner.errors import PublishError
from tests.backend.storage.storage_worker import FILES, LONG, SHORT, fill, names_in
from tests.disk_recorder import DiskRecorder, identity
from tests.errors import raises

ROOT = Path(__file__).parents[2]
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> DiskRecorder:
    return DiskRecorder(monkeypatch)


def test_new_content_is_synced_before_rename_and_rename_before_return(
    tmp_path: Path, disk: DiskRecorder
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


def test_sync_error_keeps_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "current"
    write_text_atomically(path, SHORT)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_text_atomically(path, LONG)
    assert path.read_text() == SHORT
    assert names_in(tmp_path) == {"current"}


def write_and_interrupt(path: Path) -> None:
    with open_atomically(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt


def test_error_in_block_keeps_old_content(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text_atomically(path, SHORT)
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(path)
    assert path.read_text() == SHORT
    assert names_in(tmp_path) == {"current"}


def test_leftover_temporary_files_are_ignored_and_removable(
    tmp_path: Path,
) -> None:
    own, other = (tmp_path / f".current.{pid}.new" for pid in (os.getpid(), 1))
    for left in (own, other, tmp_path / ".current2.1.new"):
        left.write_text(LONG)
    write_text_atomically(tmp_path / "current", "new")
    assert (tmp_path / "current").read_text() == "new"
    assert names_in(tmp_path) == {"current", ".current.1.new", ".current2.1.new"}
    remove_unfinished_writes(tmp_path / "current")
    assert names_in(tmp_path) == {"current", ".current2.1.new"}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_existing_file_keeps_permissions_and_new_file_gets_default(tmp_path: Path) -> None:
    path, usual = tmp_path / "current", tmp_path / "usual"
    usual.write_text("")
    write_text_atomically(path, "1")
    assert mode_of(path) == mode_of(usual)
    path.chmod(0o640)
    write_text_atomically(path, "2")
    assert mode_of(path) == 0o640


def test_private_file_is_private_from_creation(tmp_path: Path) -> None:
    path = tmp_path / "current"
    path.write_text("old")
    with open_atomically(path, mode=0o600) as file:
        assert [mode_of(other) for other in tmp_path.iterdir() if other != path] == [0o600]
        file.write(b"new")
    assert mode_of(path) == 0o600


def test_folder_is_synced_before_rename(tmp_path: Path, disk: DiskRecorder) -> None:
    folder, place = tmp_path / "work", tmp_path / "version"
    (folder / "inner").mkdir(parents=True)
    fill(folder / "inner")
    paths = [folder, *folder.rglob("*")]
    move_into_place(folder, place)
    *content, rename, names = disk.events
    moved = [place / path.relative_to(folder) for path in paths]
    assert {event[1] for event in content} == set(map(identity, moved))
    assert rename == ("rename", folder, place)
    assert names == ("sync", identity(tmp_path), None)


def test_no_other_module_writes_or_locks_files() -> None:
    own_way = re.compile(r"\bfcntl\b|os\.fsync|os\.replace|NamedTemporaryFile|\bFileLock\b")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("ner", "backend", "training", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if own_way.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"ner/atomic_io.py", "backend/storage/locks.py"}


def test_full_disk_keeps_old_content(tmp_path: Path) -> None:
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


def test_sync_covers_every_path_and_closes_it(tmp_path: Path, disk: DiskRecorder) -> None:
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


def test_sync_closes_file_after_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = []

    def fsync(descriptor: int) -> None:
        descriptors.append(descriptor)
        raise NO_SPACE

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        fsync_paths(tmp_path)
    assert [is_open(descriptor) for descriptor in descriptors] == [False]


def test_make_folder_syncs_every_parent(tmp_path: Path, disk: DiskRecorder) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    parents = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert {event[1] for event in disk.events} == set(map(identity, parents))
    disk.events.clear()
    fill(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")  # it may be there
    assert disk.events == []
    assert names_in(tmp_path / "a" / "b" / "c") == FILES.keys()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EACCES, "not-writable"),
        (errno.EPERM, "not-writable"),
        (errno.EROFS, "not-writable"),
        (errno.EIO, "file-system-error"),
    ],
)
@pytest.mark.parametrize("name", [None, "models"])
def test_file_system_error_becomes_one_sentence_with_cause(
    number: int, code: str, name: str | None
) -> None:
    error = OSError(number, os.strerror(number), name)
    with raises(PublishError, code) as caught, translate_os_errors("promote v1"):
        raise error
    assert caught.value.__cause__ is error


def test_disk_full_only_reraises_other_errors() -> None:
    with pytest.raises(PublishError), translate_os_errors("write", disk_full_only=True):
        raise NO_SPACE
    with pytest.raises(PermissionError), translate_os_errors("write", disk_full_only=True):
        raise PermissionError(errno.EACCES, "No")


def test_errors_of_other_types_are_reraised() -> None:
    with pytest.raises(ValueError, match="mine"), translate_os_errors("write"):
        raise ValueError("mine")
