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

from ner.catalogue import BUNDLED, TIER_NAMES, Catalogue, checked_name
from ner.current import Current, read_current, write_current
from ner.durable import discard, locked, make_folder, refusals_told, scratch, sweep, sync
from ner.errors import PublishError, StoreError, Superseded, VersionInvalid
from ner.manifest import MANIFEST, Draft, Manifest, content_hash, read_manifest, seal_files
from ner.payload import FileRecord
from ner.tags import TagSet


class Store(Catalogue):
    """A folder of model versions that can be changed; made when the first version is written."""

    __slots__ = ()

    @contextmanager
    def staging(self, tier: str) -> Iterator[Path]:
        """Make a folder to write a version in, on the file system where it will be published.

        Args:
            tier: The tier it is for.

        Yields:
            An empty folder. It is removed at the end, unless `publish` moved it; if this process is
            killed, the next `publish` of the tier removes it.

        Raises:
            PublishError: If it cannot be made, or the disk is full while it is written.
        """
        home = self.home(tier)
        with ExitStack() as stack:
            with refusals_told(f"make a folder in {home}"):
                make_folder(home)
                folder = stack.enter_context(scratch(home))
            with refusals_told(f"write in {home}", only_space=True):
                yield folder

    def publish(self, folder: Path, draft: Draft) -> Manifest:
        """Seal a folder and move it to its place among the versions of its tier.

        The same content published again is the version that is there already, left as it is.

        Args:
            folder: As `staging` gave it, with every file of the version written.
            draft: What to say about it.

        Returns:
            The manifest. The version is there for good, but not current: `promote` it.

        Raises:
            PublishError: If a file may not be part of a version, the draft holds what JSON cannot,
                or the file system refuses.
            StoreError: If the tier or the name is not a safe one.
            LabelError: If the labels are not a label set.
        """
        home = self.home(draft.tier)
        draft = _as_stored(draft)
        with refusals_told(f"publish {draft.name} in {home}"):
            files = seal_files(folder)
            make_folder(home)
            with locked(home):
                sweep(home)
                manifest = self._named_by_content(draft, files)
                place = home / checked_name(manifest.version)
                if place.exists():
                    try:
                        return read_manifest(place)
                    except VersionInvalid:  # damaged since, so the same content takes its place
                        discard(place)
                _settle(folder, place, manifest)
        return manifest

    def promote(self, tier: str, version: str, *, instead_of: str | None = None) -> None:
        """Make a version the current one of its tier, after verifying it.

        Args:
            tier: Its tier.
            version: Its name, or ``bundled`` for the bundled version of the tier.
            instead_of: What `serving` said when this was decided; None to ask for nothing.

        Raises:
            VersionNotFound: If the tier has no such version.
            VersionInvalid: If it is not as it was published.
            Superseded: If a third version is current by now; it remains current.
            PublishError: If the file system refuses.
        """
        own = None if self._means_bundled(tier, version) else version
        name = self._verify(tier, own)
        home = self.home(tier)
        with refusals_told(f"promote {version}"):
            make_folder(home)  # a store of which only the bundled version is used has none
            with locked(home):
                self._place(tier, own)  # nobody removed it while it was verified
                try:
                    before = read_current(home) or Current()
                except VersionInvalid:  # promoting is how a damaged one is mended
                    before = Current()
                else:
                    if instead_of is not None:
                        self._still(tier, name, instead_of)
                write_current(home, before.promoted(own))

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
            raise StoreError(f"no tier is called {tier!r}: name one of {', '.join(TIER_NAMES)}")
        home = self.home(tier)
        if read_current(home) is None:
            raise self._nothing_to_undo(tier)
        with refusals_told(f"roll back {tier}"), locked(home):
            current = read_current(home)
            earlier = current and current.rolled_back(self.names(tier))
            if earlier is None:
                raise self._nothing_to_undo(tier)
            name = None
            if earlier.version is not None or self.bundled_version(tier) is not None:
                name = self._verify(tier, earlier.version)
            write_current(home, earlier)
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
        folder = self.folder(tier, version)
        with refusals_told(f"remove {version}"), locked(folder.parent):
            if version == self.current(tier):
                raise StoreError(
                    f"{version} is current: promote another version or roll back first (`tagalong "
                    "models promote`, `rollback`), then remove it"
                )
            discard(self.folder(tier, version))

    def _named_by_content(self, draft: Draft, files: Mapping[str, FileRecord]) -> Manifest:
        """The manifest of a draft: of the same content there is one version, whatever the date."""
        now = datetime.now(UTC)
        content = content_hash(draft, files)
        same = re.compile(rf"{re.escape(draft.name)}-\d{{8}}-{content}")
        published = [version for version in self.names(draft.tier) if same.fullmatch(version)]
        return Manifest(
            **asdict(draft),
            version=published[0] if published else f"{draft.name}-{now:%Y%m%d}-{content}",
            created=now.isoformat(timespec="seconds"),
            files=files,
        )

    def _still(self, tier: str, version: str, instead_of: str) -> None:
        """Check that nobody has made a third version current."""
        now = self.serving(tier)
        if now not in (version, instead_of):
            advice = (
                f"judge them with `tagalong evaluate {version} GOLD --against {now}`, and promote "
                "the better one with `tagalong models promote`"
                if now
                else f"promote it with `tagalong models promote {version}` if it is wanted"
            )
            raise Superseded(
                f"{now or 'no version'} serves by now, and {version} was judged beside "
                f"{instead_of or 'none'}: {advice}"
            )

    def _nothing_to_undo(self, tier: str) -> StoreError:
        """Say that a rollback is not possible, and what to do."""
        advice = (
            f"promote a version with `tagalong models promote`: {self.offer(tier)}"
            if self.names(tier)
            else f"train a version first with `tagalong train {tier}`"
        )
        return StoreError(f"tier {tier!r} has no promotion to undo, so {advice}")

    def _means_bundled(self, tier: str, version: str) -> bool:
        """Whether a name is that of the bundled version, and of no version in this store."""
        own = version in self.names(tier)
        return version == BUNDLED or (version == self.bundled_version(tier) and not own)

    def _place(self, tier: str, version: str | None) -> Path:
        """The folder of a version; None is the bundled one."""
        return self.bundled_folder(tier) if version is None else self.folder(tier, version)

    def _verify(self, tier: str, version: str | None) -> str:
        """Check that a version is as it was published, and return its name."""
        folder = self._place(tier, version)
        manifest = read_manifest(folder)
        if (manifest.tier, manifest.version) != (tier, folder.name):
            raise VersionInvalid(
                f"{folder} holds {manifest.tier}/{manifest.version}: give it its own name back"
            )
        return folder.name


def _as_stored(draft: Draft) -> Draft:
    """The draft as it will be read back, so that hashes agree: keys as text, tuples as lists."""
    checked_name(draft.name)
    TagSet(draft.labels)
    try:
        stored = json.loads(json.dumps(asdict(draft), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PublishError(f"the draft of {draft.name} holds what JSON cannot: {error}") from error
    known = {field.name: stored[field.name] for field in fields(Draft)}
    return Draft(**{**known, "labels": draft.labels})


def _settle(folder: Path, place: Path, manifest: Manifest) -> None:
    """Write the manifest, wait for the disk, and move the folder to its place."""
    text = json.dumps(manifest.to_json(), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    sync(*folder.rglob("*"), folder)
    folder.rename(place)
    sync(place.parent)
