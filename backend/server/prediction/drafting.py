"""The LLM's slot: its drafts come from whatever encoder serves at the time."""

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
    """Drafts by the encoder that serves; O everywhere where there is none that could help.

    Args:
        encoder: The encoder's.
        labels: What the LLM can find.
    """

    def __init__(self, encoder: ModelHolder, labels: Collection[str]) -> None:
        self._encoder, self._labels = encoder, frozenset(labels)

    def __call__(self, documents: Sequence[Document]) -> Sequence[Prediction]:
        """Draft.

        Args:
            documents: Only their texts count.

        Returns:
            One prediction per document.
        """
        loaded = self._encoder.loaded_version
        if loaded is not None and not self._labels.isdisjoint(loaded.tier.labels):
            try:
                return self._encoder.scheduler.predict(loaded.tier, documents)
            except (TagalongError, RuntimeError) as error:
                # A draft changes what an answer costs, never the answer: go on without.
                log.warning("the encoder could not draft: %s", type(error).__name__)
        return [Prediction((), 1.0, "")] * len(documents)


def make_drafted_loader(encoder: ModelHolder, *, weights: WeightsMode | None) -> Callable[[Path], Tier]:
    """What makes an LLM version's folder a tier that knows its pace.

    Args:
        encoder: Drafts.
        weights: How they are kept; None for as the version was trained.

    Returns:
        The loader. Adapters on the base of the version before, folded into it by none of them, do
        not load it again; versions that still answer go on as they are.
    """
    kept = BaseModelCache()

    def load(folder: Path) -> Tier:
        drafts = ServedDrafter(encoder, read_manifest(folder, verify=False).labels)
        tier = load_tier(folder, drafter=drafts, weights_mode=weights, base_model_cache=kept)
        tier.warm_up()
        return tier

    return load
