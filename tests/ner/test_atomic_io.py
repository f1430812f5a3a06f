"""Writing files and folders that survives kills, full disks and power cuts."""

import errno
import os
import re
import resource
import stat
from pathlib import Path

import pytest

from tagalong.ner.atomic_io import (
    UMASK_MODE,
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


def test_new_file_is_private_from_creation_unless_told(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with open_atomically(tmp_path / "texts") as file:
            assert [mode_of(aside) for aside in tmp_path.iterdir()] == [0o600]
            file.write(b"new")
        write_text_atomically(tmp_path / "current", "1", mode=UMASK_MODE)
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / name) for name in ("texts", "current")] == [0o600, 0o644]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_replaced_file_keeps_permissions_and_is_private_until_then(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "texts"
    path.write_text("old")
    path.chmod(mode)
    with open_atomically(path) as file:
        assert [mode_of(other) for other in tmp_path.iterdir() if other != path] == [0o600]
        file.write(b"new")
    assert mode_of(path) == mode


def test_replaced_file_keeps_its_group_or_loses_the_group_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, groups = tmp_path / "texts", []
    path.write_text("old")
    path.chmod(0o664)
    monkeypatch.setattr(os, "fchown", lambda _, owner, group: groups.append((owner, group)))
    write_text_atomically(path, "new")
    assert (groups, mode_of(path)) == ([(-1, path.stat().st_gid)], 0o664)

    def refuse_group(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not a member")

    monkeypatch.setattr(os, "fchown", refuse_group)
    write_text_atomically(path, "newer")
    assert (path.read_text(), mode_of(path)) == ("newer", 0o604)


def test_leftover_of_the_same_process_id_gives_no_permissions(tmp_path: Path) -> None:
    left, other = tmp_path / f".texts.{os.getpid()}.new", tmp_path / "other"
    other.write_text("of somebody else")
    left.symlink_to(other)
    write_text_atomically(tmp_path / "texts", "new")
    assert (other.read_text(), mode_of(tmp_path / "texts")) == ("of somebody else", 0o600)


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
