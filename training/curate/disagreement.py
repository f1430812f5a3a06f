"""Select documents on which two models disagree: an encoder and an LLM, or two versions."""

from collections.abc import Sequence
from dataclasses import replace

from tagalong.ner.document import Document, Prediction
from tagalong.ner.scoring import score_spans
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy
from tagalong.training.curate.uncertainty import sequence_uncertainty


def disagreement_score(document: Document, one: Prediction, other: Prediction) -> float:
    """Measure the disagreement of two models on a document.

    Returns 1 minus the mean of strict and relaxed F1 between the two predictions. A boundary
    difference is half a disagreement. 0 if neither finds an entity.
    """
    if not one.spans and not other.spans:
        return 0.0
    scores = score_spans(document.text, one.spans, other.spans)
    return 1 - (scores.strict.total.f1 + scores.relaxed.total.f1) / 2


def keep_shared_labels(
    one: Sequence[Prediction], other: Sequence[Prediction], labels: Sequence[str]
) -> tuple[list[Prediction], list[Prediction]]:
    """Remove spans of labels that only one model knows: they are no disagreement."""
    known = frozenset(labels)
    first, second = (
        [
            replace(entry, spans=tuple(span for span in entry.spans if span.label in known))
            for entry in predictions
        ]
        for predictions in (one, other)
    )
    return first, second


def _pick_by_disagreement(pool: Pool, count: int) -> list[Pick]:
    """Highest disagreement first; ties by uncertainty of the current model."""
    entries = zip(pool.documents, pool.predictions, pool.other_predictions, strict=True)
    disagreements = [disagreement_score(*entry) for entry in entries]
    uncertainties = [sequence_uncertainty(prediction) for prediction in pool.predictions]
    order = sorted(
        range(len(disagreements)), key=lambda index: (-disagreements[index], -uncertainties[index])
    )
    return [Pick(index, "the two disagree", disagreements[index]) for index in order[:count]]


DISAGREEMENT = SelectionStrategy(
    _pick_by_disagreement, required_inputs=frozenset({"other_predictions"})
)
