"""The files of a model version: found, hashed, and refused where loading them could run code.

Only safetensors, ONNX and plain data belong in a version. Whatever Python would have to unpickle
is refused, by name and by content, because unpickling runs whatever the file tells it to.
"""

import hashlib
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

WEIGHT_SUFFIXES = frozenset({".safetensors", ".onnx"})
PICKLE_SUFFIXES = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"}
)  # what torch.save, pickle, joblib and dill call their files
PICKLE_MAGIC = re.compile(
    rb"\x80[\x02-\x05]"
)  # PROTO and its number; protocols 0 and 1 have no magic
NUMPY_OBJECT_ARRAY_MAGIC = re.compile(
    rb"\x93NUMPY.{4,6}\{[^}]*\|O", re.DOTALL
)  # its elements are pickled
HEAD_BYTES = 4096  # holds every magic number, and the header of any array that we would meet
SAFETENSORS_PREFIX_BYTES = 8  # little-endian length of the JSON header that follows


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a manifest knows about one file.

    Attributes:
        sha256: Hexadecimal digest of its content.
        bytes: Its size.
    """

    sha256: str
    bytes: int


def find_files(folder: Path) -> dict[str, Path]:
    """Find everything under a folder that is not itself a folder, links to folders included.

    Args:
        folder: Any folder.

    Returns:
        Paths by name relative to the folder (with ``/`` on every system), sorted by name.
    """
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(folder):  # a folder that vanishes meanwhile is no error
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(place) / name
            found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def hash_file(path: Path) -> FileRecord:
    """Hash a file.

    Args:
        path: Any regular file.

    Returns:
        Its digest and size.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileRecord(digest.hexdigest(), file.tell())


def forbidden_reason(path: Path) -> str | None:
    """Say why a file must not be part of a model version.

    Args:
        path: Something that `find_files` found.

    Returns:
        What is wrong with it, to be read after "is"; None where nothing is.
    """
    if path.is_symlink():
        return "a symbolic link, which may lead to anything"
    if not path.is_file():
        return "not a regular file"
    if path.suffix.lower() in PICKLE_SUFFIXES:
        return f"a {path.suffix} file, which is loaded by unpickling and so can run any code"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if path.suffix.lower() == ".safetensors":
        return None if _is_safetensors(head, path.stat().st_size) else "not in safetensors format"
    if PICKLE_MAGIC.match(head) or NUMPY_OBJECT_ARRAY_MAGIC.match(head) or _is_pickle_archive(path):
        return "a pickle, whatever its name says, and loading it can run any code"
    return None


def _is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file starts as safetensors does: the length of a JSON object, then the object.

    A header of 640 bytes begins with the very bytes of a pickle of protocol 2, so the pickle magic
    says nothing here; the brace at byte 8, which no pickle has there, does.
    """
    length = int.from_bytes(head[:SAFETENSORS_PREFIX_BYTES], "little")
    fits = SAFETENSORS_PREFIX_BYTES + length <= size
    return fits and head[SAFETENSORS_PREFIX_BYTES:].startswith(b"{")


def _is_pickle_archive(path: Path) -> bool:
    """Whether a file is a zip with pickles in it, as ``torch.save`` has written since 2020."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
