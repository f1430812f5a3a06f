"""Locks between processes, and scratch folders that outlive no process.

The system releases a lock when its process ends, also after ``kill -9``.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tagalong.ner.atomic_io import fsync_paths

SCRATCH_PREFIX = ".staging-"  # of the name of a folder with unfinished work
OWNER_LOCK_NAME = "lock"  # in such a folder: held by the process at work there
POLL_SECONDS = 0.01  # a writer holds the lock of a folder for milliseconds


def folder_lock(folder: Path) -> FileLock:
    """The lock of a folder, in its file ``.lock``; it waits for other threads and processes."""
    return FileLock(folder / ".lock", poll_interval=POLL_SECONDS)


@contextmanager
def try_lock(path: Path, *, timeout_seconds: float = 0.0) -> Iterator[bool]:
    """Lock a file, without waiting by default; a missing one is made, with its folder, and stays.

    Yields True while the lock is held, or False if another thread or process holds it.
    """
    try:
        held = FileLock(path, thread_local=False).acquire(timeout_seconds)
    except Timeout:
        yield False
        return
    with held:
        yield True


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make an empty hidden folder for content that will be renamed into ``parent``.

    It is removed at the end, or by `remove_abandoned_scratch_folders` after a kill.
    """
    with folder_lock(parent):  # so that no sweep sees it before its owner's lock is held
        container = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=parent))
        owner = FileLock(container / OWNER_LOCK_NAME, thread_local=False).acquire()
    with owner:
        try:
            folder = container / "work"
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(container, ignore_errors=True)


def remove_abandoned_scratch_folders(parent: Path) -> None:
    """Remove the scratch folders of killed processes; the caller holds the lock of the parent."""
    for container in parent.glob(f"{SCRATCH_PREFIX}*"):
        with (
            suppress(FileNotFoundError),  # its owner has just removed it
            try_lock(container / OWNER_LOCK_NAME) as is_abandoned,
        ):
            if is_abandoned:
                shutil.rmtree(container, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, whose parent the caller has locked."""
    container = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=folder.parent))
    folder.rename(container / folder.name)  # first, so that no reader ever sees half of it
    with suppress(OSError):  # it is removed, but a power cut may bring it back
        fsync_paths(folder.parent)
    shutil.rmtree(container, ignore_errors=True)
