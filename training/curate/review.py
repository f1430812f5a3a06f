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

from ner.document import Document
from ner.errors import InputError, LabelError
from ner.tags import IGNORED, TagSet
from ner.words import words_touched
from training.curate.differences import KINDS, find_differences
from training.curate.findings import Finding, Review, Suspect
from training.curate.opinions import Opinion
from training.curate.precedents import Precedents, count_precedents, phrase_of
from training.curate.quality import rate_words
from training.mistakes import MARGIN, Mistake

WHITE = re.compile(r"\s+")
SHOWN = 5  # labels in a message


def review(documents: Sequence[Document], opinions: Sequence[Opinion], tag_set: TagSet) -> Review:
    """Find the annotations that look wrong.

    Args:
        documents: Annotated; their order does not matter.
        opinions: What a model says of each, at best one that has not learnt from it.
        tag_set: The model's.

    Returns:
        Findings, and the documents they are in. Words of unknown truth have none.

    Raises:
        InputError: If there is no annotation to look at, or no word of which the truth is known.
        LabelError: If no annotation has a label that the model knows.
    """
    refuse_unannotated(documents, tag_set.labels)
    tagged = [tag_set.encode(document) for document in documents]
    mistakes = [
        find_differences(document, entry, opinion.tags.tolist(), tag_set)
        for document, entry, opinion in zip(documents, tagged, opinions, strict=True)
    ]
    phrases = {
        phrase_of(document.covered(span))
        for document, found in zip(documents, mistakes, strict=True)
        for mistake in found
        for span in (mistake.gold, mistake.predicted)
        if span is not None
    }
    precedents = count_precedents(documents, tagged, phrases, tag_set)
    ratings = rate_words(tagged, opinions)
    findings = []
    for index, document in enumerate(documents):
        drawn, read = np.array(tagged[index].tags), opinions[index].tags
        for mistake in mistakes[index]:
            words = slice(*words_touched(tagged[index].words, *mistake.stretch))
            log_odds = _fit(ratings[index][words], drawn[words] != read[words])
            log_odds += _precedence(document, mistake, precedents)
            findings.append(_finding(document, mistake, log_odds))
    return Review(
        documents=len(documents),
        annotations=sum(sum(1 for _ in tag_set.chunks(one.tags)) for one in tagged),
        findings=tuple(sorted(findings, key=_most_suspicious_first)),
        suspects=tuple(_suspects(findings)),
        lost=tuple(entry for one in tagged for entry in one.lost),
    )


def refuse_unannotated(documents: Sequence[Document], labels: Sequence[str]) -> None:
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
        named = ", ".join(f"{label!r} ({count})" for label, count in given.most_common(SHOWN))
        raise LabelError(
            f"no annotation has a label that the model knows ({', '.join(labels)}), but they have "
            f"{named}: name a version that was trained on these, or leave out --model"
        )
    tag_set = TagSet(tuple(labels))
    if all(tag == IGNORED for document in documents for tag in tag_set.encode(document).tags):
        raise InputError(
            f"{len(documents)} documents have not one word of which the truth is known: "
            "'tagalong data check' shows which annotations cannot be kept, and why"
        )


def _fit(ratings: NDArray[np.float64], differs: NDArray[np.bool_]) -> float:
    """How well the tags of a finding's words fit: the mean, as for the score of a span."""
    # One drawn span may be two in the model's reading, and the first of them differ in no word.
    return float(np.mean(ratings[differs] if differs.any() else ratings))


def _precedence(document: Document, mistake: Mistake, precedents: Precedents) -> float:
    """How much more often such words are annotated as they were than as the model would."""
    log_odds = 0.0
    for span, sign in ((mistake.predicted, 1), (mistake.gold, -1)):
        if span is not None:
            phrase = phrase_of(document.covered(span))
            log_odds += sign * precedents.log_odds(phrase, span.label, is_annotated=sign > 0)
    return log_odds


def _finding(document: Document, mistake: Mistake, log_odds: float) -> Finding:
    """Write a finding down so that it can be understood without the document."""
    start, end = mistake.stretch
    return Finding(
        document=document.id,
        kind=KINDS[mistake.kind],
        gold=mistake.predicted,
        suggested=mistake.gold,
        text=document.text[start:end],
        before=WHITE.sub(" ", document.text[max(0, start - MARGIN) : start]),
        after=WHITE.sub(" ", document.text[end : end + MARGIN]),
        score=1 / (1 + math.exp(-log_odds)),
    )


def _most_suspicious_first(finding: Finding) -> tuple[object, ...]:
    """What findings are sorted by; nothing but what they say of the documents."""
    spans = [span for span in (finding.gold, finding.suggested) if span is not None]
    return finding.score, finding.document, finding.kind, spans


def _suspects(findings: Sequence[Finding]) -> list[Suspect]:
    """The documents that have findings, the most suspicious first."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for finding in findings:
        scores[finding.document].append(finding.score)
    suspects = [
        Suspect(document, len(of_document), -math.fsum(map(math.log, of_document)))
        for document, of_document in scores.items()
    ]
    return sorted(suspects, key=lambda suspect: (-suspect.suspicion, suspect.document))
