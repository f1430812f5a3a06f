"""An engine beside PyTorch: whether it finds what the model finds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray as Logits
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.openvino.cache import OpenVINOCheck
from tagalong.ner.document import Document
from tagalong.ner.scoring import Scores as Scored
from tagalong.ner.scoring import score_spans
from tagalong.ner.tags import OUTSIDE

MAX_F1_LOSS = 0.002  # of strict F1: two tenths of a point
MIN_AGREEMENT = 0.99  # below it, what was made is another model
MIN_ENTITY_AGREEMENT = 0.9  # likewise, of words in entities: nearly all others are easy
MIN_ENTITY_WORDS = 20  # of those, below which their share says little
MIN_R_SQUARED = 0.9  # of the scores' variance: 8 bits leave 0.998 on abstracts, 0.99 in French


def compare_encoders(
    reference: EncoderTier, candidate: EncoderTier, documents: Sequence[Document]
) -> OpenVINOCheck:
    """Run both on the same documents.

    Args:
        reference: PyTorch in fp32.
        candidate: What is to do the same, only faster.
        documents: At least one word; those spans count as gold whose labels the model knows.

    Returns:
        How the engine did.
    """
    read = reference.encode(documents)
    ours, theirs = (np.concatenate([*tier.compute_logits(read)]) for tier in (reference, candidate))
    best = ours.argmax(axis=1), theirs.argmax(axis=1)
    same, tagged = best[0] == best[1], (best[0] != OUTSIDE) | (best[1] != OUTSIDE)
    check = OpenVINOCheck(
        documents=len(documents),
        words=len(same),
        agreement=float(same.mean()),
        entity_words=int(tagged.sum()),
        entity_agreement=float(same[tagged].mean()) if tagged.any() else 1.0,
        r_squared=_r_squared(ours, theirs),
    )
    known = reference.labels
    gold = sum(span.label in known for document in documents for span in document.spans)
    if not gold:
        return check
    expected, found = _strict_f1(reference, documents), _strict_f1(candidate, documents)
    return replace(check, reference_f1=expected, f1=found, gold_entities=gold)


def rejection_reason(check: OpenVINOCheck) -> str | None:
    """Why an engine may not serve.

    Args:
        check: How it did.

    Returns:
        What was found, to be read after "it"; None where it may.
    """
    if not check.r_squared >= MIN_R_SQUARED:  # nor where it is no number
        return f"has scores that account for {check.r_squared:.0%} of the variance of PyTorch's"
    if check.agreement < MIN_AGREEMENT:
        return f"thinks another tag of {1 - check.agreement:.1%} of the words than PyTorch does"
    if check.entity_words >= MIN_ENTITY_WORDS and check.entity_agreement < MIN_ENTITY_AGREEMENT:
        return (
            f"thinks another tag of {1 - check.entity_agreement:.1%} of the {check.entity_words:,} words "
            "that either takes for part of an entity"
        )
    if check.f1_loss > MAX_F1_LOSS:
        return (
            f"loses {100 * check.f1_loss:.2f} points of strict F1 on {check.documents:,} documents "
            f"with {check.gold_entities:,} entities, and {100 * MAX_F1_LOSS:.1f} are allowed"
        )
    return None


def _r_squared(ours: Logits, theirs: Logits) -> float:
    """R² of the scores of words, each beside the others of its word: (words, tags)."""
    ours, theirs = (scores - scores.mean(axis=1, keepdims=True) for scores in (ours, theirs))
    variance = np.square(ours - ours.mean(axis=0)).sum()
    return float(1 - np.square(ours - theirs).sum() / variance) if variance else 1.0


def _strict_f1(tier: EncoderTier, documents: Sequence[Document]) -> float:
    """Strict F1 over the labels that a tier knows."""
    found = zip(documents, tier.predict(documents), strict=True)
    return sum(
        (
            score_spans(
                document.text,
                [span for span in document.spans if span.label in tier.labels],
                prediction.spans,
            )
            for document, prediction in found
        ),
        Scored(),
    ).strict.total.f1
