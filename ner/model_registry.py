"""The models in a folder: their versions, the current ones, and references to them.

A model has a name, versions and one current version. Each tier has a default model of its name.

Reading needs no lock: see `tagalong.backend.storage.model_store`, which makes the changes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.current_version import read_current_version
from tagalong.ner.errors import InputError, RegistryError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import SAFE_NAME_PATTERN, Manifest, is_version, read_manifest
from tagalong.ner.tiers import DEFAULT_TIER, TIER_DISPLAY_NAMES, TIERS, TRAINABLE_TIERS

BUNDLED_REFERENCE = "bundled"  # the reference of the version that Tagalong comes with
WINDOWS_DEVICE_PATTERN = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
MAX_LISTED_VERSIONS = 8  # in a message


@dataclass(frozen=True, slots=True)
class ModelRegistry:
    """A folder of models, each a sub-folder with its versions."""

    root: Path  # a missing one has no versions
    bundled_root: Path | None = None  # of the versions that come with Tagalong; None for none

    def models(self) -> list[str]:
        """The models that have a folder, in order of name."""
        return _list_safe_folders(self.root)

    def model_tier(self, model: str) -> str | None:
        """The tier of a model: that of its oldest readable version; None if it has none."""
        if model in TIERS:
            return model
        return next((manifest.tier for manifest in self.manifests(model)), None)

    def version_names(self, model: str) -> list[str]:
        """The versions of a model in order of name, damaged ones included."""
        home = self.model_folder(model)
        return [name for name in _list_safe_folders(home) if is_version(home / name)]

    def manifests(self, model: str) -> list[Manifest]:
        """The readable manifests of a model, oldest first; their files are not verified."""
        found = []
        for name in self.version_names(model):
            try:
                found.append(read_manifest(self.model_folder(model) / name, verify=False))
            except VersionInvalid:
                continue
        return sorted(found, key=lambda manifest: (manifest.created, manifest.version))

    def promoted_version(self, model: str) -> str | None:
        """The version of a model that was promoted in this folder; None before the first promotion.

        Raises `VersionInvalid` if the file ``current`` cannot be read.
        """
        current = read_current_version(self.model_folder(model))
        return current.version if current else None

    def bundled_version(self, model: str) -> str | None:
        """The bundled version of a tier's default model; None if there is none."""
        if self.bundled_root is None:
            return None
        return ModelRegistry(self.bundled_root).promoted_version(model)

    def bundled_version_folder(self, model: str) -> Path:
        """The folder of the bundled version of a model; raises `VersionNotFound` without one."""
        version = self.bundled_version(model)
        if self.bundled_root is None or version is None:
            raise VersionNotFound(
                f"model {model!r} has no bundled version: {self.describe_available(model)}",
                code="no-bundled-version",
            )
        return ModelRegistry(self.bundled_root).version_folder(model, version)

    def current_version(self, model: str) -> str:
        """The current version of a model, the bundled one included; empty if there is none.

        Raises `VersionInvalid` if the file ``current`` cannot be read.
        """
        return self.promoted_version(model) or self.bundled_version(model) or ""

    def resolve(self, reference: str = DEFAULT_TIER) -> Path:
        """Find the folder of a version; by default the current version of the default tier.

        A reference is one of these, tried in this order: ``bundled``; a model, for its current
        or bundled version; a version; ``model/version``; or a path to a version's folder. Files are
        not verified. Raises `VersionNotFound` if there is no such version, or two models have
        different ones of this name.
        Raises `VersionInvalid` if a path leads to a folder that is no version.
        """
        if reference == BUNDLED_REFERENCE and self.bundled_root is not None:
            return self.bundled_version_folder(DEFAULT_TIER)
        registries = [self]
        if self.bundled_root is not None:
            registries.append(ModelRegistry(self.bundled_root))
        if any(reference in registry.models() for registry in registries):
            return self._current_version_folder(reference)
        found = next(filter(None, (one._find_by_name(reference) for one in registries)), [])
        if len(found) > 1 and not _are_equal(found):
            choices = " or ".join(f"{folder.parent.name}/{folder.name}" for folder in found)
            raise VersionNotFound(
                f"{reference!r} is in more than one model: write {choices}",
                code="version-ambiguous",
            )
        if found:
            return found[0]
        if Path(reference).is_dir():
            read_manifest(Path(reference), verify=False)  # raises if it is no version
            return Path(reference)
        if reference in TIERS:
            raise self._no_current_version_error(reference)
        raise VersionNotFound(
            f"no model version is called {reference!r}: {self.describe_available()}"
        )

    def resolve_in_tier(self, reference: str, tier: str) -> Path:
        """Find the folder of a version, as `resolve`; raises `InputError` for another tier."""
        folder = self.resolve(reference)
        manifest = read_manifest(folder, verify=False)
        if manifest.tier != tier:
            raise InputError(
                f"{manifest.version} is of tier {manifest.tier!r}: name a version of tier {tier!r}",
                code="version-of-another-tier",
            )
        return folder

    def model_folder(self, model: str) -> Path:
        """The folder of a model, which may not exist; raises `RegistryError` for an unsafe name."""
        return self.root / validate_name(model)

    def version_folder(self, model: str, version: str) -> Path:
        """The folder of a version; raises `VersionNotFound` if there is no such version."""
        folder = self.model_folder(model) / validate_name(version)
        if not is_version(folder):
            raise VersionNotFound(
                f"model {model!r} has no version {version!r}: {self.describe_available(model)}",
                code="version-not-in-model",
            )
        return folder

    def describe_available(self, model: str = DEFAULT_TIER) -> str:
        """List the versions for a message, with the bundled version for the default model."""
        names = [f"{one}/{version}" for one in self.models() for version in self.version_names(one)]
        if len(names) > MAX_LISTED_VERSIONS:
            names[:-MAX_LISTED_VERSIONS] = [pluralize(len(names) - MAX_LISTED_VERSIONS, "other")]
        listed = f"{self.root} has {', '.join(names) or 'no version yet'}"
        if self.bundled_root is None or model != DEFAULT_TIER:
            return listed
        return f"{listed}; {BUNDLED_REFERENCE!r} is always available"

    def _find_by_name(self, reference: str) -> list[Path]:
        """The folders of ``version`` in all models, or of ``model/version``."""
        model, _, version = reference.rpartition("/")
        models = [name for name in self.models() if model in ("", name)]
        return [
            self.model_folder(name) / version
            for name in models
            if version in self.version_names(name)
        ]

    def _current_version_folder(self, model: str) -> Path:
        """The folder of a model's current version, the bundled one included."""
        version = self.promoted_version(model)
        if version is not None:
            return self.version_folder(model, version)
        if self.bundled_version(model) is not None:
            return self.bundled_version_folder(model)
        raise self._no_current_version_error(model)

    def _no_current_version_error(self, model: str) -> VersionNotFound:
        if model in TIERS and not self.version_names(model):
            name = TIER_DISPLAY_NAMES[model]
            message = f"no {name} has been trained: run `tagalong train {model}`"
            if model not in TRAINABLE_TIERS:
                message = f"tier {name!r} has no version: publish and promote one"
            return VersionNotFound(message, code="tier-not-trained")
        return VersionNotFound(
            f"no version of model {model!r} is current, so promote one with `tagalong models "
            f"promote`: {self.describe_available(model)}",
            code="no-current-version",
        )


