"""The catalogue of model versions: which there are, which are current, what a reference means.

Reading needs no lock: see `tagalong.backend.storage.model_store`, which changes what is read here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tagalong.ner.current_version import read_current_version
from tagalong.ner.errors import RegistryError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import SAFE_NAME_PATTERN, Manifest, is_version, read_manifest

BUNDLED_REFERENCE = "bundled"  # the reference of the version that Tagalong comes with
MAX_LISTED_VERSIONS = 8  # versions in a message
TierName = Literal["encoder", "llm"]  # the only place where tiers are spelt
TIERS: tuple[TierName, ...] = get_args(TierName)
ENCODER, LLM = TIERS
DEFAULT_TIER = ENCODER  # what answers where no tier is named
TIER_NAMES: Mapping[str, str] = {ENCODER: "encoder", LLM: "LLM"}  # in messages


@dataclass(frozen=True, slots=True)
class ModelRegistry:
    """A folder of model versions, one sub-folder per tier.

    Attributes:
        root: The folder; where it is missing, there are no versions.
        bundled_root: Root of the versions that Tagalong comes with; None for none.
    """

    root: Path
    bundled_root: Path | None = None

    def tiers(self) -> list[str]:
        """The tiers that have a folder, in order of name."""
        return _list_safe_folders(self.root)

    def version_names(self, tier: str) -> list[str]:
        """The versions of a tier, in order of name, damaged ones included.

        Args:
            tier: Any safe name; a tier without a folder has no versions.

        Returns:
            Names of the folders that hold a manifest.
        """
        home = self.tier_folder(tier)
        return [name for name in _list_safe_folders(home) if is_version(home / name)]

    def manifests(self, tier: str) -> list[Manifest]:
        """The manifests of a tier, oldest first.

        Args:
            tier: Any safe name.

        Returns:
            Those that can be read (`names` has the others too); no file is verified.
        """
        found = []
        for name in self.version_names(tier):
            try:
                found.append(read_manifest(self.tier_folder(tier) / name, verify=False))
            except VersionInvalid:
                continue
        return sorted(found, key=lambda manifest: (manifest.created, manifest.version))

    def current_version(self, tier: str) -> str | None:
        """The version of this folder that is current for a tier.

        Args:
            tier: Any safe name.

        Returns:
            Its name; None if none is, so that the bundled version is current where there is one.

        Raises:
            VersionInvalid: If the file that says so cannot be read.
        """
        current = read_current_version(self.tier_folder(tier))
        return current.version if current else None

    def bundled_version(self, tier: str) -> str | None:
        """The bundled version of a tier.

        Args:
            tier: Any safe name.

        Returns:
            Its name; None if the tier has none.
        """
        return (
            None
            if self.bundled_root is None
            else ModelRegistry(self.bundled_root).current_version(tier)
        )

    def bundled_version_folder(self, tier: str) -> Path:
        """The folder of the bundled version of a tier.

        Args:
            tier: Any safe name.

        Returns:
            A folder with a manifest.

        Raises:
            VersionNotFound: If the tier has no bundled version.
        """
        version = self.bundled_version(tier)
        if self.bundled_root is None or version is None:
            raise VersionNotFound(
                f"no bundled version of tier {tier!r} exists: {self.describe_available(tier)}"
            )
        return ModelRegistry(self.bundled_root).version_folder(tier, version)

    def served_version(self, tier: str) -> str:
        """The current version of a tier, the bundled one included.

        Args:
            tier: Any safe name.

        Returns:
            Its name; empty where there is none.

        Raises:
            VersionInvalid: If the file that says so cannot be read.
        """
        return self.current_version(tier) or self.bundled_version(tier) or ""

    def default_reference(self, tier: str = DEFAULT_TIER) -> str:
        """What to `resolve` where no version was asked for.

        Args:
            tier: Any safe name.

        Returns:
            The tier itself if a version of this folder is current, else ``bundled``.
        """
        return BUNDLED_REFERENCE if self.current_version(tier) is None else tier

    def resolve(self, reference: str) -> Path:
        """Find the folder of a version.

        Args:
            reference: ``bundled``, a tier for its current version (the bundled one included), a
                version, ``tier/version``, or a path to a version's folder; tried in this order.

        Returns:
            A folder with a manifest; not verified, which `read_manifest` does.

        Raises:
            VersionNotFound: If nothing is called that, or versions in two tiers are.
            VersionInvalid: If a path leads to a folder that is no version.
        """
        if reference == BUNDLED_REFERENCE and self.bundled_root is not None:
            return self.bundled_version_folder(DEFAULT_TIER)
        catalogues = (
            [self] if self.bundled_root is None else [self, ModelRegistry(self.bundled_root)]
        )
        if any(reference in catalogue.tiers() for catalogue in catalogues):
            return self._current_version_folder(reference)
        found = next(
            filter(None, (catalogue._find_by_name(reference) for catalogue in catalogues)), []
        )
        if len(found) > 1:
            choices = " or ".join(f"{folder.parent.name}/{folder.name}" for folder in found)
            raise VersionNotFound(f"{reference!r} is in more than one tier: say {choices}")
        if found:
            return found[0]
        if Path(reference).is_dir():
            read_manifest(Path(reference), verify=False)  # says what is wrong with the folder
            return Path(reference)
        if reference in TIER_NAMES:
            raise VersionNotFound(self._no_current_version_message(reference))
        raise VersionNotFound(
            f"no model version is called {reference!r}: {self.describe_available()}"
        )

    def tier_folder(self, tier: str) -> Path:
        """Where a tier is, or would be.

        Args:
            tier: Its name.

        Returns:
            A folder in the root.

        Raises:
            StoreError: If it is not a safe name.
        """
        return self.root / validate_name(tier)

    def version_folder(self, tier: str, version: str) -> Path:
        """Where a version is.

        Args:
            tier: Its tier.
            version: Its name.

        Returns:
            A folder with a manifest.

        Raises:
            VersionNotFound: If there is no such version.
        """
        folder = self.tier_folder(tier) / validate_name(version)
        if not is_version(folder):
            raise VersionNotFound(
                f"tier {tier!r} has no version {version!r}: {self.describe_available(tier)}"
            )
        return folder

    def describe_available(self, tier: str = DEFAULT_TIER) -> str:
        """List the versions of the store for a message.

        Args:
            tier: Whose bundled version is offered as well, if there is one.

        Returns:
            Words that can follow a colon.
        """
        known = [
            f"{tier}/{version}" for tier in self.tiers() for version in self.version_names(tier)
        ]
        if len(known) > MAX_LISTED_VERSIONS:
            known[:-MAX_LISTED_VERSIONS] = [f"{len(known) - MAX_LISTED_VERSIONS} others"]
        there = f"{self.root} has {', '.join(known) or 'no version yet'}"
        bundled = self.bundled_root is not None and tier == DEFAULT_TIER
        return f"{there}; {BUNDLED_REFERENCE!r} is always there" if bundled else there

    def _find_by_name(self, reference: str) -> list[Path]:
        """The versions called ``version`` in any tier, or ``tier/version``."""
        tier, _, version = reference.rpartition("/")
        tiers = [name for name in self.tiers() if tier in ("", name)]
        return [
            self.tier_folder(name) / version
            for name in tiers
            if version in self.version_names(name)
        ]

    def _current_version_folder(self, tier: str) -> Path:
        """The folder of a tier's current version, the bundled one included."""
        version = self.current_version(tier)
        if version is not None:
            return self.version_folder(tier, version)
        if self.bundled_version(tier) is not None:
            return self.bundled_version_folder(tier)
        raise VersionNotFound(self._no_current_version_message(tier))

    def _no_current_version_message(self, tier: str) -> str:
        """Say that a tier has no current version, and what to do."""
        if tier in TIER_NAMES and not self.version_names(tier):
            return f"no {TIER_NAMES[tier]} has been trained: run `tagalong train {tier}`"
        return (
            f"no version of tier {tier!r} is current, so promote one with `tagalong models "
            f"promote`: {self.describe_available(tier)}"
        )


def validate_name(name: str) -> str:
    """Check what will be the name of a folder: it must never lead out of the store.

    Args:
        name: Of a tier or a version.

    Returns:
        The name.

    Raises:
        StoreError: If it is not a safe one.
    """
    if not _is_safe_name(name):
        raise RegistryError(
            f"{name!r} cannot be the name of a tier or version: up to 100 letters, digits, dots, "
            f"dashes and underscores can, a letter or digit first, but {BUNDLED_REFERENCE!r} cannot"
        )
    return name


def _list_safe_folders(parent: Path) -> list[str]:
    """The folders in a folder that a tier or version could have made, in order of name."""
    if not parent.is_dir():
        return []
    return sorted(
        path.name for path in parent.iterdir() if path.is_dir() and _is_safe_name(path.name)
    )


def _is_safe_name(name: str) -> bool:
    """Whether a tier or version may have that name."""
    return SAFE_NAME_PATTERN.fullmatch(name) is not None and name != BUNDLED_REFERENCE
