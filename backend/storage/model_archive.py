"""Move model versions between machines, as tar files that `archive_reader` describes."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from tagalong.backend.storage.archive_reader import (
    FOLDER_NAME,
    HEAD_NAME,
    ArchivedVersion,
    build_head,
    check_file_names,
    open_archive,
    pad,
    read_chunks,
    read_members,
)
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import PublishError, RegistryError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import MANIFEST_FILE_NAME, Manifest, read_manifest
from tagalong.ner.model_registry import validate_name

ImportOutcome = Literal["imported", "replaced", "present"]


@dataclass(frozen=True, slots=True)
class ImportedVersion:
    """What an import did: ``replaced`` if a damaged version was there, ``present`` if an intact."""

    model: str
    manifest: Manifest
    outcome: ImportOutcome


def export_version(
    store: ModelStore, reference: str, path: Path, *, overwrite: bool = False
) -> tuple[str, Manifest]:
    """Write a version into a tar file, from which `import_version` reads it; returns its model.

    `reference` is one that `ModelRegistry.resolve` reads. The same version gives the same bytes.

    Raises:
        VersionNotFound: If there is no such version.
        VersionInvalid: If the version changed since publishing, or a file has a name that other
            systems cannot hold.
        OutputError: If the file exists already, or cannot be written.
    """
    folder = store.resolve(reference)
    manifest = read_manifest(folder)
    check_file_names(manifest.files, str(folder))
    home = folder.resolve().parent
    # The bundled version, and one in a folder elsewhere, become versions of the default model.
    model = home.name if home.parent == store.root.resolve() else manifest.tier
    write_atomically({path: _pack(folder, manifest, model)}, overwrite=overwrite)
    return model, manifest


def import_version(store: ModelStore, path: Path, *, model: str | None = None) -> ImportedVersion:
    """Check an archive, and add its version to a model; by default to that of its export.

    An intact version of the same name stays as it is, and a damaged one is replaced. The version is
    not current yet: see `ModelStore.promote`.

    Raises:
        InputError: If the file is missing, or no archive of this release.
        VersionInvalid: If the archive changed since the export.
        RegistryError: If the name of the model is not safe, or the model has versions of another
            tier, or another version of this name.
        PublishError: If the disk is too small, or the file system refuses.
    """
    with open_archive(path) as file:
        archive = read_members(file, path)
        model, manifest = model or archive.model, archive.manifest
        store.check_tier(model, manifest.tier)
        place = store.model_folder(model) / validate_name(manifest.version)
        outcome = _compare_with_present(place, manifest)
        if outcome != "present":
            _check_free_space(place, manifest)
            with store.staging_folder(model) as folder:
                _unpack(file, archive, folder)
                store.adopt(folder, model)
    return ImportedVersion(model, manifest, outcome)


def _pack(folder: Path, manifest: Manifest, model: str) -> Iterator[bytes]:
    """The bytes of an archive, from the folder of a version that was verified."""
    stored = (folder / MANIFEST_FILE_NAME).read_bytes()
    head = json.dumps(build_head(manifest, model), indent=2)
    created = _read_time(manifest)
    for name, content in (
        (HEAD_NAME, head.encode() + b"\n"),
        (FOLDER_NAME + MANIFEST_FILE_NAME, stored),
    ):
        yield _build_header(name, len(content), created)
        yield content + pad(len(content))
    for name, record in sorted(manifest.files.items()):
        yield _build_header(FOLDER_NAME + name, record.bytes, created)
        with (folder / name).open("rb") as file:
            yield from read_chunks(file, record.bytes, folder / name)
        yield pad(record.bytes)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _read_time(manifest: Manifest) -> int:
    """The time of publishing in seconds since 1970; 0 if the manifest has no valid one."""
    try:
        created = datetime.fromisoformat(manifest.created)
        return max(0, int((created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0


def _build_header(name: str, size: int, mtime: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, mtime
    # GNU's headers have room for sizes over 8 GB. Names are short enough to need only one.
    return info.tobuf(tarfile.GNU_FORMAT)


def _compare_with_present(place: Path, manifest: Manifest) -> ImportOutcome:
    """Compare a version with the folder where it would be."""
    try:
        present = read_manifest(place)
    except VersionNotFound:
        return "imported"
    except VersionInvalid:
        return "replaced"
    if present.files == manifest.files:  # apart from these, only times and scores can differ
        return "present"
    raise RegistryError(
        f"{place} is another version with the same name: give another model name (--model)",
        code="version-name-taken",
    )


def _check_free_space(place: Path, manifest: Manifest) -> None:
    needed = sum(record.bytes for record in manifest.files.values())
    existing = next(folder for folder in place.parents if folder.exists())
    if (free := shutil.disk_usage(existing).free) < needed:
        raise PublishError(
            f"{manifest.version} needs {needed / 1e6:,.1f} MB, and {existing.absolute()} has "
            f"{free / 1e6:,.1f} MB free: make room and try again",
            code="disk-too-small",
        )


def _unpack(file: BinaryIO, archive: ArchivedVersion, folder: Path) -> None:
    for name, (position, size) in archive.members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        file.seek(position)
        with path.open("xb") as unpacked:
            unpacked.writelines(read_chunks(file, size, path))
