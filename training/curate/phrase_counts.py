"""Annotated documents -> how the same words are annotated wherever else they stand.

A term that was marked eleven times of twelve was more likely forgotten once than right to leave
out. A model that reads words in their context knows of that only what it has learnt, so precedents
are evidence of their own.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.ner.words import WORD_PATTERN

Phrase = tuple[str, ...]  # words in lower case
PSEUDOCOUNT = (
    0.5  # times that everything was marked, and left out, before it is seen (Jeffreys' prior)
)


@dataclass(frozen=True, slots=True)
class PhraseCounts:
    """How often some phrases occur, and how often they are annotated.

    Attributes:
        occurrence_counts: Of each phrase, where the truth is known.
        annotated_counts: How many of them are annotated with each label, by phrase and label.
    """

    occurrence_counts: Mapping[Phrase, int]
    annotated_counts: Mapping[tuple[Phrase, str], int]

    def log_odds(self, phrase: Phrase, label: str, *, is_annotated: bool) -> float:
        """How much speaks for annotating a phrase, but for the place that is asked about.

        Args:
            phrase: One of `occurrences`.
            label: The label it would have.
            is_annotated: Whether it has that label in the place that is asked about.

        Returns:
            The logarithm of how often it is annotated so elsewhere, over how often it is not.
        """
        marked = self.annotated_counts.get((phrase, label), 0) - is_annotated
        not_marked = self.occurrence_counts[phrase] - 1 - marked
        return math.log((marked + PSEUDOCOUNT) / (not_marked + PSEUDOCOUNT))


def phrase_from_text(text: str) -> Phrase:
    """The words of a text, as precedents know them.

    Args:
        text: What a span covers, or a whole text.

    Returns:
        Words in lower case.
    """
    return tuple(word.lower() for word in WORD_PATTERN.findall(text))


def count_phrases(
    documents: Sequence[Document],
    tagged: Sequence[TaggedWords],
    phrases: Collection[Phrase],
    tag_set: TagSet,
) -> PhraseCounts:
    """Find every occurrence of some phrases.

    Args:
        documents: Annotated.
        tagged: Their words and tags.
        phrases: What to look for; others are not counted.
        tag_set: What the tags mean.

    Returns:
        How often they occur, overlapping ones included. Occurrences that touch words of unknown
        truth do not count.
    """
    wanted = frozenset(phrases)
    # Few words begin a phrase: most places are passed by with one look.
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for phrase in wanted:
        lengths[phrase[0]].add(len(phrase))
    occurrences = dict.fromkeys(wanted, 0)
    annotated: defaultdict[tuple[Phrase, str], int] = defaultdict(int)
    for document, entry in zip(documents, tagged, strict=True):
        words = phrase_from_text(document.text)
        for first, word in enumerate(words):
            for length in lengths.get(word, ()):
                phrase = words[first : first + length]
                if phrase in wanted and IGNORE_INDEX not in entry.tags[first : first + length]:
                    occurrences[phrase] += 1
        for first, last, label in tag_set.entities(entry.tags):
            if words[first:last] in wanted:
                annotated[words[first:last], label] += 1
    return PhraseCounts(occurrences, dict(annotated))
