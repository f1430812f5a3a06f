"""Find annotations that are probably wrong, from a model's tag probabilities.

Each difference between annotation and model is one finding. Two sources of evidence are multiplied
as odds. One is the fit of the annotated tags to the model's probabilities, word by word (Wang &
Mueller 2022, "Detecting Label Errors in Token Classification Data"). The other is the annotation of
the same words elsewhere in the corpus.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import cast

import numpy as np
from cleanlab.count import get_confident_thresholds  # type: ignore[import-untyped]
from cleanlab.token_classification.rank import (  # type: ignore[import-untyped]
    get_label_quality_scores,
)
from numpy.typing import NDArray

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError, LabelError
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.ner.words import WordRule, overlapping_words
from tagalong.training.curate.encoder_outputs import TagDistribution
from tagalong.training.curate.findings import (
    FindingKind,
    ReviewFinding,
    ReviewReport,
    SuspectDocument,
    find_differences,
)
from tagalong.training.curate.phrase_counts import PhraseCounts, count_phrases, phrase_from_text
from tagalong.training.evaluation.error_types import CONTEXT_CHARACTERS, SpanMismatch

WHITE_SPACE_PATTERN = re.compile(r"\s+")
MAX_LISTED_LABELS = 5  # in a message
MIN_QUALITY = 0.02  # models trained on few documents are overconfident


def review_annotations(
    documents: Sequence[Document], tag_distributions: Sequence[TagDistribution], tag_set: TagSet
) -> ReviewReport:
    """Find annotations that are probably wrong; words of unknown truth have no findings.

    The tag distribution of a document is ideally of a model that was not trained on it.

    Raises:
        InputError: If there is no annotation, or no word of known truth.
        LabelError: If the model knows none of the annotated labels.
    """
    check_annotated(documents, tag_set.labels, tag_set.word_rule)
    tagged = [tag_set.encode(document) for document in documents]
    mismatches_by_document = [
        find_differences(document, entry, distribution.predicted_tags.tolist(), tag_set)
        for document, entry, distribution in zip(documents, tagged, tag_distributions, strict=True)
    ]
    phrases = {  # only these are counted, because all phrases of a corpus would be millions
        phrase_from_text(document.span_text(span), tag_set.word_rule)
        for document, mismatches in zip(documents, mismatches_by_document, strict=True)
        for mismatch in mismatches
        for span in (mismatch.gold, mismatch.predicted)
        if span is not None
    }
    phrase_counts = count_phrases(documents, tagged, phrases, tag_set)
    ratings = rate_word_labels(tagged, tag_distributions)
    findings = []
    for index, document in enumerate(documents):
        differs = np.array(tagged[index].tags) != tag_distributions[index].predicted_tags
        for mismatch in mismatches_by_document[index]:
            words = slice(*overlapping_words(tagged[index].words, *mismatch.extent))
            log_odds = _mean_label_quality(ratings[index][words], differs[words])
            log_odds += _phrase_log_odds(document, mismatch, phrase_counts, tag_set.word_rule)
            findings.append(_build_finding(document, mismatch, log_odds))
    return ReviewReport(
        document_count=len(documents),
        annotation_count=sum(sum(1 for _ in tag_set.entities(one.tags)) for one in tagged),
        findings=tuple(sorted(findings, key=_finding_sort_key)),
        suspect_documents=_rank_suspect_documents(findings),
        dropped=tuple(entry for one in tagged for entry in one.dropped),
    )


def check_annotated(
    documents: Sequence[Document], labels: Sequence[str], word_rule: WordRule
) -> None:
    """Refuse documents without anything to review.

    Raises:
        InputError: If there is no annotation, or no word of known truth.
        LabelError: If no annotation has one of the labels.
    """
    label_counts = Counter(span.label for document in documents for span in document.spans)
    if not label_counts:
        raise InputError(
            f"{pluralize(len(documents), 'document has', 'documents have')} no annotation to "
            "review: give annotated documents, "
            "with the labelling config of their project or none",
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
    tag_set = TagSet(tuple(labels), word_rule)
    if all(tag == IGNORE_INDEX for document in documents for tag in tag_set.encode(document).tags):
        raise InputError(
            f"{pluralize(len(documents), 'document has', 'documents have')} no word of known "
            "truth: `tagalong data check` shows "
            "why annotations are dropped",
            code="no-known-words",
        )


def rate_word_labels(
    tagged: Sequence[TaggedWords], tag_distributions: Sequence[TagDistribution]
) -> list[NDArray[np.float64]]:
    """Rate the tag of each word by the model's probabilities.

    The quality of a tag is its probability, divided by the mean probability of all words with that
    tag. These are the self-confidence of cleanlab and the threshold of Northcutt et al. 2021,
    "Confident Learning". The division accounts for tags of which the model is never confident.

    Returns the log quality of each word, shape (words,) per document: 0 for average quality of the
    tag, NaN if the truth is unknown. At least one tag must be known.
    """
    tags = [np.array(entry.tags, dtype=np.intp) for entry in tagged]
    known = [document_tags != IGNORE_INDEX for document_tags in tags]
    indices = [index for index, document_tags in enumerate(known) if document_tags.any()]
    given = [tags[index][known[index]] for index in indices]
    expected = [np.exp(tag_distributions[index].log_probs[known[index]]) for index in indices]
    all_tags, all_probabilities = np.concatenate(given), np.concatenate(expected)
    # Sorted, so that the rounding of means does not depend on the order of documents.
    order = np.argsort(all_probabilities[np.arange(len(all_tags)), all_tags])
    thresholds = get_confident_thresholds(all_tags[order], all_probabilities[order])
    _, qualities = get_label_quality_scores([*map(list, given)], expected)
    ratings: list[NDArray[np.float64]] = [
        np.full(len(document_tags), np.nan) for document_tags in tags
    ]
    for index, document_tags, quality in zip(indices, given, qualities, strict=True):
        quality_ratio = np.maximum(quality.to_numpy(), MIN_QUALITY) / thresholds[document_tags]
        ratings[index][known[index]] = np.log(quality_ratio)
    return ratings


def _mean_label_quality(ratings: NDArray[np.float64], differs: NDArray[np.bool_]) -> float:
    """Mean quality of the differing words, as for the score of a span."""
    # If the model splits a span in two, the first part may differ in no word.
    return float(np.mean(ratings[differs] if differs.any() else ratings))


def _phrase_log_odds(
    document: Document, mismatch: SpanMismatch, phrase_counts: PhraseCounts, word_rule: WordRule
) -> float:
    """Log odds of the annotation against the suggestion, elsewhere in the corpus."""
    log_odds = 0.0
    for span, sign in ((mismatch.predicted, 1), (mismatch.gold, -1)):
        if span is not None:
            phrase = phrase_from_text(document.span_text(span), word_rule)
            log_odds += sign * phrase_counts.log_odds(phrase, span.label, is_annotated=sign > 0)
    return log_odds


def _build_finding(document: Document, mismatch: SpanMismatch, log_odds: float) -> ReviewFinding:
    start, end = mismatch.extent
    before = document.text[max(0, start - CONTEXT_CHARACTERS) : start]
    after = document.text[end : end + CONTEXT_CHARACTERS]
    return ReviewFinding(
        document=document.id,
        # The first word, such as "boundary"; the rest is a direction.
        kind=cast(FindingKind, mismatch.error_type.split()[0]),
        gold=mismatch.predicted,
        suggested=mismatch.gold,
        text=document.text[start:end],
        context_before=WHITE_SPACE_PATTERN.sub(" ", before),
        context_after=WHITE_SPACE_PATTERN.sub(" ", after),
        score=1 / (1 + math.exp(-log_odds)),
    )


def _finding_sort_key(finding: ReviewFinding) -> tuple[object, ...]:
    # Ties are sorted by content, so that the order is reproducible.
    return finding.score, finding.document, finding.kind, finding.spans


def _rank_suspect_documents(findings: Sequence[ReviewFinding]) -> tuple[SuspectDocument, ...]:
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for finding in findings:
        scores[finding.document].append(finding.score)
    suspects = (
        # `fsum` is exact, so the order of findings does not matter.
        SuspectDocument(document, len(of_document), -math.fsum(map(math.log, of_document)))
        for document, of_document in scores.items()
    )
    return tuple(sorted(suspects, key=lambda suspect: (-suspect.suspicion, suspect.document_id)))
