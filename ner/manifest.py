"""The manifest: what is known about a model version, and the seal on its files.

A version is a folder; ``manifest.json`` in it is written last, and lists every other file with its
size and SHA-256, and its own digest. Reading it back checks all of that, so what is loaded, and
what is said of it, is what was published.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from reprlib import repr as short_repr
from types import NoneType
from typing import Any

from tagalong.ner.errors import PublishError, VersionInvalid, VersionNotFound
from tagalong.ner.file_safety import (
    WEIGHT_SUFFIXES,
    FileRecord,
    find_files,
    forbidden_reason,
    hash_file,
)

MANIFEST_SCHEMA_VERSION = (
    2  # of manifest.json; goes up when a field is added, removed or changes its meaning
)
FIRST_CALIBRATION_HASH_SCHEMA = (
    2  # the first format whose content hash counts the calibration, which decides tags
)
MANIFEST_FILE_NAME = "manifest.json"
CACHE_FOLDER_NAME = (
    ".cache"  # in the folder of a version: what follows from it, and is no part of it
)
SAFE_NAME_PATTERN = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII
)  # never a path, never hidden
FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "format": (int,),
    **dict.fromkeys(("version", "digest", "tier", "name", "created", "base"), (str,)),
    "base_revision": (str, NoneType),
    "labels": (list,),
    **dict.fromkeys(("config", "data", "scores", "calibration", "environment", "files"), (dict,)),
}
HASH_DIGITS = 8  # of the content hash in a version's name: 32 bits, to tell versions apart by eye
REPAIR_ADVICE = "retrain, promote another version, or copy it again from where it came"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionMetadata:
    """What a trainer knows about a version before it is published.

    Attributes:
        tier: Folder of the store it belongs to: ``encoder`` or ``llm``.
        name: What the version's name starts with.
        base: Reference of the base model: hub id, folder or ``package:MODULE/PATH``.
        base_revision: Commit of a hub id, or version of a package; None where there is none.
        labels: Entity types in the order of the label config; the tags follow from it.
        config: Everything that was set for the training.
        data: What it was trained on: fingerprint, counts of documents and entities, sources.
        scores: By split, for instance ``{"dev": {"strict_f1": 0.84}}``.
        calibration: What turns its scores into probabilities and tags: ``temperature``, and of an
            encoder how the words of a document bear on each other.
        environment: Versions of Python and of the packages it was trained with.
    """

    tier: str
    name: str
    base: str
    base_revision: str | None = None
    labels: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(VersionMetadata):
    """A draft that was published.

    Attributes:
        version: Name, UTC date and content hash, joined by dashes.
        created: When it was published, ISO 8601 in UTC.
        files: Every file of the version but the manifest, by name relative to its folder.
        format: Of the manifest itself.
    """

    version: str
    created: str
    files: Mapping[str, FileRecord]
    format: int = MANIFEST_SCHEMA_VERSION

    @classmethod
    def from_json(cls, value: object, where: str) -> "Manifest":
        """Check what was read from a ``manifest.json``.

        Args:
            value: As the JSON parser gives it.
            where: The file's path, for messages.

        Returns:
            The manifest.

        Raises:
            VersionInvalid: If it has another format, or a field is missing, foreign or of a wrong
                kind.
        """
        known = _validate_fields(value, where)
        del known["digest"]  # follows from the rest
        files = {
            name: _parse_file_record(name, record, where) for name, record in known["files"].items()
        }
        return cls(**{**known, "labels": tuple(known["labels"]), "files": files})

    def to_json(self) -> dict[str, Any]:
        """The manifest as an object that JSON can hold: format, version and digest first."""
        known = asdict(self)
        first = {"format": self.format, "version": self.version, "digest": manifest_digest(known)}
        return first | known


def content_hash(
    metadata: VersionMetadata,
    files: Mapping[str, FileRecord],
    *,
    schema_version: int = MANIFEST_SCHEMA_VERSION,
) -> str:
    """Hash what makes a version itself: weights, calibration, config, data, labels and base.

    Scores, times and environment are left out: the same training gives the same hash.

    Args:
        metadata: Or a manifest, to check it.
        files: The files of the version; only weights count.
        schema_version: Format of the manifest.

    Returns:
        The first `HASH_DIGITS` hexadecimal digits of a SHA-256 over canonical JSON.
    """
    content: dict[str, Any] = {
        "weights": {name: files[name].sha256 for name in files if _is_weights_file(name)},
        "config": metadata.config,
        "data": metadata.data,
        "labels": metadata.labels,
        "base": [metadata.base, metadata.base_revision],
    }
    if schema_version >= FIRST_CALIBRATION_HASH_SCHEMA:
        content["calibration"] = metadata.calibration
    return _canonical_hash(content)[:HASH_DIGITS]


def manifest_digest(value: Mapping[str, Any]) -> str:
    """Hash everything that a manifest says: scores, calibration and records of files included.

    Args:
        value: A manifest as JSON holds it, with or without the digest that was written in it.

    Returns:
        SHA-256 over canonical JSON of all fields but the digest, in hexadecimal.
    """
    return _canonical_hash({name: value[name] for name in value if name != "digest"})


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Hash every file that is to be published.

    Args:
        folder: Of a version that has no manifest yet.

    Returns:
        What the manifest will say about its files.

    Raises:
        PublishError: If a file may not be part of a version, or there are no weights.
    """
    found = find_files(folder)
    for name, path in found.items():
        if reason := forbidden_reason(path):
            raise PublishError(f"{name} in {folder} is {reason}: save weights as safetensors")
    if not any(_is_weights_file(name) for name in found):
        raise PublishError(f"{folder} has no weights: save them as safetensors before publishing")
    return {name: hash_file(path) for name, path in found.items() if name != MANIFEST_FILE_NAME}


