"""The bundled version with its labels swapped: another version, and no training."""

import shutil
from pathlib import Path

from backend.bundle import BUNDLED
from ner.catalogue import Catalogue
from ner.manifest import Draft, read_manifest
from ner.store import Store

SWAPPED = {"Chemical": "Disease", "Disease": "Chemical"}


def publish_swapped(models: Path, name: str) -> str:
    """Publish the bundled version with its labels swapped, and make it current."""
    bundled = Catalogue(BUNDLED, bundled=BUNDLED).resolve("bundled")
    manifest = read_manifest(bundled)
    draft = Draft(
        tier=manifest.tier,
        name=name,
        base=manifest.base,
        base_revision=manifest.base_revision,
        labels=tuple(SWAPPED[label] for label in manifest.labels),
        config=manifest.config,
        calibration=manifest.calibration,
    )
    store = Store(models, bundled=BUNDLED)
    with store.staging(manifest.tier) as folder:
        for file in manifest.files:
            shutil.copy(bundled / file, folder / file)
        version = store.publish(folder, draft).version
    store.promote(manifest.tier, version)
    return version
