"""Writing so that a kill at any moment, or a full disk, leaves the old state or the new one.

A file is written beside its place, flushed to the disk and renamed. Then the folder is flushed too;
otherwise a power cut could take the new name away.
"""

import errno
import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tagalong.ner.errors import PublishError

DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})  # a user's quota counts too
PERMISSION_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# Texts may be of patients, so what may hold some is for its owner alone. Model versions hold none:
# their files have `UMASK_MODE`.
PRIVATE_FILE_MODE, PRIVATE_FOLDER_MODE, UMASK_MODE = 0o600, 0o700, 0o666


@contextmanager
def open_atomically(path: Path, *, mode: int = PRIVATE_FILE_MODE) -> Iterator[BinaryIO]:
    """Replace a file by what is written in the block; an error in the block leaves the old one.

    A new file gets `mode`, less the umask. A replaced one keeps its permissions and its group. A
    killed process leaves its file behind: see `remove_unfinished_writes`.
    """
    # The process id keeps two writers of one path apart where no lock does.
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)  # of a killed process with this id
    old = path.stat() if path.is_file() else None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    file = os.fdopen(os.open(aside, flags, PRIVATE_FILE_MODE if old else mode), "wb")
    try:
        yield file
        if old is not None:
            _copy_permissions(old, file.fileno())
        flush_to_disk(file)
        aside.replace(path)
    except BaseException as error:
        with suppress(OSError), file:  # the disk may refuse this too
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(aside)):
            error.filename = str(path)
        raise
    file.close()
    fsync_paths(path.parent)


def _copy_permissions(old: os.stat_result, descriptor: int) -> None:
    mode = stat.S_IMODE(old.st_mode)
    try:
        os.fchown(descriptor, -1, old.st_gid)
    except PermissionError:  # its group's permissions are not for another group
        mode &= ~stat.S_IRWXG
    os.fchmod(descriptor, mode)


def write_text_atomically(path: Path, text: str, *, mode: int = PRIVATE_FILE_MODE) -> None:
    """Replace a file by a text, in UTF-8, as `open_atomically` does."""
    with open_atomically(path, mode=mode) as file:
        file.write(text.encode())


def remove_unfinished_writes(path: Path) -> None:
    """Remove what killed processes left of `open_atomically`; no other process may be writing."""
    for aside in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        aside.unlink(missing_ok=True)


def move_into_place(folder: Path, place: Path) -> None:
    """Rename a finished folder once all its content is on the disk."""
    fsync_paths(*folder.rglob("*"), folder)
    folder.rename(place)
    fsync_paths(place.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that a power cut does not take them away."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    fsync_paths(*(path.parent for path in made))


def flush_to_disk(file: BinaryIO) -> None:
    """Wait until everything written to a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def fsync_paths(*paths: Path) -> None:
    """Wait until files, and the names in folders, are on the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # of a folder too, for the names in it
        except OSError as error:
            error.filename = str(path)
            raise
        finally:
            os.close(descriptor)


@contextmanager
def translate_os_errors(action: str, *, disk_full_only: bool = False) -> Iterator[None]:
    """Raise `PublishError`, "could not" and the action, where the file system refuses.

    With ``disk_full_only``, all other errors pass.
    """
    try:
        yield
    except OSError as error:
        if disk_full_only and error.errno not in DISK_FULL_ERRNOS:
            raise
        if error.errno in DISK_FULL_ERRNOS:
            cause, code = "the disk is full, so make room and try again", "disk-full"
        elif error.errno in PERMISSION_ERRNOS:
            place = error.filename or "the folder"
            cause, code = f"{place} is not writable, so change that or use another", "not-writable"
        else:
            where = f" ({error.filename})" if error.filename else ""
            # The text of the error itself begins with its number, which nobody knows.
            cause, code = f"{error.strerror or error}{where}", "file-system-error"
        raise PublishError(
            f"could not {action}: {cause}; nothing is left half done", code=code
        ) from error
