"""Writing so that a kill at any moment, or a full disk, leaves the old state or the new one.

The means are those of POSIX: a file is written aside, flushed to the disk and renamed into place;
``flock`` keeps writers apart and dies with its process. Windows, which has no ``flock``, is out of
scope.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagalong.ner.errors import PublishError

SCRATCH_PREFIX = ".staging-"  # what the name of a folder of unfinished work starts with
OWNER_LOCK_NAME = "lock"  # in such a folder: held by the process at work there
DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
PERMISSION_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep every other writer out of a folder, in this process and in others.

    Args:
        folder: Must exist; a file named ``.lock`` stays in it.

    Yields:
        Nothing, while the lock is held.
    """
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a hidden folder to prepare something that will be renamed into ``home``.

    Args:
        parent: Must exist.

    Yields:
        An empty folder. What is left of it at the end is removed, and what a killed process leaves
        `remove_abandoned_scratch_folders` removes.
    """
    with folder_lock(parent):  # so that no sweep sees it before its owner's lock is held
        container = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=parent))
        owner = (container / OWNER_LOCK_NAME).open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
    with owner:
        try:
            folder = container / "work"
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(container, ignore_errors=True)


def remove_abandoned_scratch_folders(parent: Path) -> None:
    """Remove what killed processes left of their scratch folders.

    Args:
        parent: A folder whose lock the caller holds.
    """
    for container in parent.glob(f"{SCRATCH_PREFIX}*"):
        if _is_abandoned(container):
            shutil.rmtree(container, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder at once: it is renamed out of sight first, so no half of it is ever seen.

    Args:
        folder: In a folder whose lock the caller holds.
    """
    container = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=folder.parent))
    folder.rename(container / folder.name)
    fsync_paths(folder.parent)
    shutil.rmtree(container, ignore_errors=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see the old content or the new one, never a part.

    Args:
        path: In a folder whose lock the caller holds.
        text: Its new content.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    fsync_paths(aside)
    aside.replace(path)
    fsync_paths(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, that is there after a power cut as well.

    Args:
        folder: It may be there.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    fsync_paths(*(path.parent for path in made))


def fsync_paths(*paths: Path) -> None:
    """Wait until files and folders are on the disk.

    Args:
        *paths: Of a folder, only its list of names is waited for.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def translate_os_errors(action: str, *, disk_full_only: bool = False) -> Iterator[None]:
    """Turn what the file system refuses into one sentence.

    Args:
        action: What is being done, to be read after "could not".
        disk_full_only: True leaves everything but a full disk to the caller.

    Yields:
        Nothing.

    Raises:
        PublishError: If the file system refuses.
    """
    try:
        yield
    except OSError as error:
        if disk_full_only and error.errno not in DISK_FULL_ERRNOS:
            raise
        raise PublishError(
            f"could not {action}: {_describe_os_error(error)}; what was current before still is"
        ) from error


def _describe_os_error(error: OSError) -> str:
    """What the file system said, and what to do."""
    if error.errno in DISK_FULL_ERRNOS:
        return "the disk is full, so make room and try again"
    if error.errno in PERMISSION_ERRNOS:
        return f"{error.filename or 'the folder'} may not be written, so change that or use another"
    return f"{error.strerror or error} ({error.filename})" if error.filename else str(error)


def _is_abandoned(container: Path) -> bool:
    """Whether the process that worked in a scratch folder is gone."""
    try:
        with (container / OWNER_LOCK_NAME).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True
