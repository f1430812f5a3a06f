"""The manifest of a model version: its description, and the digests of its files.

``manifest.json`` is the last file written to the folder of a version. It holds its own digest, and
the size and SHA-256 of every other file. Reading checks them all, so nothing that changed after
publishing is loaded.

Unpickling a file runs whatever code the file asks for. So nothing in Tagalong unpickles a file of a
version, and a version holds only kinds of files that no library unpickles.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from reprlib import repr as short_repr
from types import NoneType
from typing import Any

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import PublishError, VersionInvalid, VersionNotFound
from tagalong.ner.words import PLAIN, WORD_RULES, WordRule

MANIFEST_SCHEMA_VERSION = 2  # goes up when a field is added, removed or changes its meaning
FIRST_CALIBRATION_HASH_SCHEMA = 2  # since this format the content hash counts the calibration
MANIFEST_FILE_NAME = "manifest.json"
# Never a path and never hidden.
SAFE_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "format": (int,),
    **dict.fromkeys(("version", "digest", "tier", "name", "created", "base"), (str,)),
    "base_revision": (str, NoneType),
    "labels": (list,),
    **dict.fromkeys(("config", "data", "scores", "calibration", "environment", "files"), (dict,)),
}
WORD_RULE_KEY = "word_rule"  # of the config; absent before the first release with several rules
HASH_DIGITS = 8  # of the content hash in a version's name: enough to tell versions apart by eye
REPAIR_ADVICE = "retrain, promote another version, or copy it again from where it came"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionMetadata:
    """The description of a version before publishing."""

    tier: str
    name: str  # the first part of the version's name
    base: str  # hub id, folder or ``package:MODULE/PATH``; empty for none
    base_revision: str | None = None  # commit or package version; None for a folder
    labels: tuple[str, ...]  # in the order of the labelling config; tag ids follow that order
    config: Mapping[str, Any] = field(default_factory=dict)  # all settings of the training
    data: Mapping[str, Any] = field(default_factory=dict)  # fingerprint, counts and sources
    scores: Mapping[str, Any] = field(default_factory=dict)  # such as {"dev": {"strict_f1": 0.84}}
    # Between scores and tags: ``temperature``; for an encoder, also label consistency and
    # transitions.
    calibration: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)  # versions of Python and packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(VersionMetadata):
    """The description of a published version."""

    version: str  # name, UTC date, number (of files with the same hash) and content hash
    created: str  # time of publishing, ISO 8601 in UTC
    files: Mapping[str, FileRecord]  # all but the manifest, by name relative to the folder
    format: int = MANIFEST_SCHEMA_VERSION

    @classmethod
    def from_json(cls, value: object, where: str) -> "Manifest":
        """Check the parsed content of a ``manifest.json``; ``where`` is its path, for messages.

        Raises `VersionInvalid` if it has a newer format, or a field is missing, unknown or of a
        wrong type.
        """
        fields = _validate_fields(value, where)
        del fields["digest"]  # computed from the other fields
        files: dict[str, FileRecord] = {}
        for name, record in fields["files"].items():
            match record:
                case {"sha256": str(digest), "bytes": int(size)}:
                    files[name] = FileRecord(digest, size)
                case _:
                    raise _invalid_version(
                        f"{where} has {short_repr(record)} for the file {name!r}",
                        "manifest-file-record-invalid",
                    )
        return cls(**{**fields, "labels": tuple(fields["labels"]), "files": files})

    def to_json(self) -> dict[str, Any]:
        """The manifest as an object for JSON: format, version and digest first."""
        fields = asdict(self)
        first = {"format": self.format, "version": self.version, "digest": manifest_digest(fields)}
        return first | fields


def read_word_rule(manifest: VersionMetadata) -> WordRule:
    """The word rule of a version; raises `VersionInvalid` if this release does not know it."""
    name = manifest.config.get(WORD_RULE_KEY, PLAIN.name)
    if name not in WORD_RULES:
        raise VersionInvalid(
            f"the version has the word rule {name!r}, and this release has "
            f"{', '.join(WORD_RULES)}: install a newer Tagalong",
            code="word-rule-unknown",
        )
    return WORD_RULES[name]


def content_hash(
    metadata: VersionMetadata,
    files: Mapping[str, FileRecord],
    *,
    schema_version: int = MANIFEST_SCHEMA_VERSION,
) -> str:
    """Hash the identity of a version: weights, calibration, config, data, labels and base.

    Without weights, all files count in their place. Scores, times and environment do not count, so
    the same training gives the same hash. It is the first `HASH_DIGITS` hexadecimal digits of a
    SHA-256 over canonical JSON.
    """
    weights = [name for name in files if _is_weights_file(name)]
    content: dict[str, Any] = {
        "weights": {name: files[name].sha256 for name in weights or files},
        "config": metadata.config,
        "data": metadata.data,
        "labels": metadata.labels,
        "base": [metadata.base, metadata.base_revision],
    }
    if schema_version >= FIRST_CALIBRATION_HASH_SCHEMA:
        content["calibration"] = metadata.calibration
    return _canonical_hash(content)[:HASH_DIGITS]


def manifest_digest(value: Mapping[str, Any]) -> str:
    """Compute SHA-256 over canonical JSON of all fields of a manifest except its digest."""
    return _canonical_hash({name: value[name] for name in value if name != "digest"})


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Hash the files of a version; raises `PublishError` if one is forbidden, or there is none."""
    found = find_files(folder)
    found.pop(MANIFEST_FILE_NAME, None)
    for name, path in found.items():
        if reason := forbidden_reason(path):
            raise PublishError(
                f"{name} in {folder} is {reason}: save weights as safetensors",
                code="file-not-allowed",
            )
    if not found:
        raise PublishError(
            f"{folder} has no files: save the model there before publishing", code="no-files"
        )
    return {name: hash_file(path) for name, path in found.items()}


