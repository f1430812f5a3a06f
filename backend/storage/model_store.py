"""The store of model versions: publish, promote, roll back and remove them.

::

    models/encoder/.lock                          held during changes in this folder
    models/encoder/.staging-x1y2/                 an unfinished version, and its owner's lock
    models/encoder/minilm-20260131-0f3c2d1e/      a version, complete since it has this name
    models/encoder/current                        {"version": ..., "previous": [...]}
    models/encoder/.current-backup                the same, read where ``current`` is damaged

A version is renamed into its place, and ``current`` is replaced by renaming. So reading needs no
lock: it finds the old state or the new one, also after a writer was killed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path

from tagalong.backend.storage.locks import (
    folder_lock,
    remove_abandoned_scratch_folders,
    remove_folder,
    scratch_folder,
)
from tagalong.ner.atomic_io import make_folder, move_into_place, translate_os_errors
from tagalong.ner.current_version import (
    CurrentVersion,
    read_current_backup,
    read_current_version,
    write_current_version,
)
from tagalong.ner.errors import (
    CurrentVersionChangedError,
    PublishError,
    RegistryError,
    VersionInvalid,
    VersionNotFound,
)
from tagalong.ner.manifest import (
    MANIFEST_FILE_NAME,
    FileRecord,
    Manifest,
    VersionMetadata,
    content_hash,
    hash_files,
    read_manifest,
)
from tagalong.ner.model_registry import BUNDLED_REFERENCE, ModelRegistry, validate_name
from tagalong.ner.tags import TagSet
from tagalong.ner.tiers import TIERS, TRAINABLE_TIERS


class ModelStore(ModelRegistry):
    """A model registry that can be changed; its folder is made with the first version."""

    __slots__ = ()

    @contextmanager
    def staging_folder(self, model: str) -> Iterator[Path]:
        """Make an empty folder for the files of a new version, on the file system of the store.

        It is removed at the end unless `publish` moved it; after a kill, by the next `publish` of
        the model. Raises `PublishError` if it cannot be made, or the disk becomes full, and
        `RegistryError` if the name of the model is not safe.
        """
        home = self.root / self._validate_model(model)
        with ExitStack() as stack:
            with translate_os_errors(f"make a folder in {home}"):
                make_folder(home)
                folder = stack.enter_context(scratch_folder(home))
            with translate_os_errors(f"write in {home}", disk_full_only=True):
                yield folder

    def publish(
        self, folder: Path, metadata: VersionMetadata, *, model: str | None = None
    ) -> Manifest:
        """Write the manifest of a new version and move it to the other versions of its model.

        Without a `model`, it is a version of the default model of its tier.

        The folder is from `staging_folder`, with all files of the version. If the same files and
        settings were published before, that version stays as it is. It is not current yet: see
        `promote`.

        Raises:
            PublishError: If a file may not be part of a version, the metadata is not JSON, or the
                file system refuses.
            RegistryError: If a name is not safe, or the model has versions of another tier.
            LabelError: If the labels are not a label set.
        """
        model = model or metadata.tier
        home = self.model_folder(model)
        metadata = _normalize_metadata(metadata)
        with translate_os_errors(f"publish {metadata.name} in {home}"):
            files = hash_files(folder)
            make_folder(home)
            with folder_lock(home):
                remove_abandoned_scratch_folders(home)
                self.check_tier(model, metadata.tier)
                manifest = self._build_manifest(model, metadata, files)
                place = home / validate_name(manifest.version)
                if intact := _read_intact_or_remove(place):
                    return intact
                text = json.dumps(manifest.to_json(), indent=2, ensure_ascii=False)
                (folder / MANIFEST_FILE_NAME).write_text(text + "\n", encoding="utf-8")
                move_into_place(folder, place)
        return manifest

    def adopt(self, folder: Path, model: str) -> Manifest:
        """Verify a published version from elsewhere, and move it to the versions of a model.

        The folder is from `staging_folder`. An intact version of its name stays as it is, and its
        manifest is returned. Raises `VersionInvalid` if the version changed since publishing,
        `RegistryError` if the model has versions of another tier, `PublishError` if the file system
        refuses.
        """
        manifest = read_manifest(folder)
        home = self.model_folder(model)
        place = home / validate_name(manifest.version)
        with translate_os_errors(f"add {manifest.version} to {home}"), folder_lock(home):
            remove_abandoned_scratch_folders(home)
            self.check_tier(model, manifest.tier)
            if intact := _read_intact_or_remove(place):
                return intact
            move_into_place(folder, place)
        return manifest

    def promote(self, model: str, version: str, *, expected_current: str | None = None) -> None:
        """Verify a version, or ``bundled``, and make it the current version of its model.

        `expected_current` is the current version at the time of the decision; None skips the check.

        Raises:
            VersionNotFound: If the model has no such version.
            VersionInvalid: If the version changed since publishing.
            CurrentVersionChangedError: If a third version became current; it remains current.
            PublishError: If the file system refuses.
        """
        bundled = {BUNDLED_REFERENCE, self.bundled_version(model)} - {*self.version_names(model)}
        own = None if version in bundled else version
        name = self._verify(model, own)
        home = self.model_folder(model)
        with translate_os_errors(f"promote {version} in {home}"):
            make_folder(home)  # a store of which only the bundled version is used has none
            with folder_lock(home):
                # It may have been removed during the verification.
                self._version_folder_or_bundled(model, own)
                try:
                    before = read_current_version(home) or CurrentVersion()
                except VersionInvalid:  # a promotion replaces a damaged file
                    before = read_current_backup(home) or CurrentVersion()
                else:
                    if expected_current is not None:
                        self.check_current_unchanged(model, name, expected_current)
                write_current_version(home, before.after_promotion(own))

    def rollback(self, model: str) -> str | None:
        """Undo the last promotion of a model, and return the version that is now current.

        Versions removed since are skipped. None if the model has none, as before its first
        promotion without a bundled version. Raises `RegistryError` if there is no promotion to
        undo, and `VersionInvalid` if the earlier version changed since publishing.
        """
        models = list(dict.fromkeys((*TIERS, *self.models())))
        if model not in models:
            message = f"no model is called {model!r}: name one of {', '.join(models)}"
            raise RegistryError(message, code="model-unknown")
        home = self.model_folder(model)
        if read_current_version(home) is None:
            raise self._no_promotion_error(model)
        with translate_os_errors(f"roll back {home}"), folder_lock(home):
            current = read_current_version(home)
            earlier = current and current.after_rollback(self.version_names(model))
            if earlier is None:
                raise self._no_promotion_error(model)
            name = None
            if earlier.version is not None or self.bundled_version(model) is not None:
                name = self._verify(model, earlier.version)
            write_current_version(home, earlier)
        return name

    def remove(self, model: str, version: str) -> None:
        """Delete a version that is not current.

        Raises `VersionNotFound` if the model has no such version, `RegistryError` if it is current,
        `PublishError` if the file system refuses.
        """
        folder = self.version_folder(model, version)
        with translate_os_errors(f"remove {folder}"), folder_lock(folder.parent):
            if version == self.promoted_version(model):
                raise RegistryError(
                    f"{version} is current: promote another version or roll back first (`tagalong "
                    "models promote`, `rollback`), then remove it",
                    code="version-is-current",
                )
            remove_folder(self.version_folder(model, version))

    def remove_model(self, model: str) -> None:
        """Delete a model with all its versions, so that nothing has its name any more.

        Raises `VersionNotFound` if there is no such model, `RegistryError` if it is the default
        model of a tier, `PublishError` if the file system refuses.
        """
        home = self.model_folder(model)
        if model in TIERS:
            message = f"{model} is the default model of its tier: remove single versions of it"
            raise RegistryError(message, code="default-model-not-removable")
        if not home.is_dir():
            message = f"no model is called {model!r}: {self.describe_available(model)}"
            raise VersionNotFound(message, code="model-unknown")
        with (
            translate_os_errors(f"remove {home}"),
            folder_lock(self.root),
            folder_lock(home),  # a version that is being published is moved in first
        ):
            remove_abandoned_scratch_folders(self.root)
            remove_folder(home)

    def check_tier(self, model: str, tier: str) -> None:
        """Raise `RegistryError` if a model is of another tier, or its name is not safe."""
        if self.model_tier(self._validate_model(model)) not in (None, tier):
            raise RegistryError(
                f"model {model!r} is of tier {self.model_tier(model)!r}, and this version is of "
                f"tier {tier!r}: give another model name",
                code="model-of-another-tier",
            )

    def _validate_model(self, model: str) -> str:
        return validate_name(model, (*TIERS, *self.models()))

    def _build_manifest(
        self, model: str, metadata: VersionMetadata, files: Mapping[str, FileRecord]
    ) -> Manifest:
        """The manifest; the same content keeps its version name on another date."""
        now = datetime.now(UTC)
        content = content_hash(metadata, files)
        same_hash = re.compile(rf"{re.escape(metadata.name)}-\d{{8}}(-\d{{1,3}})?-{content}")
        taken = [*filter(same_hash.fullmatch, self.version_names(model))]
        # The hash leaves out files beside the weights, such as the tokenizer.
        version = next((one for one in taken if self._may_have_files(model, one, files)), "")
        numbers = ("", *(f"-{number}" for number in range(2, len(taken) + 2)))
        new = (f"{metadata.name}-{now:%Y%m%d}{number}-{content}" for number in numbers)
        return Manifest(
            **asdict(metadata),
            version=version or next(name for name in new if name not in taken),
            created=now.isoformat(timespec="seconds"),
            files=files,
        )

    def _may_have_files(self, model: str, version: str, files: Mapping[str, FileRecord]) -> bool:
        """Whether a version was published with these files; true if its manifest is damaged."""
        try:
            return read_manifest(self.version_folder(model, version), verify=False).files == files
        except VersionInvalid:
            return True

    def check_current_unchanged(self, model: str, version: str, expected: str) -> None:
        """Raise `CurrentVersionChangedError` if a third version has become current."""
        now = self.current_version(model)
        if now not in (version, expected):
            advice = f"promote it with `tagalong models promote {version}` if you want it"
            if now:
                advice = (
                    f"compare them with `tagalong evaluate {version} GOLD --against {now}`, and "
                    "promote the better one with `tagalong models promote`"
                )
            raise CurrentVersionChangedError(
                f"{now or 'no version'} is current now, but {version} was compared with "
                f"{expected or 'none'}: {advice}"
            )

    def _no_promotion_error(self, model: str) -> RegistryError:
        advice = "publish a version first"
        if model in TRAINABLE_TIERS:
            advice = f"train a version first with `tagalong train {model}`"
        if self.version_names(model):
            versions = self.describe_available(model)
            advice = f"promote a version with `tagalong models promote`: {versions}"
        message = f"model {model!r} has no promotion to undo, so {advice}"
        return RegistryError(message, code="no-promotion-to-undo")

    def _version_folder_or_bundled(self, model: str, version: str | None) -> Path:
        """The folder of a version; None is the bundled one."""
        if version is None:
            return self.bundled_version_folder(model)
        return self.version_folder(model, version)

    def _verify(self, model: str, version: str | None) -> str:
        folder = self._version_folder_or_bundled(model, version)
        manifest = read_manifest(folder)
        if (manifest.tier, manifest.version) != (self.model_tier(model), folder.name):
            message = f"{folder} holds {manifest.tier}/{manifest.version}: rename it to that"
            raise VersionInvalid(message, code="version-renamed")
        return folder.name


def _read_intact_or_remove(place: Path) -> Manifest | None:
    """The manifest of a version that is intact; a damaged one is removed, and None returned."""
    if not place.exists():
        return None
    try:
        return read_manifest(place)
    except VersionInvalid:  # the same content will replace it
        remove_folder(place)
        return None


def _normalize_metadata(metadata: VersionMetadata) -> VersionMetadata:
    """The metadata after a round trip through JSON, so that hashes agree when it is read again."""
    validate_name(metadata.name)
    TagSet(metadata.labels)
    try:
        stored = json.loads(json.dumps(asdict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        message = f"the metadata of {metadata.name} is not JSON: {error}"
        raise PublishError(message, code="metadata-not-json") from error
    known = {field.name: stored[field.name] for field in fields(VersionMetadata)}
    return VersionMetadata(**{**known, "labels": metadata.labels})
