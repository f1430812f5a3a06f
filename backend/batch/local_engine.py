"""Prediction in this process; a document that a model fails on does not affect the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TagalongError, describe_fault

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tagger import DocumentTagger

MAX_ATTEMPTS = 3  # for a document alone, before it counts as failed


@dataclass(frozen=True, slots=True)
class PredictionFailure:
    """A document without a prediction."""

    reason: str  # one sentence


PredictionOutcome = Prediction | PredictionFailure
# Takes chunks as it needs them, and returns the predictions of each, in the same order.
Engine = Callable[[Iterator[list[Document]]], Iterator[list[PredictionOutcome]]]


def make_local_engine(tagger: "DocumentTagger") -> Engine:
    """An engine that predicts in this process, one chunk after the other."""
    return lambda chunks: (predict_isolating_failures(tagger, chunk) for chunk in chunks)


def predict_isolating_failures(
    tagger: "DocumentTagger", documents: Sequence[Document]
) -> list[PredictionOutcome]:
    """Predict a chunk; if that fails, halve it until the failing documents are alone."""
    if not documents:
        return []
    try:
        return list(tagger.predict(documents))
    # Any error of a model or its libraries must cost one document, not the batch.
    except Exception as error:  # noqa: BLE001
        if len(documents) == 1:
            return [_retry_document(tagger, documents[0], error)]
    half = len(documents) // 2
    halves = (documents[:half], documents[half:])
    return [outcome for part in halves for outcome in predict_isolating_failures(tagger, part)]


def _retry_document(
    tagger: "DocumentTagger", document: Document, error: Exception
) -> PredictionOutcome:
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return tagger.predict([document])[0]
        except Exception as latest:  # noqa: BLE001 - as above; the last one is reported
            error = latest
    if isinstance(error, TagalongError):
        return PredictionFailure(str(error))
    return PredictionFailure(
        f"the model failed on it {MAX_ATTEMPTS} times ({describe_fault(error)})"
    )
