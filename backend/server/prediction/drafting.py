"""Loads LLM versions, with drafts by the served encoder."""

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from tagalong.backend.models.base_models.load_options import BaseModelCache, WeightsMode
from tagalong.backend.models.load import load_tier
from tagalong.backend.models.tier import Tier
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TagalongError
from tagalong.ner.manifest import read_manifest

log = logging.getLogger(__name__)


class ServedDrafter:
    """Drafts by the served encoder; O everywhere if no encoder shares a label with the LLM.

    Args:
        encoder: The encoder tier.
        labels: Labels of the LLM version.
    """

    def __init__(self, encoder: ModelHolder, labels: Collection[str]) -> None:
        self._encoder, self._labels = encoder, frozenset(labels)

    def __call__(self, documents: Sequence[Document]) -> Sequence[Prediction]:
        """Return one draft per document."""
        loaded = self._encoder.loaded_version
        if loaded is not None and not self._labels.isdisjoint(loaded.tier.labels):
            try:
                return self._encoder.scheduler.predict(loaded.tier, documents)
            except (TagalongError, RuntimeError) as error:
                # A draft changes the cost of an answer, never the answer: go on without.
                log.warning("the encoder could not draft: %s", type(error).__name__)
        return [Prediction((), 1.0, "")] * len(documents)


def make_drafted_loader(
    encoder: ModelHolder, *, weights_mode: WeightsMode | None
) -> Callable[[Path], Tier]:
    """Create a loader of LLM versions that draft with `encoder` and know their throughput.

    An adapter whose base model is in memory already does not load it again, unless a version is
    merged into it. Versions that still answer requests are not affected.

    Args:
        encoder: The encoder tier.
        weights_mode: How to hold the weights; None for the mode of the version's training.
    """
    cache = BaseModelCache()

    def load(folder: Path) -> Tier:
        drafter = ServedDrafter(encoder, read_manifest(folder, verify=False).labels)
        tier = load_tier(folder, drafter=drafter, weights_mode=weights_mode, base_model_cache=cache)
        tier.warm_up()
        return tier

    return load