def validate_name(name: str, present: Iterable[str] = ()) -> str:
    """Return the name of a model or version; raises `RegistryError` if it is not safe.

    A name that differs only in case from one that is `present` is not safe either.
    """
    if not _is_safe_name(name):
        raise RegistryError(
            f"{name!r} cannot be the name of a model or version: use up to 100 letters, digits, "
            "dots, dashes and underscores, a letter or digit first and no dot last, but neither "
            f"{BUNDLED_REFERENCE!r} nor a device of Windows",
            code="name-not-safe",
        )
    same = [one for one in present if one.lower() == name.lower()]
    if same and name not in same:
        raise RegistryError(
            f"{name!r} differs only in case from {same[0]!r}, and macOS and Windows would mix "
            "their folders: use that name or another one",
            code="name-of-other-case",
        )
    return name


def _are_equal(folders: Sequence[Path]) -> bool:
    """Whether versions have the same manifest: copies of one version in several models."""
    try:
        manifests = [read_manifest(folder, verify=False) for folder in folders]
    except VersionInvalid:
        return False
    return all(manifest == manifests[0] for manifest in manifests)


def _list_safe_folders(parent: Path) -> list[str]:
    """The folders whose names a model or version may have, in order of name."""
    if not parent.is_dir():
        return []
    return sorted(
        path.name for path in parent.iterdir() if path.is_dir() and _is_safe_name(path.name)
    )


def _is_safe_name(name: str) -> bool:
    # A name must never lead out of the store, nor be one that some system cannot hold.
    return (
        SAFE_NAME_PATTERN.fullmatch(name) is not None
        and not name.endswith(".")
        and name.lower() != BUNDLED_REFERENCE
        and WINDOWS_DEVICE_PATTERN.fullmatch(name) is None
    )
