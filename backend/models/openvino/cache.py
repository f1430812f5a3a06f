"""Where engines are kept, and which are of use: in their version's folder, or else in a cache.

An engine follows from a version, so it is no part of what was published: it may be deleted at any
time, and is made again. It is only used by the release of OpenVINO that it was made for, on a CPU
with the arithmetic that it was checked in, and where its files are as they were written.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from platformdirs import user_cache_path

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.precision import int8_instruction_set
from tagalong.backend.models.openvino.library import (
    OpenVINOPrecision,
    choose_precision,
    cpu_capabilities,
    openvino_version,
)
from tagalong.backend.storage.locks import (
    folder_lock,
    remove_abandoned_scratch_folders,
    remove_folder,
    scratch_folder,
)
from tagalong.ner.atomic_io import move_into_place, translate_os_errors
from tagalong.ner.errors import OpenVINOError, PublishError
from tagalong.ner.file_safety import FileRecord, hash_file
from tagalong.ner.manifest import CACHE_FOLDER_NAME, Manifest, is_version, manifest_digest

RECORD_SCHEMA_VERSION = 4  # of the record; goes up when engines are made otherwise
RECORD_FILE_NAME, MODEL_FILE_NAME, WEIGHTS_FILE_NAME = "engine.json", "engine.xml", "engine.weights"


@dataclass(frozen=True, slots=True)
class OpenVINOCheck:
    """An engine beside PyTorch in fp32, on the same documents.

    Attributes:
        documents: How many.
        words: In all of them.
        agreement: Share of the words that both think the same tag of, each word by itself.
        tagged: Words that at least one thinks part of an entity.
        entity_agreement: Share of those that both think the same tag of; 1.0 where there are none.
        explained: Share of the variance of PyTorch's scores that the engine's account for (R²);
            also tells where hardly a word is part of an entity.
        reference_f1: Strict F1 of PyTorch; None where the documents have no gold for it.
        f1: Of the engine; None likewise.
        gold: Entities that this is of.
    """

    documents: int
    words: int
    agreement: float
    entity_words: int = 0
    entity_agreement: float = 1.0
    r_squared: float = 1.0
    reference_f1: float | None = None
    f1: float | None = None
    gold_entities: int = 0

    @property
    def f1_loss(self) -> float:
        """How much strict F1 is lost; nought where that is not known."""
        return (self.reference_f1 or 0.0) - (self.f1 or 0.0)


@dataclass(frozen=True, slots=True)
class OpenVINORecord:
    """What is known of an engine.

    Attributes:
        version: That it was made of.
        manifest_digest: Of that version's manifest.
        library: Release of OpenVINO that it was made for.
        precision: Arithmetic that it was checked in, of what is not quantised.
        int8: Likewise of what is, as `int8_instruction_set` gives it.
        weight_format: ``int8`` where its matrices are quantised, else ``plain``.
        max_positions: Positions that the model has; None for no limit.
        check: How it did.
        notes: What else to know, a sentence each.
        files: By name.
    """

    version: str
    manifest_digest: str
    openvino_version: str
    precision: OpenVINOPrecision
    int8_instruction_set: str
    weight_format: str
    max_positions: int | None
    check: OpenVINOCheck
    notes: tuple[str, ...]
    files: Mapping[str, FileRecord]

    def to_json(self) -> dict[str, Any]:
        """As an object that JSON can hold."""
        said = {"format": RECORD_SCHEMA_VERSION, **asdict(self)}
        return {**said, "seal": manifest_digest(said)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` made.

        Args:
            value: The object.

        Returns:
            The record.

        Raises:
            ValueError: If it is not as this release wrote it.
        """
        known = {name: found for name, found in value.items() if name not in {"format", "seal"}}
        if value["seal"] != manifest_digest({"format": RECORD_SCHEMA_VERSION, **known}):
            raise ValueError("changed since, or of another format")
        return cls(
            **known
            | {
                "check": OpenVINOCheck(**value["check"]),
                "notes": tuple(value["notes"]),
                "files": {name: FileRecord(**file) for name, file in value["files"].items()},
            }
        )


@dataclass(frozen=True, slots=True)
class CachedOpenVINOModel:
    """An engine that is there.

    Attributes:
        folder: That holds its files.
        record: What is known of it.
    """

    folder: Path
    record: OpenVINORecord


def find_openvino_model(folder: Path, manifest: Manifest) -> CachedOpenVINOModel | None:
    """Find the engine of a version.

    Args:
        folder: Of the version.
        manifest: Of the version.

    Returns:
        The engine; None where there is none that is of use.
    """
    for home in _cache_folders(folder, manifest):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, OpenVINOError):
            record = OpenVINORecord.from_json(json.loads((home / RECORD_FILE_NAME).read_bytes()))
            if (
                record.openvino_version == openvino_version()
                and record.manifest_digest == manifest_digest(manifest.to_json())
                and (record.precision, record.int8_instruction_set)
                == (choose_precision(cpu_capabilities()), int8_instruction_set())
                and _is_intact(home, record)
            ):
                return CachedOpenVINOModel(home, record)
    return None


def _is_intact(home: Path, record: OpenVINORecord) -> bool:
    """Whether all files of an engine are as they were written."""
    return record.files.keys() == {MODEL_FILE_NAME, WEIGHTS_FILE_NAME} and all(
        hash_file(home / name) == file for name, file in record.files.items()
    )


def cache_openvino_model(
    folder: Path, manifest: Manifest, source_folder: Path, record: OpenVINORecord
) -> CachedOpenVINOModel:
    """Put an engine where it will be found, in place of what is there.

    Args:
        folder: Of the version.
        manifest: Of the version.
        source_folder: A folder with its files; they are copied.
        record: What is known of it.

    Returns:
        The engine where it is now.

    Raises:
        OpenVINOError: If there is no place for it, or its version was removed meanwhile.
    """
    if not is_version(folder):
        raise OpenVINOError(f"{manifest.version} was removed while its engine was made")
    reason: PublishError | None = None
    for home in _cache_folders(folder, manifest):
        try:
            with translate_os_errors(f"keep the engine in {home}"):
                _write_to_cache(home, source_folder, record)
        except PublishError as error:
            reason = error
        else:
            return CachedOpenVINOModel(home, record)
    raise OpenVINOError(str(reason).partition(";")[0]) from reason


def _write_to_cache(home: Path, made: Path, record: OpenVINORecord) -> None:
    """Write an engine; its record comes last, so presence means complete."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(home.parent) as aside:
        for name in record.files:
            shutil.copyfile(made / name, aside / name)
        (aside / RECORD_FILE_NAME).write_text(
            json.dumps(record.to_json(), indent=2), encoding="utf-8"
        )
        with folder_lock(home.parent):
            remove_abandoned_scratch_folders(home.parent)
            if home.is_dir():
                remove_folder(home)  # whoever has it open reads on
            move_into_place(aside, home)


def _cache_folders(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Where the engine of a version may be: never in what Tagalong itself came with."""
    if not folder.resolve().is_relative_to(BUNDLED_MODELS_FOLDER):
        yield folder / CACHE_FOLDER_NAME / "engine"
    yield user_cache_path("tagalong") / "engines" / manifest.version