def is_version(folder: Path) -> bool:
    """Whether a folder is a model version: the manifest comes last, so presence means complete."""
    return (folder / MANIFEST_FILE_NAME).is_file()


def read_manifest(folder: Path, *, verify: bool = True) -> Manifest:
    """Read the manifest of a version and check that the version is as it was published.

    Args:
        folder: Of one version.
        verify: False leaves out the files (a fast path for listings, never for loading).

    Returns:
        The manifest.

    Raises:
        VersionNotFound: If there is no such folder.
        VersionInvalid: If the manifest or any file is missing, changed, or of a forbidden kind.
    """
    path = folder / MANIFEST_FILE_NAME
    try:
        value = json.loads(path.read_bytes())
        manifest = Manifest.from_json(value, str(path))
        if value["digest"] != manifest_digest(value):
            raise VersionInvalid(f"{path} was changed since publishing: {REPAIR_ADVICE}")
    except FileNotFoundError:
        if not folder.is_dir():
            raise VersionNotFound(f"{folder} is not there: see `tagalong models list`") from None
        raise VersionInvalid(
            f"{folder} has no {MANIFEST_FILE_NAME}, so it is no complete version: {REPAIR_ADVICE}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise VersionInvalid(f"{path} cannot be read ({error}): {REPAIR_ADVICE}") from error
    if verify:
        _verify(folder, manifest)
    return manifest


def check_sizes(folder: Path) -> None:
    """Check that a version is as it was published, as far as that is told without reading weights.

    Args:
        folder: Of one version.

    Raises:
        VersionNotFound: If there is no such folder.
        VersionInvalid: If the manifest or any file is missing, of another size, or of a forbidden
            kind.
    """
    manifest = read_manifest(folder, verify=False)
    try:
        _compare_sizes(folder, manifest)
    except OSError as error:  # removed while it was looked at
        raise VersionInvalid(f"{folder} cannot be read ({error}): {REPAIR_ADVICE}") from error


def _verify(folder: Path, manifest: Manifest) -> None:
    """Compare a version with its manifest, the cheap checks first."""
    found = _compare_sizes(folder, manifest)
    for name, expected in manifest.files.items():
        if hash_file(found[name]) != expected:
            raise VersionInvalid(
                f"{name} in {folder} was changed since publishing: {REPAIR_ADVICE}"
            )
    content = content_hash(manifest, manifest.files, schema_version=manifest.format)
    if not manifest.version.endswith(f"-{content}"):
        raise VersionInvalid(
            f"{folder / MANIFEST_FILE_NAME} names a version of another content "
            f"({manifest.version}): {REPAIR_ADVICE}"
        )


def _compare_sizes(folder: Path, manifest: Manifest) -> dict[str, Path]:
    """Compare the names and sizes of a version's files with its manifest; say where they are."""
    found = find_files(folder)
    found.pop(MANIFEST_FILE_NAME, None)
    found = {
        name: path for name, path in found.items() if not name.startswith(f"{CACHE_FOLDER_NAME}/")
    }
    for name, path in found.items():
        if reason := forbidden_reason(path):
            raise VersionInvalid(f"{name} in {folder} is {reason}: delete it, or {REPAIR_ADVICE}")
        hidden = any(part.startswith(".") for part in name.split("/"))  # what a desktop leaves
        if name not in manifest.files and not hidden:
            raise VersionInvalid(
                f"{name} in {folder} was not published with it: delete it, or {REPAIR_ADVICE}"
            )
    for name, expected in manifest.files.items():
        if name not in found:
            raise VersionInvalid(f"{name} is missing from {folder}: {REPAIR_ADVICE}")
        size = found[name].stat().st_size
        if size != expected.bytes:
            raise VersionInvalid(
                f"{name} in {folder} has {size:,} bytes instead of {expected.bytes:,}: "
                f"{REPAIR_ADVICE}"
            )
    return found


def _canonical_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of what JSON can hold, the same whatever the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _is_weights_file(name: str) -> bool:
    """Whether a file of that name holds weights."""
    return Path(name).suffix.lower() in WEIGHT_SUFFIXES


def _validate_fields(value: object, where: str) -> dict[str, Any]:
    """The fields of a manifest, each there and of the right kind, and no others."""
    if not isinstance(value, dict):
        raise VersionInvalid(
            f"{where} holds {short_repr(value)} instead of an object: {REPAIR_ADVICE}"
        )
    if isinstance(value.get("format"), int) and value["format"] > MANIFEST_SCHEMA_VERSION:
        raise VersionInvalid(
            f"{where} has format {value['format']}, but this release reads formats up to "
            f"{MANIFEST_SCHEMA_VERSION}: install a newer Tagalong"
        )
    for name, kinds in FIELD_TYPES.items():
        if name not in value:
            raise VersionInvalid(f"{where} lacks the field {name!r}: {REPAIR_ADVICE}")
        if not isinstance(value[name], kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise VersionInvalid(
                f"{where} has {short_repr(value[name])} as {name!r}, not {wanted}: {REPAIR_ADVICE}"
            )
    if foreign := sorted(value.keys() - FIELD_TYPES.keys()):
        raise VersionInvalid(f"{where} has unknown fields ({', '.join(foreign)}): {REPAIR_ADVICE}")
    if not value["labels"] or not all(isinstance(label, str) for label in value["labels"]):
        raise VersionInvalid(
            f"{where} has {short_repr(value['labels'])} as 'labels': {REPAIR_ADVICE}"
        )
    return dict(value)


def _parse_file_record(name: str, record: object, where: str) -> FileRecord:
    """The record of one file."""
    match record:
        case {"sha256": str(digest), "bytes": int(size)}:
            return FileRecord(digest, size)
    raise VersionInvalid(f"{where} has {short_repr(record)} for the file {name!r}: {REPAIR_ADVICE}")