def is_version(folder: Path) -> bool:
    """Whether a folder is a complete version: the manifest is its last file."""
    return (folder / MANIFEST_FILE_NAME).is_file()


def read_manifest(folder: Path, *, verify: bool = True) -> Manifest:
    """Read the manifest of a version, and check that nothing has changed since publishing.

    Raises `VersionNotFound` if there is no such folder, `VersionInvalid` if the manifest or any
    file is missing, changed, or of a forbidden kind. Without ``verify``, the files are not
    checked: a fast path for listings, never for loading.
    """
    path = folder / MANIFEST_FILE_NAME
    try:
        manifest = parse_manifest(path.read_bytes(), str(path))
    except FileNotFoundError:
        if not folder.is_dir():
            raise VersionNotFound(
                f"there is no folder {folder}: see `tagalong models list`",
                code="version-folder-missing",
            ) from None
        raise _invalid_version(
            f"{folder} has no {MANIFEST_FILE_NAME}, so it is no complete version",
            "manifest-missing",
        ) from None
    except OSError as error:
        raise _invalid_version(f"{path} cannot be read ({error})", "version-unreadable") from error
    if verify:
        _verify(folder, manifest)
    return manifest


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Read the content of a ``manifest.json``; ``where`` is its path, for messages.

    Raises `VersionInvalid` if it is no manifest, was changed since publishing, or names another
    version than the one of its files.
    """
    try:
        value = json.loads(content)
        manifest = Manifest.from_json(value, where)
        if value["digest"] != manifest_digest(value):
            raise _invalid_version(f"{where} was changed since publishing", "file-changed")
    except (ValueError, RecursionError) as error:
        raise _invalid_version(f"{where} cannot be read ({error})", "version-unreadable") from error
    files_hash = content_hash(manifest, manifest.files, schema_version=manifest.format)
    if not manifest.version.endswith(f"-{files_hash}"):
        raise _invalid_version(
            f"{where} names a version of another content ({manifest.version})",
            "version-of-other-content",
        )
    return manifest


def check_sizes(folder: Path) -> None:
    """Check the manifest of a version and the names and sizes of its files, without reading them.

    Raises `VersionNotFound` if there is no such folder, `VersionInvalid` if the manifest or any
    file is missing, of another size, or of a forbidden kind.
    """
    manifest = read_manifest(folder, verify=False)
    try:
        _compare_sizes(folder, manifest)
    except OSError as error:  # it was removed meanwhile
        raise _invalid_version(
            f"{folder} cannot be read ({error})", "version-unreadable"
        ) from error


def _verify(folder: Path, manifest: Manifest) -> None:
    found = _compare_sizes(folder, manifest)  # before the hashes, which read every byte
    for name, expected in manifest.files.items():
        if hash_file(found[name]) != expected:
            raise _invalid_version(
                f"{name} in {folder} was changed since publishing", "file-changed"
            )


def _compare_sizes(folder: Path, manifest: Manifest) -> dict[str, Path]:
    """Compare the names and sizes of a version's files with its manifest; return their paths."""
    found = find_files(folder)
    found.pop(MANIFEST_FILE_NAME, None)
    for name, path in list(found.items()):
        # Desktops leave hidden files. Nothing loads them.
        if name not in manifest.files and any(part.startswith(".") for part in name.split("/")):
            del found[name]
        elif (reason := forbidden_reason(path)) or name not in manifest.files:
            fault = f"is {reason}" if reason else "was not published with it"
            raise VersionInvalid(
                f"{name} in {folder} {fault}: delete it, or {REPAIR_ADVICE}",
                code="file-not-allowed" if reason else "file-not-published",
            )
    for name, expected in manifest.files.items():
        if name not in found:
            raise _invalid_version(f"{name} is missing from {folder}", "file-missing")
        size = found[name].stat().st_size
        if size != expected.bytes:
            raise _invalid_version(
                f"{name} in {folder} has {pluralize(size, 'byte')} instead of {expected.bytes:,}",
                "file-of-other-size",
            )
    return found


