"""How often the same words are annotated elsewhere in the corpus.

A term annotated in eleven of twelve occurrences was probably forgotten once. A contextual model
knows this only as far as it has learned it, so phrase counts are separate evidence.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, TaggedWords, TagSet
from tagalong.ner.words import DEFAULT_WORD_RULE, WordRule

Phrase = tuple[str, ...]  # words in lower case
PSEUDOCOUNT = 0.5  # Jeffreys' prior


@dataclass(frozen=True, slots=True)
class PhraseCounts:
    """Occurrences of phrases, and how many of them are annotated."""

    occurrence_counts: Mapping[Phrase, int]  # by phrase, where the truth is known
    annotated_counts: Mapping[tuple[Phrase, str], int]  # by phrase and label

    def log_odds(self, phrase: Phrase, label: str, *, is_annotated: bool) -> float:
        """Log odds that a phrase, counted before, is annotated with a label elsewhere.

        `is_annotated` says whether the occurrence in question has that label.
        """
        annotated = self.annotated_counts.get((phrase, label), 0) - is_annotated
        not_annotated = self.occurrence_counts[phrase] - 1 - annotated
        return math.log((annotated + PSEUDOCOUNT) / (not_annotated + PSEUDOCOUNT))


def phrase_from_text(text: str, word_rule: WordRule = DEFAULT_WORD_RULE) -> Phrase:
    """Words of a text in lower case."""
    return tuple(text[start:end].lower() for start, end in word_rule.find_words(text))


def count_phrases(
    documents: Sequence[Document],
    tagged: Sequence[TaggedWords],
    phrases: Set[Phrase],
    tag_set: TagSet,
) -> PhraseCounts:
    """Count all occurrences of phrases, including overlapping ones.

    Occurrences with words of unknown truth are excluded.
    """
    # Few words start a phrase, so most positions need one dictionary access.
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for phrase in phrases:
        lengths[phrase[0]].add(len(phrase))
    occurrences = dict.fromkeys(phrases, 0)
    annotated: defaultdict[tuple[Phrase, str], int] = defaultdict(int)
    for document, tagged_words in zip(documents, tagged, strict=True):
        words = tuple(document.text[start:end].lower() for start, end in tagged_words.words)
        for first, word in enumerate(words):
            for length in lengths.get(word, ()):
                phrase = words[first : first + length]
                tags = tagged_words.tags[first : first + length]
                if phrase in phrases and IGNORE_INDEX not in tags:
                    occurrences[phrase] += 1
        for first, last, label in tag_set.entities(tagged_words.tags):
            if words[first:last] in phrases:
                annotated[words[first:last], label] += 1
    return PhraseCounts(occurrences, dict(annotated))
