"""The files of a model version: which kinds are allowed, and their hashes.

Unpickling a file runs whatever code the file asks for. So nothing in Tagalong unpickles a file of a
version, and a version holds only kinds of files that no library unpickles.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

WEIGHT_SUFFIXES = frozenset({".safetensors", ".onnx"})
# Configs, vocabularies and chat templates, as the tokenizers of transformers save them.
ALLOWED_SUFFIXES = WEIGHT_SUFFIXES | {
    *(".json", ".jsonl", ".jinja", ".txt", ".md"),
    *(".model", ".spm", ".codes", ".bpe", ".vocab", ".tiktoken"),
}


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The digest (hexadecimal) and the size of one file in a manifest."""

    sha256: str
    bytes: int


def find_files(folder: Path) -> dict[str, Path]:
    """Find everything under a folder that is not a folder itself, links to folders included.

    Returns paths by name relative to the folder (with ``/`` on every system), sorted by name.
    """
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):  # does not fail if a folder vanishes meanwhile
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent) / name
            found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def hash_file(path: Path) -> FileRecord:
    """Compute the digest and the size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileRecord(digest.hexdigest(), file.tell())


def forbidden_reason(path: Path) -> str | None:
    """The reason why a file may not be part of a version, to follow "is"; None if it may."""
    if path.is_symlink():
        return "a symbolic link, which may lead to any file"
    if not path.is_file():
        return "not a regular file"
    if path.suffix.lower() not in ALLOWED_SUFFIXES:
        return f"not one of {', '.join(sorted(ALLOWED_SUFFIXES))}"
    return None
