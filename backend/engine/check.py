"""An engine beside PyTorch: whether it finds what the model finds."""

from collections.abc import Sequence
from dataclasses import replace

from backend.encoder import EncoderTier
from backend.engine.cache import Check
from backend.viterbi import Scores
from ner.document import Document
from ner.scoring import Scores as Scored
from ner.scoring import score

MOST_LOST = 0.002  # of strict F1: two tenths of a point
LEAST_AGREEMENT = 0.99  # below it, what was made is another model


def compare(reference: EncoderTier, engine: EncoderTier, documents: Sequence[Document]) -> Check:
    """Run both on the same documents.

    Args:
        reference: PyTorch in fp32.
        engine: What is to do the same, only faster.
        documents: At least one word; those spans count as gold whose labels the model knows.

    Returns:
        How the engine did.
    """
    read = reference.read(documents)
    pairs = zip(reference.score(read), engine.score(read), strict=True)
    same = sum(_agreeing(*pair) for pair in pairs)
    total = sum(len(one.words) for one in read)
    check = Check(len(documents), total, same / total)
    known = reference.labels
    gold = sum(span.label in known for document in documents for span in document.spans)
    if not gold:
        return check
    expected, found = _f1(reference, documents), _f1(engine, documents)
    return replace(check, reference_f1=expected, f1=found, gold=gold)


def refusal(check: Check) -> str | None:
    """Why an engine may not serve.

    Args:
        check: How it did.

    Returns:
        What was found, to be read after "it"; None where it may.
    """
    if check.agreement < LEAST_AGREEMENT:
        return f"thinks another tag of {1 - check.agreement:.1%} of the words than PyTorch does"
    if check.loss > MOST_LOST:
        return (
            f"loses {100 * check.loss:.2f} points of strict F1 on {check.documents:,} documents "
            f"with {check.gold:,} entities, and {100 * MOST_LOST:.1f} are allowed"
        )
    return None


def _agreeing(one: Scores, other: Scores) -> int:
    """Of how many words both think the same tag best."""
    return int((one.argmax(axis=1) == other.argmax(axis=1)).sum()) if len(one) else 0


def _f1(tier: EncoderTier, documents: Sequence[Document]) -> float:
    """Strict F1 over the labels that a tier knows."""
    found = zip(documents, tier.predict(documents), strict=True)
    return sum(
        (
            score(
                document.text,
                [span for span in document.spans if span.label in tier.labels],
                prediction.spans,
            )
            for document, prediction in found
        ),
        Scored(),
    ).strict.total.f1
