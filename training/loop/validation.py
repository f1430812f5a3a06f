"""What every training does with its dev side: refuse a useless one, judge by it, fit on it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import TagSet
from tagalong.training.evaluation.calibration import fit_temperature
from tagalong.training.evaluation.evaluate import compute_dev_strict_f1


class TrainedTier(Protocol):
    """A tier in training."""

    tag_set: TagSet

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document."""


def check_annotated_splits(train: Sequence[Document], dev: Sequence[Document]) -> None:
    """Refuse what cannot end well.

    Args:
        train: Documents to learn from.
        dev: Documents to judge by.

    Raises:
        TrainingError: If a side has nothing annotated.
    """
    for name, documents in (("train", train), ("dev", dev)):
        if not any(document.spans for document in documents):
            raise TrainingError(
                f"the {name} side has {len(documents)} documents and not one annotated span; "
                "annotate more, or hold out a larger share for dev"
            )


def score_on_dev(tier: TrainedTier, dev: Sequence[Document], accelerator: Accelerator) -> float:
    """Judge a tier, each process reading its share of the documents.

    Args:
        tier: With the weights as they are, ready to serve.
        dev: Documents to judge by.
        accelerator: Knows the processes.

    Returns:
        Strict F1, the same on every process.
    """
    rank, count = accelerator.process_index, accelerator.num_processes
    mine = [*enumerate(dev)][rank::count]
    predictions = tier.predict([document for _, document in mine])
    numbered = [(index, entry) for (index, _), entry in zip(mine, predictions, strict=True)]
    everyone: list[tuple[int, Prediction]] = gather_object(numbered)
    in_order = [entry for _, entry in sorted(everyone, key=lambda pair: pair[0])]
    return compute_dev_strict_f1(dev, in_order, tier.tag_set)


def fit_temperature_on_dev(logits: Sequence[FloatArray], tags: Sequence[Sequence[int]]) -> float:
    """Fit the temperature on dev (Guo et al. 2017).

    Args:
        logits: Of each document's words, (words, tags).
        tags: What they are.

    Returns:
        The temperature that makes dev likeliest.
    """
    gold = [np.array(entry) for entry in tags]
    return fit_temperature(np.concatenate(list(logits)), np.concatenate(gold))
