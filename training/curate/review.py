"""Annotations and what a model says of the same words -> which of them look wrong, the worst first.

Where the model reads other spans than were drawn, the words in question make one finding: something
that a person can look at and decide. Two things speak for or against the annotation: how well its
tags fit what the model expects, word by word (Wang & Mueller 2022, "Detecting Label Errors in Token
Classification Data"), and how the same words are annotated elsewhere. Both are odds, and are
multiplied.
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
MAX_LISTED_LABELS = 5  # labels in a message


def review_annotations(
    documents: Sequence[Document], tag_distributions: Sequence[TagDistribution], tag_set: TagSet
) -> ReviewReport:
    """Find the annotations that look wrong.

    Args:
        documents: Annotated; their order does not matter.
        tag_distributions: What a model says of each, at best one that has not learnt from it.
        tag_set: The model's.

    Returns:
        Findings, and the documents they are in. Words of unknown truth have none.

    Raises:
        InputError: If there is no annotation to look at, or no word of which the truth is known.
        LabelError: If no annotation has a label that the model knows.
    """
    check_annotated(documents, tag_set.labels)
    tagged = [tag_set.encode(document) for document in documents]
    mistakes = [
        find_differences(document, entry, opinion.predicted_tags.tolist(), tag_set)
        for document, entry, opinion in zip(documents, tagged, tag_distributions, strict=True)
    ]
    phrases = {
        phrase_from_text(document.span_text(span))
        for document, found in zip(documents, mistakes, strict=True)
        for mistake in found
        for span in (mistake.gold, mistake.predicted)
        if span is not None
    }
    precedents = count_phrases(documents, tagged, phrases, tag_set)
    ratings = rate_word_labels(tagged, tag_distributions)
    findings = []
    for index, document in enumerate(documents):
        drawn, read = np.array(tagged[index].tags), tag_distributions[index].predicted_tags
        for mistake in mistakes[index]:
            words = slice(*overlapping_words(tagged[index].words, *mistake.extent))
            log_odds = _mean_label_quality(ratings[index][words], drawn[words] != read[words])
            log_odds += _phrase_log_odds(document, mistake, precedents)
            findings.append(_build_finding(document, mistake, log_odds))
    return ReviewReport(
        document_count=len(documents),
        annotation_count=sum(sum(1 for _ in tag_set.entities(one.tags)) for one in tagged),
        findings=tuple(sorted(findings, key=_finding_sort_key)),
        suspect_documents=tuple(_rank_suspect_documents(findings)),
        dropped=tuple(entry for one in tagged for entry in one.dropped),
    )


def check_annotated(documents: Sequence[Document], labels: Sequence[str]) -> None:
    """Refuse documents in which there is nothing to review.

    Args:
        documents: Annotated or not.
        labels: Entity types that are looked at.

    Raises:
        InputError: If there is no annotation, or no word of which the truth is known.
        LabelError: If no annotation has one of the labels.
    """
    given = Counter(span.label for document in documents for span in document.spans)
    if not given:
        raise InputError(
            f"{len(documents)} documents have not one annotation to review: give annotated ones, "
            "and the labelling config of their own project or none"
        )
    if given.keys().isdisjoint(labels):
        named = ", ".join(
            f"{label!r} ({count})" for label, count in given.most_common(MAX_LISTED_LABELS)
        )
        raise LabelError(
            f"no annotation has a label that the model knows ({', '.join(labels)}), but they have "
            f"{named}: name a version that was trained on these, or leave out --model"
        )
    tag_set = TagSet(tuple(labels))
    if all(tag == IGNORE_INDEX for document in documents for tag in tag_set.encode(document).tags):
        raise InputError(
            f"{len(documents)} documents have not one word of which the truth is known: "
            "'tagalong data check' shows which annotations cannot be kept, and why"
        )


def _mean_label_quality(ratings: NDArray[np.float64], differs: NDArray[np.bool_]) -> float:
    """How well the tags of a finding's words fit: the mean, as for the score of a span."""
    # One drawn span may be two in the model's reading, and the first of them differ in no word.
    return float(np.mean(ratings[differs] if differs.any() else ratings))


def _phrase_log_odds(document: Document, mistake: SpanMismatch, precedents: PhraseCounts) -> float:
    """How much more often such words are annotated as they were than as the model would."""
    log_odds = 0.0
    for span, sign in ((mistake.predicted, 1), (mistake.gold, -1)):
        if span is not None:
            phrase = phrase_from_text(document.span_text(span))
            log_odds += sign * precedents.log_odds(phrase, span.label, is_annotated=sign > 0)
    return log_odds


def _build_finding(document: Document, mistake: SpanMismatch, log_odds: float) -> ReviewFinding:
    """Write a finding down so that it can be understood without the document."""
    start, end = mistake.extent
    return ReviewFinding(
        document=document.id,
        kind=FINDING_KIND_BY_ERROR_TYPE[mistake.error_type],
        gold=mistake.predicted,
        suggested=mistake.gold,
        text=document.text[start:end],
        context_before=WHITE_SPACE_PATTERN.sub(
            " ", document.text[max(0, start - CONTEXT_CHARACTERS) : start]
        ),
        context_after=WHITE_SPACE_PATTERN.sub(" ", document.text[end : end + CONTEXT_CHARACTERS]),
        score=1 / (1 + math.exp(-log_odds)),
    )


def _finding_sort_key(finding: ReviewFinding) -> tuple[object, ...]:
    """What findings are sorted by; nothing but what they say of the documents."""
    spans = [span for span in (finding.gold, finding.suggested) if span is not None]
    return finding.score, finding.document, finding.kind, spans


def _rank_suspect_documents(findings: Sequence[ReviewFinding]) -> list[SuspectDocument]:
    """The documents that have findings, the most suspicious first."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for finding in findings:
        scores[finding.document].append(finding.score)
    suspects = [
        SuspectDocument(document, len(of_document), -math.fsum(map(math.log, of_document)))
        for document, of_document in scores.items()
    ]
    return sorted(suspects, key=lambda suspect: (-suspect.suspicion, suspect.document_id))
