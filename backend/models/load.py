"""Load model versions: by folder, or by a reference such as ``bundled``, ``encoder`` or a name."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Unpack

import torch

from tagalong.backend.models.base_models.load_options import Drafter, LoadOptions
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.ner.errors import TagalongError, VersionInvalid
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.tiers import DEFAULT_TIER

log = logging.getLogger(__name__)


def load_tagger(folder: Path, **options: Unpack[LoadOptions]) -> DocumentTagger:
    """Verify the files of a version's folder, and load it with `LoadOptions`.

    Raises `VersionInvalid` where a file is missing or has changed, or this release cannot serve the
    tier. Raises `BaseModelError` where the base model of an adapter is not there.
    """
    manifest = read_manifest(folder)
    options = {**options, "device": options.get("device") or default_device()}
    spec = TIER_SPECS.get(manifest.tier)
    for load in spec.import_loaders() if spec else ():
        if (tagger := load(folder, manifest, **options)) is not None:
            return tagger
    raise VersionInvalid(
        f"version {manifest.version} is of tier {manifest.tier!r}, which this release of "
        f"Tagalong does not serve: choose one of {', '.join(TIER_SPECS)}, or update Tagalong",
        code="unknown-tier",
    )


def load_version(
    model_registry: ModelRegistry,
    reference: str | None = None,
    *,
    use_openvino: bool = False,
    warn: Callable[[str], object] = log.warning,
) -> DocumentTagger:
    """Load a version by reference, as `ModelRegistry.resolve` reads it; None for the default one.

    The default version of the `drafter_tier` drafts, and `use_openvino` holds for that too. `warn`
    gets a sentence where it cannot be loaded. Raises `VersionNotFound` if there is no such version,
    and the errors of `load_tagger`.
    """
    folder = model_registry.resolve(reference or DEFAULT_TIER)
    manifest = read_manifest(folder, verify=False)
    spec = TIER_SPECS.get(manifest.tier)
    if spec is None or spec.drafter_tier is None:
        return load_tagger(folder, use_openvino=use_openvino)
    tier, labels = spec.drafter_tier, manifest.labels
    drafter = load_drafter(model_registry, labels, tier=tier, use_openvino=use_openvino, warn=warn)
    return load_tagger(folder, drafter=drafter, use_openvino=use_openvino)


def load_drafter(
    model_registry: ModelRegistry,
    labels: Collection[str],
    *,
    tier: str = DEFAULT_TIER,
    use_openvino: bool = False,
    warn: Callable[[str], object] = log.warning,
) -> Drafter | None:
    """Load the default version of a tier as the drafter of a version with some labels.

    Returns its `predict`; None where it shares no label, or cannot be loaded, of which `warn` gets
    a sentence.
    """
    try:
        folder = model_registry.resolve(tier)
        tagger = load_tagger(folder, use_openvino=use_openvino)
    except TagalongError as error:  # drafts change the cost of a prediction, never the prediction
        warn(f"No {tier} drafts the tags: {error}")
        return None
    return None if set(tagger.labels).isdisjoint(labels) else tagger.predict


def default_device() -> torch.device:
    """The first GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
