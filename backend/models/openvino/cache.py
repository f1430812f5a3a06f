"""Keep compiled encoders in the user's cache, and find usable ones.

A compiled model follows from a version, and its manifest does not seal it. So none is taken from
the folder of a version, which may come from elsewhere. A deleted one is built again. Only the
release of OpenVINO that compiled the model uses it, on a CPU with the arithmetic of its check, if
its files are intact.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from platformdirs import user_cache_path

from tagalong.backend.models.base_models.precision import int8_instruction_set
from tagalong.backend.models.openvino.library import (
    OpenVINOPrecision,
    choose_precision,
    openvino_version,
)
from tagalong.backend.storage.locks import (
    folder_lock,
    remove_abandoned_scratch_folders,
    remove_folder,
    scratch_folder,
)
from tagalong.ner.atomic_io import PRIVATE_FOLDER_MODE, move_into_place, translate_os_errors
from tagalong.ner.errors import OpenVINOError, PublishError
from tagalong.ner.manifest import FileRecord, Manifest, hash_file, manifest_digest

RECORD_SCHEMA_VERSION = 5  # goes up when models are compiled in another way, or its keys change
# Of all models; one takes as much room as the base model in 8 bits, such as 23 MB or 110 MB.
MAX_CACHE_BYTES = 8 << 30
RECORD_FILE_NAME, MODEL_FILE_NAME, WEIGHTS_FILE_NAME = "engine.json", "engine.xml", "engine.weights"
EMBEDDINGS_FILE_NAME = "engine.embeddings"  # where the model has them as an input
MODEL_FILE_NAMES = frozenset({MODEL_FILE_NAME, WEIGHTS_FILE_NAME})


@dataclass(frozen=True, slots=True)
class OpenVINOCheck:
    """How a compiled encoder compares with PyTorch in fp32 on the same documents."""

    documents: int
    words: int
    agreement: float  # share of the words with the same best tag
    entity_words: int = 0  # words that at least one of both tags as part of an entity
    entity_agreement: float = 1.0  # share of those with the same best tag; 1.0 without any
    # Share of the variance of PyTorch's scores that the other scores explain (R²). This share
    # compares both models even where hardly a word is part of an entity.
    r_squared: float = 1.0
    reference_f1: float | None = None  # strict, of PyTorch; None without gold entities
    f1: float | None = None  # strict, of the compiled encoder; None in the same case
    gold_entities: int = 0

    @property
    def f1_loss(self) -> float:
        """Strict F1 that is lost; 0 where that is not known."""
        return (self.reference_f1 or 0.0) - (self.f1 or 0.0)


@dataclass(frozen=True, slots=True)
class OpenVINORecord:
    """The facts about a compiled model, as kept beside it."""

    version: str  # that was compiled
    manifest_digest: str  # of that version
    openvino_version: str  # that compiled it: another release may read the model differently
    precision: OpenVINOPrecision  # of what is not quantized, at the time of the check
    int8_instruction_set: str  # for what is quantized, at the time of the check
    weight_format: str  # ``int8`` where its matrices are quantized, else ``plain``
    max_positions: int | None  # that the model has; None for no limit
    check: OpenVINOCheck
    notes: tuple[str, ...]  # further facts, a sentence each
    files: Mapping[str, FileRecord]  # by name

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, with a seal over its content."""
        content = {"format": RECORD_SCHEMA_VERSION, **asdict(self)}
        return {**content, "seal": manifest_digest(content)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` made; raises ValueError if it has changed, or another format."""
        fields = {name: field for name, field in value.items() if name not in {"format", "seal"}}
        if value["seal"] != manifest_digest({"format": RECORD_SCHEMA_VERSION, **fields}):
            raise ValueError("changed, or of another format")
        fields["check"] = OpenVINOCheck(**value["check"])
        fields["notes"] = tuple(value["notes"])
        fields["files"] = {name: FileRecord(**file) for name, file in value["files"].items()}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class CachedOpenVINOModel:
    """A compiled model in a folder."""

    folder: Path
    record: OpenVINORecord


def find_openvino_model(manifest: Manifest) -> CachedOpenVINOModel | None:
    """Find the usable compiled model of a version; None where there is none."""
    home = _cache_folder(manifest)
    # A record that cannot be read, whatever is wrong with it, is no record.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, OpenVINOError):
        record = OpenVINORecord.from_json(json.loads((home / RECORD_FILE_NAME).read_bytes()))
        if _is_usable(home, record, manifest):
            with suppress(OSError):  # a cache that cannot be written is not cleaned up either
                os.utime(home)  # the models that were used last are kept
            return CachedOpenVINOModel(home, record)
    return None


def _is_usable(home: Path, record: OpenVINORecord, manifest: Manifest) -> bool:
    """Whether a model is of this version, release of OpenVINO and kind of CPU, and as written."""
    return (
        record.openvino_version == openvino_version()
        and record.manifest_digest == manifest_digest(manifest.to_json())
        and record.precision == choose_precision()
        and record.int8_instruction_set == int8_instruction_set()  # others round differently
        and record.files.keys() - {EMBEDDINGS_FILE_NAME} == MODEL_FILE_NAMES
        and all(hash_file(home / name) == file for name, file in record.files.items())
    )


def cache_openvino_model(
    manifest: Manifest, source_folder: Path, record: OpenVINORecord
) -> CachedOpenVINOModel:
    """Copy a compiled model to the cache, in place of an earlier one of its version.

    Deletes the least recently used models beyond `MAX_CACHE_BYTES`. Raises `OpenVINOError` where
    the cache cannot be written.
    """
    home = _cache_folder(manifest)
    try:
        with translate_os_errors(f"write the OpenVINO model to {home}"):
            _write_to_cache(home, source_folder, record)
    except PublishError as error:
        message = str(error).partition(";")[0]
        raise OpenVINOError(message, code="openvino-cache-unwritable") from error
    return CachedOpenVINOModel(home, record)


def _write_to_cache(home: Path, source_folder: Path, record: OpenVINORecord) -> None:
    """Write a model in a scratch folder, and move the complete folder into place."""
    home.parent.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    with scratch_folder(home.parent) as aside:
        for name in record.files:
            shutil.copyfile(source_folder / name, aside / name)
        text = json.dumps(record.to_json(), indent=2)
        (aside / RECORD_FILE_NAME).write_text(text, encoding="utf-8")
        with folder_lock(home.parent):
            remove_abandoned_scratch_folders(home.parent)
            if home.is_dir():
                remove_folder(home)  # processes that have it open can go on reading it
            move_into_place(aside, home)
            _remove_least_recently_used(home.parent)


def _remove_least_recently_used(cache: Path) -> None:
    """Delete models until the others fit; the last one stays, whatever its size."""
    folders = sorted(cache.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for folder in folders:
        total += sum(path.stat().st_size for path in folder.iterdir())
        if total > MAX_CACHE_BYTES and folder != folders[0]:
            remove_folder(folder)


def _cache_folder(manifest: Manifest) -> Path:
    """Where the compiled model of a version is, if there is one."""
    return user_cache_path("tagalong") / "engines" / manifest.version
