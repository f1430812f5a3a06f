"""A tier without weights: the terms of a dictionary, added as CONTRIBUTING.md says.

As a program, it is the command ``tagalong`` with this tier.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from tagalong.backend.models.tier_specs import TIER_SPECS, TierSpec
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner import tiers
from tagalong.ner.manifest import Manifest, VersionMetadata
from tests.lexicon_tagger import LEXICON, LexiconTagger

TERMS = "terms"
TERMS_SPEC = TierSpec(loaders=("tests.terms_tier:load_terms",))


def load_terms(folder: Path, manifest: Manifest, **options: object) -> LexiconTagger:
    """The loader of the tier."""
    assert options["device"]
    return LexiconTagger(manifest.version, json.loads((folder / "terms.json").read_text()))


def publish_terms(store: ModelStore, terms: Mapping[str, str] = LEXICON) -> Manifest:
    metadata = VersionMetadata(
        tier=TERMS, name=TERMS, base="", labels=tuple(dict.fromkeys(terms.values()))
    )
    with store.staging_folder(TERMS) as folder:
        (folder / "terms.json").write_text(json.dumps(terms))
        return store.publish(folder, metadata)


if __name__ == "__main__":
    tiers.TierName = Literal["encoder", "llm", "terms"]
    tiers.TIERS = get_args(tiers.TierName)
    tiers.TIER_DISPLAY_NAMES[TERMS] = TERMS
    TIER_SPECS[TERMS] = TERMS_SPEC
    from tagalong.cli.main import main  # imports the tiers, so after the change

    main(sys.argv[1:])
