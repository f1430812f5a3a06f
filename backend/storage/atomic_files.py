"""Files and folders that appear whole or not at all.

They are written under another name, flushed, then renamed.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tagalong.ner.atomic_io import (
    PRIVATE_FILE_MODE,
    PRIVATE_FOLDER_MODE,
    flush_to_disk,
    move_into_place,
    open_atomically,
)
from tagalong.ner.errors import OutputError


def write_atomically(files: Mapping[Path, Iterable[str | bytes]], *, overwrite: bool) -> None:
    """Write files from their parts, texts or bytes, so that all of them appear whole, or none.

    They and a new folder are for their owner alone; a replaced file keeps its permissions. Files
    that exist are replaced only with `overwrite`, and a fault may leave some of them replaced.

    Raises `OutputError` if a file exists already, or cannot be written.
    """
    for path in files:
        if path.exists() and not (overwrite and path.is_file()):
            advice = "choose another name" if overwrite else "choose another name, or add --force"
            raise OutputError(f"{path} is there already: {advice}", code="output-exists")
    new = [path for path in files if not path.exists()]
    try:
        with ExitStack() as stack:  # no file takes its place before all are on the disk
            for path, parts in files.items():
                path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
                file = stack.enter_context(open_atomically(path))
                file.writelines(one if isinstance(one, bytes) else one.encode() for one in parts)
                flush_to_disk(file)
    except OSError as error:
        with suppress(OSError):
            for one in new:
                one.unlink(missing_ok=True)
        refused = error.filename if error.filename in map(str, files) else path
        message = f"{refused} could not be written: {error.strerror}"
        raise OutputError(message, code="output-unwritable") from error


def write_folder_atomically(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    """Write a new folder from the relative names and contents of its files, which differ in name.

    It is for its owner alone. Raises `OutputError` if it exists already, or cannot be written.
    """
    if folder.exists():
        raise OutputError(f"{folder} is there already: choose another name", code="output-exists")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    try:
        aside.mkdir(PRIVATE_FOLDER_MODE, parents=True)
        for name, content in files:
            path = aside / name
            path.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(path, flags, PRIVATE_FILE_MODE), "wb") as file:
                file.write(content.encode())
        move_into_place(aside, folder)
    except OSError as error:
        message = f"{folder} could not be written: {error.strerror}"
        raise OutputError(message, code="output-unwritable") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
