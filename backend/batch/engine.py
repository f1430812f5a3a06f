"""Predicting with care: one document that no tier can read costs nobody else's predictions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TagalongError

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tier import Tier

MAX_ATTEMPTS = 3  # of a document alone, before it is set aside


@dataclass(frozen=True, slots=True)
class PredictionFailure:
    """Why there is no prediction for a document, one sentence."""

    reason: str


# Takes chunks as it needs them, and answers each, in the same order.
Engine = Callable[[Iterator[list[Document]]], Iterator[list[Prediction | PredictionFailure]]]


def make_local_engine(tier: "Tier") -> Engine:
    """What predicts here, one chunk after the other.

    Args:
        tier: What predicts.

    Returns:
        The engine.
    """
    return lambda chunks: (predict_isolating_failures(tier, chunk) for chunk in chunks)


def predict_isolating_failures(
    tier: "Tier", documents: Sequence[Document]
) -> list[Prediction | PredictionFailure]:
    """Predict; where that fails, halve until it is known which documents fail alone.

    Args:
        tier: What predicts.
        documents: Only their texts count.

    Returns:
        For each document its prediction, or what kept it from having one.
    """
    if not documents:
        return []
    try:
        return list(tier.predict(documents))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told of the document it hits
        if len(documents) == 1:
            return [_retry_document(tier, documents[0], error)]
    half = len(documents) // 2
    return predict_isolating_failures(tier, documents[:half]) + predict_isolating_failures(
        tier, documents[half:]
    )


def _retry_document(
    tier: "Tier", document: Document, error: Exception
) -> Prediction | PredictionFailure:
    """Try a document that has failed once alone."""
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return tier.predict([document])[0]
        except Exception as again:  # noqa: BLE001
            error = again
    if isinstance(error, TagalongError):
        return PredictionFailure(str(error))
    return PredictionFailure(
        f"the model failed on it {MAX_ATTEMPTS} times ({type(error).__name__}: {error})"
    )
