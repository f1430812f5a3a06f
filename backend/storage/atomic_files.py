"""Files that appear whole or not at all: written under another name, flushed, then renamed."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tagalong.ner.atomic_io import PRIVATE_FOLDER_MODE, flush_to_disk, open_atomically
from tagalong.ner.errors import OutputError


def write_atomically(files: Mapping[Path, Iterable[str]], *, overwrite: bool) -> None:
    """Write files from the parts of their texts, so that all of them appear whole, or none.

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
                file.writelines(part.encode() for part in parts)
                flush_to_disk(file)
    except OSError as error:
        with suppress(OSError):
            for one in new:
                one.unlink(missing_ok=True)
        refused = error.filename if error.filename in map(str, files) else path
        message = f"{refused} could not be written: {error.strerror}"
        raise OutputError(message, code="output-unwritable") from error
