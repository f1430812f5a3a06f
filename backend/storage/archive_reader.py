"""Read archives of model versions, and check them against their manifests.

::

    archive.json                  {"format", "model", "tier", "version", "digest"}
    version/manifest.json
    version/adapter_config.json   every file of the manifest, in order of name

An archive is a tar file of these members and no others. Each header is compared with the one that
the manifest calls for, so no link, device or path of an archive is ever followed.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import FormatError, InputError, VersionInvalid
from tagalong.ner.manifest import (
    ALLOWED_SUFFIXES,
    MANIFEST_FILE_NAME,
    FileRecord,
    Manifest,
    manifest_digest,
    parse_manifest,
)
from tagalong.ner.model_registry import WINDOWS_DEVICE_PATTERN

ARCHIVE_FORMAT = 1  # goes up when members or their order change
HEAD_NAME, FOLDER_NAME = "archive.json", "version/"  # of the first member; of the others
MAX_HEAD_BYTES, MAX_MANIFEST_BYTES = 1 << 16, 1 << 24
CHUNK_BYTES = 1 << 20
OTHER_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)
MEMBER_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
# Names that Linux, macOS and Windows can all hold, and that fit into one header of a tar file.
FILE_NAME_PATTERN = re.compile(r"[\w.-]*[\w-](/[\w.-]*[\w-])*", re.ASCII)
MAX_FILE_NAME_CHARS = tarfile.LENGTH_NAME - len(FOLDER_NAME)


@dataclass(frozen=True, slots=True)
class ArchivedVersion:
    """The content of an open archive whose members have been checked."""

    model: str  # from which the version was exported
    manifest: Manifest
    members: Mapping[str, tuple[int, int]]  # name in the version's folder -> position, bytes


@contextmanager
def open_archive(path: Path) -> Iterator[BinaryIO]:
    """Open a tar file; raises `InputError` if it is none, or compressed."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no regular file" if path.exists() else "missing"
        raise InputError(
            f"{path} is {found}: give a file that `tagalong models export` wrote",
            code="archive-not-a-file",
        )
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        for other_start, kind in OTHER_STARTS:
            if start.startswith(other_start):
                raise FormatError(
                    f"{path} is {kind}: unpack it, and give the tar file in it",
                    code="archive-compressed",
                )
        yield file


def read_members(file: BinaryIO, path: Path) -> ArchivedVersion:
    """Read the manifest of an archive, and compare all members with it; nothing is written.

    Raises `FormatError` if it is another program's or a newer release's, and `VersionInvalid` if it
    was changed or cut off since the export.
    """
    head = _read_head(file, path)
    where = f"{path}/{FOLDER_NAME}{MANIFEST_FILE_NAME}"
    position, size = _find_member(file, path, FOLDER_NAME + MANIFEST_FILE_NAME, MAX_MANIFEST_BYTES)
    members = {MANIFEST_FILE_NAME: (position, size)}
    manifest = parse_manifest(_read_content(file, path, size), where)
    model = str(head["model"])
    if head != build_head(manifest, model):
        raise _changed_error(HEAD_NAME, path)
    check_file_names(manifest.files, where)
    _check_length(file, path, manifest)
    for name, record in sorted(manifest.files.items()):
        members[name] = _find_member(file, path, FOLDER_NAME + name, record.bytes, exact=True)
        digest = hashlib.sha256()
        for chunk in read_chunks(file, record.bytes, path):
            digest.update(chunk)
        if FileRecord(digest.hexdigest(), record.bytes) != record:
            raise _changed_error(FOLDER_NAME + name, path)
        file.seek(-record.bytes % tarfile.BLOCKSIZE, os.SEEK_CUR)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise _foreign_error(path, "it has more files than its manifest")
    return ArchivedVersion(model, manifest, members)


def _read_head(file: BinaryIO, path: Path) -> Mapping[str, object]:
    _, size = _find_member(file, path, HEAD_NAME, MAX_HEAD_BYTES)
    try:
        head = json.loads(_read_content(file, path, size))
    except (ValueError, RecursionError) as error:
        raise _foreign_error(path, f"its {HEAD_NAME} is not JSON") from error
    match head:
        case {"format": int(number)} if number > ARCHIVE_FORMAT:
            raise FormatError(
                f"{path} has format {number}, but this release reads formats up to "
                f"{ARCHIVE_FORMAT}: install a newer Tagalong",
                code="archive-of-newer-format",
            )
        case {"format": int(), "model": str()}:
            return dict(head)
    raise _foreign_error(path, f"its {HEAD_NAME} has no format and model")


