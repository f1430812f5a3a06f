"""The catalogue of model versions: what there is, what serves, and what a reference means.

Reading needs no lock: see `ner.store`, which changes what is read here.
"""

from dataclasses import dataclass
from pathlib import Path

from ner.current import read_current
from ner.errors import StoreError, VersionInvalid, VersionNotFound
from ner.manifest import SAFE_NAME, Manifest, is_version, read_manifest

BUNDLED = "bundled"  # the reference of the version that Tagalong comes with
MOST_NAMED = 8  # versions in a message
DEFAULT_TIER = "encoder"  # what answers where no tier is named


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A folder of model versions, one sub-folder per tier.

    Attributes:
        root: The folder; where it is missing, there are no versions.
        bundled: Root of the versions that Tagalong comes with; None for none.
    """

    root: Path
    bundled: Path | None = None

    def tiers(self) -> list[str]:
        """The tiers that have a folder, in order of name."""
        return _safe_folders(self.root)

    def names(self, tier: str) -> list[str]:
        """The versions of a tier, in order of name, damaged ones included.

        Args:
            tier: Any safe name; a tier without a folder has no versions.

        Returns:
            Names of the folders that hold a manifest.
        """
        home = self.home(tier)
        return [name for name in _safe_folders(home) if is_version(home / name)]

    def versions(self, tier: str) -> list[Manifest]:
        """The manifests of a tier, oldest first.

        Args:
            tier: Any safe name.

        Returns:
            Those that can be read (`names` has the others too); no file is verified.
        """
        found = []
        for name in self.names(tier):
            try:
                found.append(read_manifest(self.home(tier) / name, verify=False))
            except VersionInvalid:
                continue
        return sorted(found, key=lambda manifest: (manifest.created, manifest.version))

    def current(self, tier: str) -> str | None:
        """The version of a tier that serves.

        Args:
            tier: Any safe name.

        Returns:
            Its name; None if none was ever promoted.

        Raises:
            VersionInvalid: If the file that says so cannot be read.
        """
        current = read_current(self.home(tier))
        return current.version if current else None

    def serving(self, tier: str) -> str:
        """The version of a tier that answers, be it the one that Tagalong comes with.

        Args:
            tier: Any safe name.

        Returns:
            Its name; empty where none does.

        Raises:
            VersionInvalid: If the file that says so cannot be read.
        """
        name = self.current(tier)
        if name is None and self.bundled is not None:
            name = Catalogue(self.bundled).current(tier)
        return name or ""

    def default(self, tier: str = DEFAULT_TIER) -> str:
        """What to `resolve` where no version was asked for.

        Args:
            tier: Any safe name.

        Returns:
            The tier itself if a version of it was promoted, else ``bundled``.
        """
        return BUNDLED if self.current(tier) is None else tier

    def resolve(self, reference: str) -> Path:
        """Find the folder of a version.

        Args:
            reference: ``bundled``, a tier for its current version, a version, ``tier/version``, or
                a path to a version's folder; tried in this order.

        Returns:
            A folder with a manifest; not verified, which `read_manifest` does.

        Raises:
            VersionNotFound: If nothing is called that, or versions in two tiers are.
            VersionInvalid: If a path leads to a folder that is no version.
        """
        if reference == BUNDLED and self.bundled is not None:
            return Catalogue(self.bundled)._current_folder(DEFAULT_TIER)
        if reference in self.tiers():
            return self._current_folder(reference)
        catalogues = [self] if self.bundled is None else [self, Catalogue(self.bundled)]
        found = next(filter(None, (catalogue._named(reference) for catalogue in catalogues)), [])
        if len(found) > 1:
            choices = " or ".join(f"{folder.parent.name}/{folder.name}" for folder in found)
            raise VersionNotFound(f"{reference!r} is in more than one tier: say {choices}")
        if found:
            return found[0]
        if Path(reference).is_dir():
            read_manifest(Path(reference), verify=False)  # says what is wrong with the folder
            return Path(reference)
        raise VersionNotFound(f"no model version is called {reference!r}: {self.offer()}")

    def home(self, tier: str) -> Path:
        """Where a tier is, or would be.

        Args:
            tier: Its name.

        Returns:
            A folder in the root.

        Raises:
            StoreError: If it is not a safe name.
        """
        return self.root / checked_name(tier)

    def folder(self, tier: str, version: str) -> Path:
        """Where a version is.

        Args:
            tier: Its tier.
            version: Its name.

        Returns:
            A folder with a manifest.

        Raises:
            VersionNotFound: If there is no such version.
        """
        folder = self.home(tier) / checked_name(version)
        if not is_version(folder):
            raise VersionNotFound(f"tier {tier!r} has no version {version!r}: {self.offer()}")
        return folder

    def offer(self) -> str:
        """What there is to choose from, for messages."""
        known = [f"{tier}/{version}" for tier in self.tiers() for version in self.names(tier)]
        if len(known) > MOST_NAMED:
            known[:-MOST_NAMED] = [f"{len(known) - MOST_NAMED} others"]
        there = f"{self.root} has {', '.join(known) or 'no version yet'}"
        return there if self.bundled is None else f"{there}; {BUNDLED!r} is always there"

    def _named(self, reference: str) -> list[Path]:
        """The versions called ``version`` in any tier, or ``tier/version``."""
        tier, _, version = reference.rpartition("/")
        tiers = [name for name in self.tiers() if tier in ("", name)]
        return [self.home(name) / version for name in tiers if version in self.names(name)]

    def _current_folder(self, tier: str) -> Path:
        """The folder of a tier's current version."""
        version = self.current(tier)
        if version is None:
            raise VersionNotFound(f"no version of tier {tier!r} is current: {self.offer()}")
        return self.folder(tier, version)


def checked_name(name: str) -> str:
    """Check what will be the name of a folder: it must never lead out of the store.

    Args:
        name: Of a tier or a version.

    Returns:
        The name.

    Raises:
        StoreError: If it is not a safe one.
    """
    if not _is_safe(name):
        raise StoreError(
            f"{name!r} cannot be the name of a tier or version: up to 100 letters, digits, dots, "
            f"dashes and underscores can, a letter or digit first, but {BUNDLED!r} cannot"
        )
    return name


def _safe_folders(parent: Path) -> list[str]:
    """The folders in a folder that a tier or version could have made, in order of name."""
    if not parent.is_dir():
        return []
    return sorted(path.name for path in parent.iterdir() if path.is_dir() and _is_safe(path.name))


def _is_safe(name: str) -> bool:
    """Whether a tier or version may have that name."""
    return SAFE_NAME.fullmatch(name) is not None and name != BUNDLED
