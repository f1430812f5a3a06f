"""Documents of which two systems say different things: an encoder and an LLM, or two versions."""

from collections.abc import Sequence
from dataclasses import replace

from tagalong.ner.document import Document, Prediction
from tagalong.ner.scoring import score_spans
from tagalong.training.curate.pool import Pick, Pool, SelectionStrategy
from tagalong.training.curate.uncertainty import sequence_uncertainty


def disagreement_score(document: Document, one: Prediction, other: Prediction) -> float:
    """How far two systems disagree on a document.

    Args:
        document: Its text.
        one: What one system says.
        other: What the other says.

    Returns:
        1 less the mean of strict and relaxed F1 of one against the other, from 0 to 1: an entity
        with another edge is half a disagreement. 0 where neither finds anything.
    """
    if not one.spans and not other.spans:
        return 0.0
    scores = score_spans(document.text, one.spans, other.spans)
    return 1 - (scores.strict.total.f1 + scores.relaxed.total.f1) / 2


def keep_shared_labels(
    one: Sequence[Prediction], other: Sequence[Prediction], labels: Sequence[str]
) -> tuple[list[Prediction], list[Prediction]]:
    """Leave out what only one of two systems could say, which is no disagreement.

    Args:
        one: What one system says.
        other: What the other says.
        labels: What both know.

    Returns:
        The predictions of both with the spans of these labels alone.
    """
    known = frozenset(labels)
    ours, theirs = (
        [
            replace(entry, spans=tuple(span for span in entry.spans if span.label in known))
            for entry in side
        ]
        for side in (one, other)
    )
    return ours, theirs


def _pick_by_disagreement(pool: Pool, count: int) -> list[Pick]:
    """The farthest apart first, of equals the one that the current model is less sure of."""
    entries = zip(pool.documents, pool.predictions, pool.other_predictions, strict=True)
    disputes = [disagreement_score(*entry) for entry in entries]
    doubts = [sequence_uncertainty(prediction) for prediction in pool.predictions]
    order = sorted(range(len(disputes)), key=lambda place: (-disputes[place], -doubts[place]))
    return [Pick(place, "the two disagree", disputes[place]) for place in order[:count]]


DISAGREEMENT = SelectionStrategy(
    _pick_by_disagreement, required_inputs=frozenset({"other_predictions"})
)