def _find_member(
    file: BinaryIO, path: Path, name: str, size: int, *, exact: bool = False
) -> tuple[int, int]:
    """Read the header of the next member; returns the position and the size of its content.

    Without `exact`, `size` is the largest one allowed.
    """
    header = file.read(tarfile.BLOCKSIZE)
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        if name == HEAD_NAME:
            raise _foreign_error(path, "it is no tar file") from error
        if len(header) < tarfile.BLOCKSIZE:
            raise _cut_off_error(path, file.tell()) from error
        raise _foreign_error(path, f"there is no {name}") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = MEMBER_KINDS.get(info.type, "an entry of another kind")
        raise _foreign_error(path, f"{info.name!r} is {kind}")
    if info.name != name:
        raise _foreign_error(path, f"it has {info.name!r} in place of {name!r}")
    if not 0 <= info.size <= size or (exact and info.size != size):
        raise _foreign_error(path, f"{name} has {pluralize(info.size, 'byte')} instead of {size:,}")
    return file.tell(), info.size


def _read_content(file: BinaryIO, path: Path, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise _cut_off_error(path, file.tell())
    file.seek(-size % tarfile.BLOCKSIZE, os.SEEK_CUR)
    return content


def _check_length(file: BinaryIO, path: Path, manifest: Manifest) -> None:
    """Raise `VersionInvalid` if the file is too short for what follows the manifest."""
    sizes = [record.bytes for record in manifest.files.values()]
    padded = sum(tarfile.BLOCKSIZE + size + -size % tarfile.BLOCKSIZE for size in sizes)
    length = os.fstat(file.fileno()).st_size
    if length < file.tell() + padded:
        raise _cut_off_error(path, length)


def check_file_names(names: Collection[str], where: str) -> None:
    """Raise `VersionInvalid` if a version's files cannot be on all systems; ``where`` has them."""
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    spellings = {MANIFEST_FILE_NAME: MANIFEST_FILE_NAME}
    for name in names:
        if not _is_portable_name(name):
            fault = (
                "names have letters, digits, dots, dashes, underscores and slashes, at most "
                f"{MAX_FILE_NAME_CHARS} in all, no dot last, and no device of Windows"
            )
        elif (suffix := PurePosixPath(name).suffix.lower()) not in ALLOWED_SUFFIXES:
            fault = f"{suffix or 'no suffix'!r} is not one of {', '.join(sorted(ALLOWED_SUFFIXES))}"
        elif name in folders or name == MANIFEST_FILE_NAME:
            fault = "it is there twice"
        elif other := _find_other_spelling(name, spellings):
            fault = f"some systems cannot tell it from {other!r}"
        else:
            continue
        raise VersionInvalid(
            f"{where} has a file {name!r} that no version may have: {fault}",
            code="file-name-not-allowed",
        )


def _is_portable_name(name: str) -> bool:
    return (
        len(name) <= MAX_FILE_NAME_CHARS
        and FILE_NAME_PATTERN.fullmatch(name) is not None
        and not any(map(WINDOWS_DEVICE_PATTERN.fullmatch, name.split("/")))
    )


def _find_other_spelling(name: str, spellings: dict[str, str]) -> str | None:
    """Another name or folder that differs only in case; new ones are added to the spellings."""
    path = PurePosixPath(name)
    for part in map(str, (path, *path.parents)):
        if (other := spellings.setdefault(part.lower(), part)) != part:
            return other
    return None


def build_head(manifest: Manifest, model: str) -> dict[str, str | int]:
    """The content of the first member, whose digest is over itself and the manifest."""
    head: dict[str, str | int] = {
        "format": ARCHIVE_FORMAT,
        "model": model,
        "tier": manifest.tier,
        "version": manifest.version,
    }
    digest = manifest_digest({**head, "manifest": manifest_digest(manifest.to_json())})
    return {**head, "digest": digest}


def pad(size: int) -> bytes:
    """The bytes after a content of some bytes, up to the next header."""
    return bytes(-size % tarfile.BLOCKSIZE)


def read_chunks(file: BinaryIO, size: int, place: Path) -> Iterator[bytes]:
    """Read bytes of a file in parts; raises `VersionInvalid` if it has fewer."""
    while size:
        chunk = file.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise VersionInvalid(
                f"{place} became shorter while it was read: try again", code="file-cut-meanwhile"
            )
        size -= len(chunk)
        yield chunk


def _foreign_error(path: Path, reason: str) -> FormatError:
    return FormatError(
        f"{path} was not written by `tagalong models export` ({reason}): give such a file",
        code="archive-foreign",
    )


def _cut_off_error(path: Path, length: int) -> VersionInvalid:
    return VersionInvalid(
        f"{path} is cut off after {pluralize(length, 'byte')}: copy or export it again",
        code="archive-cut-off",
    )


def _changed_error(name: str, path: Path) -> VersionInvalid:
    return VersionInvalid(
        f"{name} in {path} was changed since the export: copy or export it again",
        code="archive-changed",
    )
