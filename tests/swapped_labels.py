"""A second version without training: the bundled version with swapped labels."""

import shutil
from pathlib import Path

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import VersionMetadata, read_manifest
from tagalong.ner.model_registry import ModelRegistry

SWAPPED = {"Chemical": "Disease", "Disease": "Chemical"}


def publish_swapped(models: Path, name: str) -> str:
    """Publish the bundled version with its labels swapped, and make it current."""
    bundled = ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(
        "bundled"
    )
    manifest = read_manifest(bundled)
    draft = VersionMetadata(
        tier=manifest.tier,
        name=name,
        base=manifest.base,
        base_revision=manifest.base_revision,
        labels=tuple(SWAPPED[label] for label in manifest.labels),
        config=manifest.config,
        calibration=manifest.calibration,
    )
    store = ModelStore(models, bundled_root=BUNDLED_MODELS_FOLDER)
    with store.staging_folder(manifest.tier) as folder:
        for file in manifest.files:
            shutil.copy(bundled / file, folder / file)
        version = store.publish(folder, draft).version
    store.promote(manifest.tier, version)
    return version
