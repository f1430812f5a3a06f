"""Uses of the dev split in a training: check, score, and fit the temperature."""

from collections.abc import Sequence

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import TagSet
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.evaluation.calibration import fit_temperature
from tagalong.training.evaluation.evaluate import compute_dev_strict_f1
from tagalong.training.recipes.recipe import Recipe


def check_annotated_splits(train: Sequence[Document], dev: Sequence[Document]) -> None:
    """Raise `TrainingError` if train or dev has no annotated spans."""
    for name, documents in (("train", train), ("dev", dev)):
        if not any(document.spans for document in documents):
            raise TrainingError(
                f"the {name} split has {pluralize(len(documents), 'document')} without an "
                "annotated span: "
                "annotate more, or give dev a larger share",
                code=f"{name}-without-spans",
            )


def check_inputs(split: TrainDevSplit, recipe: Recipe, *, four_bit_advice: str) -> None:
    """Check the documents and settings of a training.

    Raises `TrainingError` if train or dev has no annotated spans, or a 4-bit base has no adapter;
    `four_bit_advice` ends the sentence about the base.
    """
    check_annotated_splits(split.train, split.dev)
    if recipe.four_bit and recipe.adapter is None:
        raise TrainingError(
            f"a 4-bit base cannot be tuned in full: {four_bit_advice}",
            code="four-bit-without-adapter",
        )


def score_on_dev(
    tagger: DocumentTagger, tag_set: TagSet, dev: Sequence[Document], accelerator: Accelerator
) -> float:
    """Strict F1 of a tagger on dev, the same on every process; each predicts a share of dev."""
    rank, count = accelerator.process_index, accelerator.num_processes
    own_share = [*enumerate(dev)][rank::count]
    predictions = tagger.predict([document for _, document in own_share])
    numbered = [(index, one) for (index, _), one in zip(own_share, predictions, strict=True)]
    gathered: list[tuple[int, Prediction]] = gather_object(numbered)
    in_order = [one for _, one in sorted(gathered, key=lambda pair: pair[0])]
    return compute_dev_strict_f1(dev, in_order, tag_set)


def fit_temperature_on_dev(logits: Sequence[FloatArray], tags: Sequence[Sequence[int]]) -> float:
    """Fit the temperature that maximizes the likelihood of dev (Guo et al. 2017).

    `logits` has shape (words, tags) for each document, and `tags` the gold tags of its words.
    """
    return fit_temperature(np.concatenate(list(logits)), np.concatenate(list(map(np.array, tags))))
