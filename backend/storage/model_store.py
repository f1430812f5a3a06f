"""The store of model versions: publish, promote, roll back and remove them.

::

    models/encoder/.lock                          held while anything below is changed
    models/encoder/.staging-x1y2/                 a version being written, and its owner's lock
    models/encoder/minilm-20260131-0f3c2d1e/      a version: whole as soon as it can be seen
    models/encoder/current                        {"version": ..., "previous": [...]}

A version is written beside its place and renamed into it, and ``current`` is replaced by renaming.
Reading needs no lock: it finds the old state or the new one, even after a writer was killed.

Without ``current``, or with null as its version, the bundled version of the tier is current. A tier
without a bundled version then has no current version.
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
from tagalong.ner.current_version import CurrentVersion, read_current_version, write_current_version
from tagalong.ner.errors import (
    CurrentVersionChangedError,
    PublishError,
    RegistryError,
    VersionInvalid,
)
from tagalong.ner.file_safety import FileRecord
from tagalong.ner.manifest import (
    MANIFEST_FILE_NAME,
    Manifest,
    VersionMetadata,
    content_hash,
    hash_files,
    read_manifest,
)
from tagalong.ner.model_registry import BUNDLED_REFERENCE, TIER_NAMES, ModelRegistry, validate_name
from tagalong.ner.tags import TagSet


class ModelStore(ModelRegistry):
    """A folder of model versions that can be changed; made when the first version is written."""

    __slots__ = ()

    @contextmanager
    def staging_folder(self, tier: str) -> Iterator[Path]:
        """Make a folder to write a version in, on the file system where it will be published.

        Args:
            tier: The tier it is for.

        Yields:
            An empty folder. It is removed at the end, unless `publish` moved it; if this process is
            killed, the next `publish` of the tier removes it.

        Raises:
            PublishError: If it cannot be made, or the disk is full while it is written.
        """
        home = self.tier_folder(tier)
        with ExitStack() as stack:
            with translate_os_errors(f"make a folder in {home}"):
                make_folder(home)
                folder = stack.enter_context(scratch_folder(home))
            with translate_os_errors(f"write in {home}", disk_full_only=True):
                yield folder

    def publish(self, folder: Path, metadata: VersionMetadata) -> Manifest:
        """Seal a folder and move it to its place among the versions of its tier.

        The same content published again is the version that is there already, left as it is.

        Args:
            folder: As `staging` gave it, with every file of the version written.
            metadata: What to say about it.

        Returns:
            The manifest. The version is there for good, but not current: `promote` it.

        Raises:
            PublishError: If a file may not be part of a version, the draft holds what JSON cannot,
                or the file system refuses.
            StoreError: If the tier or the name is not a safe one.
            LabelError: If the labels are not a label set.
        """
        home = self.tier_folder(metadata.tier)
        metadata = _normalize_metadata(metadata)
        with translate_os_errors(f"publish {metadata.name} in {home}"):
            files = hash_files(folder)
            make_folder(home)
            with folder_lock(home):
                remove_abandoned_scratch_folders(home)
                manifest = self._build_manifest(metadata, files)
                place = home / validate_name(manifest.version)
                if place.exists():
                    try:
                        return read_manifest(place)
                    except VersionInvalid:  # damaged since, so the same content takes its place
                        remove_folder(place)
                _move_into_place(folder, place, manifest)
        return manifest

    def promote(self, tier: str, version: str, *, expected_current: str | None = None) -> None:
        """Make a version the current one of its tier, after verifying it.

        Args:
            tier: Its tier.
            version: Its name, or ``bundled`` for the bundled version of the tier.
            expected_current: What `serving` said when this was decided; None to ask for nothing.

        Raises:
            VersionNotFound: If the tier has no such version.
            VersionInvalid: If it is not as it was published.
            Superseded: If a third version is current by now; it remains current.
            PublishError: If the file system refuses.
        """
        own = None if self._is_bundled_name(tier, version) else version
        name = self._verify(tier, own)
        home = self.tier_folder(tier)
        with translate_os_errors(f"promote {version}"):
            make_folder(home)  # a store of which only the bundled version is used has none
            with folder_lock(home):
                self._version_folder_or_bundled(
                    tier, own
                )  # nobody removed it while it was verified
                try:
                    before = read_current_version(home) or CurrentVersion()
                except VersionInvalid:  # promoting is how a damaged one is mended
                    before = CurrentVersion()
                else:
                    if expected_current is not None:
                        self._check_current_unchanged(tier, name, expected_current)
                write_current_version(home, before.after_promotion(own))

    def rollback(self, tier: str) -> str | None:
        """Undo the last promotion, passing over versions that were removed since.

        Before the first promotion the bundled version was current, or none where the tier has none.

        Args:
            tier: Its tier.

        Returns:
            The version that is current now; None if the tier has none any more.

        Raises:
            StoreError: If there is no promotion to undo.
            VersionInvalid: If the earlier version is not as it was published.
            PublishError: If the file system refuses.
        """
        if tier not in (*TIER_NAMES, *self.tiers()):
            raise RegistryError(f"no tier is called {tier!r}: name one of {', '.join(TIER_NAMES)}")
        home = self.tier_folder(tier)
        if read_current_version(home) is None:
            raise self._nothing_to_undo(tier)
        with translate_os_errors(f"roll back {tier}"), folder_lock(home):
            current = read_current_version(home)
            earlier = current and current.after_rollback(self.version_names(tier))
            if earlier is None:
                raise self._nothing_to_undo(tier)
            name = None
            if earlier.version is not None or self.bundled_version(tier) is not None:
                name = self._verify(tier, earlier.version)
            write_current_version(home, earlier)
        return name

    def remove(self, tier: str, version: str) -> None:
        """Delete a version that is not current.

        Args:
            tier: Its tier.
            version: Its name.

        Raises:
            VersionNotFound: If the tier has no such version.
            StoreError: If it is the current one.
            PublishError: If the file system refuses.
        """
        folder = self.version_folder(tier, version)
        with translate_os_errors(f"remove {version}"), folder_lock(folder.parent):
            if version == self.current_version(tier):
                raise RegistryError(
                    f"{version} is current: promote another version or roll back first (`tagalong "
                    "models promote`, `rollback`), then remove it"
                )
            remove_folder(self.version_folder(tier, version))

    def _build_manifest(self, draft: VersionMetadata, files: Mapping[str, FileRecord]) -> Manifest:
        """The manifest of a draft: of the same content there is one version, whatever the date."""
        now = datetime.now(UTC)
        content = content_hash(draft, files)
        same = re.compile(rf"{re.escape(draft.name)}-\d{{8}}-{content}")
        published = [
            version for version in self.version_names(draft.tier) if same.fullmatch(version)
        ]
        return Manifest(
            **asdict(draft),
            version=published[0] if published else f"{draft.name}-{now:%Y%m%d}-{content}",
            created=now.isoformat(timespec="seconds"),
            files=files,
        )

    def _check_current_unchanged(self, tier: str, version: str, instead_of: str) -> None:
        """Check that nobody has made a third version current."""
        now = self.served_version(tier)
        if now not in (version, instead_of):
            advice = (
                f"judge them with `tagalong evaluate {version} GOLD --against {now}`, and promote "
                "the better one with `tagalong models promote`"
                if now
                else f"promote it with `tagalong models promote {version}` if it is wanted"
            )
            raise CurrentVersionChangedError(
                f"{now or 'no version'} serves by now, and {version} was judged beside "
                f"{instead_of or 'none'}: {advice}"
            )

    def _nothing_to_undo(self, tier: str) -> RegistryError:
        """Say that a rollback is not possible, and what to do."""
        advice = (
            f"promote a version with `tagalong models promote`: {self.describe_available(tier)}"
            if self.version_names(tier)
            else f"train a version first with `tagalong train {tier}`"
        )
        return RegistryError(f"tier {tier!r} has no promotion to undo, so {advice}")

    def _is_bundled_name(self, tier: str, version: str) -> bool:
        """Whether a name is that of the bundled version, and of no version in this store."""
        own = version in self.version_names(tier)
        return version == BUNDLED_REFERENCE or (version == self.bundled_version(tier) and not own)

    def _version_folder_or_bundled(self, tier: str, version: str | None) -> Path:
        """The folder of a version; None is the bundled one."""
        return (
            self.bundled_version_folder(tier)
            if version is None
            else self.version_folder(tier, version)
        )

    def _verify(self, tier: str, version: str | None) -> str:
        """Check that a version is as it was published, and return its name."""
        folder = self._version_folder_or_bundled(tier, version)
        manifest = read_manifest(folder)
        if (manifest.tier, manifest.version) != (tier, folder.name):
            raise VersionInvalid(
                f"{folder} holds {manifest.tier}/{manifest.version}: give it its own name back"
            )
        return folder.name


def _normalize_metadata(draft: VersionMetadata) -> VersionMetadata:
    """The draft as it will be read back, so that hashes agree: keys as text, tuples as lists."""
    validate_name(draft.name)
    TagSet(draft.labels)
    try:
        stored = json.loads(json.dumps(asdict(draft), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PublishError(f"the draft of {draft.name} holds what JSON cannot: {error}") from error
    known = {field.name: stored[field.name] for field in fields(VersionMetadata)}
    return VersionMetadata(**{**known, "labels": draft.labels})


def _move_into_place(folder: Path, place: Path, manifest: Manifest) -> None:
    """Write the manifest, wait for the disk, and move the folder to its place."""
    text = json.dumps(manifest.to_json(), indent=2, ensure_ascii=False)
    (folder / MANIFEST_FILE_NAME).write_text(text + "\n", encoding="utf-8")
    move_into_place(folder, place)
