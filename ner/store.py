"""The store of model versions: publish, promote, roll back and remove them.

::

    models/encoder/.lock                          held while anything below is changed
    models/encoder/.staging-x1y2/                 a version being written, and its owner's lock
    models/encoder/minilm-20260131-0f3c2d1e/      a version: whole as soon as it can be seen
    models/encoder/current                        {"version": ..., "previous": [...]}

A version is written beside its place and renamed into it, and ``current`` is replaced by renaming:
whoever reads needs no lock, and sees the old state or the new one whenever a writer is killed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path

from ner.catalogue import BUNDLED, Catalogue, checked_name
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
            version: Its name.
            instead_of: What `serving` said when this was decided; None to ask for nothing.

        Raises:
            VersionNotFound: If the tier has no such version.
            VersionInvalid: If it is not as it was published.
            Superseded: If a third version serves by now, and goes on to.
            PublishError: If the file system refuses.
        """
        self._verify(tier, version)
        home = self.home(tier)
        with refusals_told(f"promote {version}"), locked(home):
            self.folder(tier, version)  # nobody removed it while it was verified
            try:
                before = read_current(home)
            except VersionInvalid:  # promoting is how a damaged one is mended
                before = None
            else:
                if instead_of is not None:
                    self._still(tier, version, instead_of)
            write_current(home, before.promoted(version) if before else Current(version))

    def rollback(self, tier: str) -> str:
        """Go back to the version that was current before, passing over those that were removed.

        Args:
            tier: Its tier.

        Returns:
            The version that is current now.

        Raises:
            StoreError: If there is none to go back to.
            VersionInvalid: If it is not as it was published.
            PublishError: If the file system refuses.
        """
        home = self.home(tier)
        if self.current(tier) is None:
            raise StoreError(f"nothing of tier {tier!r} was ever promoted: {self.offer()}")
        with refusals_told(f"roll back {tier}"), locked(home):
            current = read_current(home)
            earlier = current and current.rolled_back(self.names(tier))
            if earlier is None:
                raise StoreError(f"tier {tier!r} has no earlier version: {self.offer()}")
            self._verify(tier, earlier.version)
            write_current(home, earlier)
        return earlier.version

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
                raise StoreError(f"{version} is current: promote another or roll back, then remove")
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
            raise Superseded(
                f"{now or 'no version'} serves by now, and {version} was judged beside "
                f"{instead_of or 'none'}: judge them with `tagalong evaluate {version} GOLD "
                f"--against {now or BUNDLED}`, and promote the better one with `tagalong models "
                "promote`"
            )

    def _verify(self, tier: str, version: str) -> None:
        """Check that a version is what its place says, and as it was published."""
        folder = self.folder(tier, version)
        manifest = read_manifest(folder)
        if (manifest.tier, manifest.version) != (tier, version):
            raise VersionInvalid(
                f"{folder} holds {manifest.tier}/{manifest.version}: give it its own name back"
            )


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
