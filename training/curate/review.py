"""Find annotations that are probably wrong, from a model's tag probabilities.

Each difference between annotation and model is one finding. Two sources of evidence are multiplied
as odds: how well the annotated tags fit the model's probabilities, word by word (Wang & Mueller
2022, "Detecting Label Errors in Token Classification Data"), and how the same words are annotated
elsewhere in the corpus.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tagalong.ner.document import Document
from tagalong.ner.errors import InputError, LabelError
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.ner.words import overlapping_words
from tagalong.training.curate.differences import FINDING_KIND_BY_ERROR_TYPE, find_differences
from tagalong.training.curate.findings import ReviewFinding, ReviewReport, SuspectDocument
from tagalong.training.curate.label_quality import rate_word_labels
from tagalong.training.curate.phrase_counts import PhraseCounts, count_phrases, phrase_from_text
from tagalong.training.curate.tag_distributions import TagDistribution
from tagalong.training.evaluation.error_types import CONTEXT_CHARACTERS, SpanMismatch

WHITE_SPACE_PATTERN = re.compile(r"\s+")
MAX_LISTED_LABELS = 5  # in a message


def review_annotations(
    documents: Sequence[Document], tag_distributions: Sequence[TagDistribution], tag_set: TagSet
) -> ReviewReport:
    """Find annotations that are probably wrong.

    Args:
        documents: Annotated documents in any order.
        tag_distributions: Probabilities of each, ideally of a model that was not trained on it.
        tag_set: Tag set of the model.

    Returns:
        Findings and their documents. Words of unknown truth have no findings.

    Raises:
        InputError: If there is no annotation, or no word of known truth.
        LabelError: If the model knows none of the annotated labels.
    """
    check_annotated(documents, tag_set.labels)
    tagged = [tag_set.encode(document) for document in documents]
    mismatches_by_document = [
        find_differences(document, tagged_words, distribution.predicted_tags.tolist(), tag_set)
        for document, tagged_words, distribution in zip(
            documents, tagged, tag_distributions, strict=True
        )
    ]
    phrases = {
        phrase_from_text(document.span_text(span))
        for document, mismatches in zip(documents, mismatches_by_document, strict=True)
        for mismatch in mismatches
        for span in (mismatch.gold, mismatch.predicted)
        if span is not None
    }
    phrase_counts = count_phrases(documents, tagged, phrases, tag_set)
    ratings = rate_word_labels(tagged, tag_distributions)
    findings = []
    for index, document in enumerate(documents):
        annotated_tags, model_tags = (
            np.array(tagged[index].tags),
            tag_distributions[index].predicted_tags,
        )
        for mismatch in mismatches_by_document[index]:
            words = slice(*overlapping_words(tagged[index].words, *mismatch.extent))
            log_odds = _mean_label_quality(
                ratings[index][words], annotated_tags[words] != model_tags[words]
            )
            log_odds += _phrase_log_odds(document, mismatch, phrase_counts)
            findings.append(_build_finding(document, mismatch, log_odds))
    return ReviewReport(
        document_count=len(documents),
        annotation_count=sum(sum(1 for _ in tag_set.entities(one.tags)) for one in tagged),
        findings=tuple(sorted(findings, key=_finding_sort_key)),
        suspect_documents=tuple(_rank_suspect_documents(findings)),
        dropped=tuple(entry for one in tagged for entry in one.dropped),
    )


def check_annotated(documents: Sequence[Document], labels: Sequence[str]) -> None:
    """Refuse documents without anything to review.

    Args:
        documents: Documents.
        labels: Labels to review.

    Raises:
        InputError: If there is no annotation, or no word of known truth.
        LabelError: If no annotation has one of the labels.
    """
    label_counts = Counter(span.label for document in documents for span in document.spans)
    if not label_counts:
        raise InputError(
            f"{len(documents)} documents have no annotation to review: give annotated documents, "
            "with the labeling config of their project or none",
            code="no-annotations",
        )
    if label_counts.keys().isdisjoint(labels):
        listed = ", ".join(
            f"{label!r} ({count})" for label, count in label_counts.most_common(MAX_LISTED_LABELS)
        )
        raise LabelError(
            f"the model knows {', '.join(labels)}, but the annotations have {listed}: use a "
            "version trained on these labels, or leave out --model",
            code="labels-unknown-to-model",
        )
    tag_set = TagSet(tuple(labels))
    if all(tag == IGNORE_INDEX for document in documents for tag in tag_set.encode(document).tags):
        raise InputError(
            f"{len(documents)} documents have no word of known truth: `tagalong data check` shows "
            "why annotations are dropped",
            code="no-known-words",
        )


def _mean_label_quality(ratings: NDArray[np.float64], differs: NDArray[np.bool_]) -> float:
    """Mean quality of the differing words, as for the score of a span."""
    # If the model splits a span in two, the first part may differ in no word.
    return float(np.mean(ratings[differs] if differs.any() else ratings))


def _phrase_log_odds(
    document: Document, mismatch: SpanMismatch, phrase_counts: PhraseCounts
) -> float:
    """Log odds of the annotation against the suggestion, elsewhere in the corpus."""
    log_odds = 0.0
    for span, sign in ((mismatch.predicted, 1), (mismatch.gold, -1)):
        if span is not None:
            phrase = phrase_from_text(document.span_text(span))
            log_odds += sign * phrase_counts.log_odds(phrase, span.label, is_annotated=sign > 0)
    return log_odds


def _build_finding(document: Document, mismatch: SpanMismatch, log_odds: float) -> ReviewFinding:
    start, end = mismatch.extent
    return ReviewFinding(
        document=document.id,
        kind=FINDING_KIND_BY_ERROR_TYPE[mismatch.error_type],
        gold=mismatch.predicted,
        suggested=mismatch.gold,
        text=document.text[start:end],
        context_before=WHITE_SPACE_PATTERN.sub(
            " ", document.text[max(0, start - CONTEXT_CHARACTERS) : start]
        ),
        context_after=WHITE_SPACE_PATTERN.sub(" ", document.text[end : end + CONTEXT_CHARACTERS]),
        score=1 / (1 + math.exp(-log_odds)),
    )


def _finding_sort_key(finding: ReviewFinding) -> tuple[object, ...]:
    """Sort by score; ties by content, so that the order is reproducible."""
    spans = [span for span in (finding.gold, finding.suggested) if span is not None]
    return finding.score, finding.document, finding.kind, spans


def _rank_suspect_documents(findings: Sequence[ReviewFinding]) -> list[SuspectDocument]:
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for finding in findings:
        scores[finding.document].append(finding.score)
    suspects = [
        SuspectDocument(document, len(of_document), -math.fsum(map(math.log, of_document)))
        for document, of_document in scores.items()
    ]
    return sorted(suspects, key=lambda suspect: (-suspect.suspicion, suspect.document_id))
