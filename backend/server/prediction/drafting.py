"""Loads LLM versions, with drafts by the served encoder."""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from tagalong.backend.models.base_models.load_options import BaseModelCache, WeightsMode
from tagalong.backend.models.load import load_tier
from tagalong.backend.models.tier import Tier
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TagalongError
from tagalong.ner.manifest import read_manifest

log = logging.getLogger(__name__)


def draft(
    encoder: ModelHolder, labels: Collection[str], documents: Sequence[Document]
) -> Sequence[Prediction]:
    """Draft by the served encoder; O everywhere if it shares none of the LLM's labels."""
    tier = encoder.tier
    if tier is not None and not set(labels).isdisjoint(tier.labels):
        try:
            return encoder.scheduler.predict(tier, documents)
        except (TagalongError, RuntimeError) as error:
            # A draft changes the cost of an answer, never the answer: go on without.
            log.warning("the encoder could not draft: %s", type(error).__name__)
    return [Prediction((), 1.0, "")] * len(documents)


def make_drafted_loader(
    encoder: ModelHolder, *, weights_mode: WeightsMode | None
) -> Callable[[Path], Tier]:
    """Create a loader of LLM versions that draft with `encoder` and know their throughput.

    An adapter whose base model is in memory already does not load it again, unless a version is
    merged into it. A `weights_mode` of None is the mode of the version's training.
    """
    cache = BaseModelCache()

    def load(folder: Path) -> Tier:
        drafter = partial(draft, encoder, read_manifest(folder, verify=False).labels)
        tier = load_tier(folder, drafter=drafter, weights_mode=weights_mode, base_model_cache=cache)
        tier.warm_up()  # measures the throughput, before the first request needs an estimate
        return tier

    return load