def _invalid_version(finding: str, code: str) -> VersionInvalid:
    return VersionInvalid(f"{finding}: {REPAIR_ADVICE}", code=code)


def _canonical_hash(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _is_weights_file(name: str) -> bool:
    return Path(name).suffix.lower() in WEIGHT_SUFFIXES


def _validate_fields(value: object, where: str) -> dict[str, Any]:
    """The fields of a manifest: all present, of the right types, and no others."""
    if not isinstance(value, dict):
        raise _invalid_version(
            f"{where} holds {short_repr(value)} instead of an object", "manifest-not-an-object"
        )
    if isinstance(value.get("format"), int) and value["format"] > MANIFEST_SCHEMA_VERSION:
        raise VersionInvalid(
            f"{where} has format {value['format']}, but this release reads formats up to "
            f"{MANIFEST_SCHEMA_VERSION}: install a newer Tagalong",
            code="manifest-of-newer-format",
        )
    for name, types in FIELD_TYPES.items():
        if name not in value:
            raise _invalid_version(f"{where} lacks the field {name!r}", "manifest-field-missing")
        if not isinstance(value[name], types):
            expected = " or ".join(one.__name__ for one in types)
            raise _invalid_version(
                f"{where} has {short_repr(value[name])} as {name!r}, not {expected}",
                "manifest-field-invalid",
            )
    if unknown := sorted(value.keys() - FIELD_TYPES.keys()):
        raise _invalid_version(
            f"{where} has unknown fields ({', '.join(unknown)})", "manifest-field-unknown"
        )
    for name in ("tier", "version"):  # parts of paths
        if SAFE_NAME_PATTERN.fullmatch(value[name]) is None:
            raise _invalid_version(
                f"{where} has {short_repr(value[name])} as {name!r}, not a safe name",
                "manifest-field-invalid",
            )
    if not value["labels"] or not all(isinstance(label, str) for label in value["labels"]):
        raise _invalid_version(
            f"{where} has {short_repr(value['labels'])} as 'labels', not names",
            "manifest-field-invalid",
        )
    return dict(value)


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
