"""Compare a compiled encoder with PyTorch: it must predict what the model predicts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.openvino.cache import OpenVINOCheck
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.scoring import Scores, score_spans
from tagalong.ner.tags import OUTSIDE

MAX_F1_LOSS = 0.002  # strict F1: two tenths of a point
MIN_AGREEMENT = 0.99  # below it, the result is another model
MIN_ENTITY_AGREEMENT = 0.9  # on words in entities: nearly all other words are easy
MIN_ENTITY_WORDS = 20  # with fewer of those, their share says little
MIN_R_SQUARED = 0.9  # 8 bits leave 0.998 on abstracts, 0.99 in French


def compare_encoders(
    reference: EncoderTagger, candidate: EncoderTagger, documents: Sequence[Document]
) -> OpenVINOCheck:
    """Compare a compiled encoder with PyTorch in fp32 on documents with at least one word."""
    encoded = reference.encode(documents)
    expected, found = (np.concatenate(tagger.run(encoded)) for tagger in (reference, candidate))
    expected_tags, found_tags = expected.argmax(axis=1), found.argmax(axis=1)
    same = expected_tags == found_tags
    in_entity = (expected_tags != OUTSIDE) | (found_tags != OUTSIDE)
    check = OpenVINOCheck(
        documents=len(documents),
        words=len(same),
        agreement=float(same.mean()),
        entity_words=int(in_entity.sum()),
        entity_agreement=float(same[in_entity].mean()) if in_entity.any() else 1.0,
        r_squared=_r_squared(expected, found),
    )
    labels = reference.labels  # spans with others cannot be found
    gold_entities = sum(span.label in labels for one in documents for span in one.spans)
    if not gold_entities:
        return check
    reference_f1, f1 = (_strict_f1(tagger, documents) for tagger in (reference, candidate))
    return replace(check, reference_f1=reference_f1, f1=f1, gold_entities=gold_entities)


def rejection_reason(check: OpenVINOCheck) -> str | None:
    """Why a compiled encoder may not serve, as a clause after "it"; None where it may."""
    if not check.r_squared >= MIN_R_SQUARED:  # also where it is not a number
        return f"has scores that explain {check.r_squared:.0%} of the variance of PyTorch's"
    if check.agreement < MIN_AGREEMENT:
        return f"disagrees with PyTorch on {1 - check.agreement:.1%} of the words"
    if check.entity_words >= MIN_ENTITY_WORDS and check.entity_agreement < MIN_ENTITY_AGREEMENT:
        return (
            f"disagrees with PyTorch on {1 - check.entity_agreement:.1%} of the "
            f"{pluralize(check.entity_words, 'word')} in entities"
        )
    if check.f1_loss > MAX_F1_LOSS:
        return (
            f"loses {100 * check.f1_loss:.2f} points of strict F1 on "
            f"{pluralize(check.documents, 'document')} "
            f"with {pluralize(check.gold_entities, 'entity')}, and {100 * MAX_F1_LOSS:.1f} are "
            "allowed"
        )
    return None


def _r_squared(expected: FloatArray, found: FloatArray) -> float:
    """R² of the scores of words, (words, tags), relative to the mean score of each word."""
    expected, found = (logits - logits.mean(axis=1, keepdims=True) for logits in (expected, found))
    variance = np.square(expected - expected.mean(axis=0)).sum()
    return float(1 - np.square(expected - found).sum() / variance) if variance else 1.0


def _strict_f1(tagger: EncoderTagger, documents: Sequence[Document]) -> float:
    """Strict F1 on the labels that a tagger knows."""
    scores = Scores()
    for document, prediction in zip(documents, tagger.predict(documents), strict=True):
        gold = [span for span in document.spans if span.label in tagger.labels]
        scores += score_spans(document.text, gold, prediction.spans)
    return scores.strict.total.f1
