"""Spans to word tags and back, in IOB2 (Ramshaw & Marcus 1995, with B- on every first word).

Tags are small integers: O is 0, then B-x and I-x for every label x in the order of the label set.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from tagalong.ner.document import Document, DroppedAnnotation, DropReason, Span
from tagalong.ner.errors import LabelError
from tagalong.ner.words import DEFAULT_WORD_RULE, WordRule, overlapping_words

OUTSIDE = 0  # the tag id of O
IGNORE_INDEX = -100  # a word that is not trained on; PyTorch's losses ignore this index


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """A document as words and tags."""

    words: tuple[tuple[int, int], ...]  # half-open offsets in code points
    tags: tuple[int, ...]  # one id per word, or `IGNORE_INDEX` where the true tag is unknown
    dropped: tuple[DroppedAnnotation, ...]  # those that flat BIO cannot represent


@dataclass(frozen=True, slots=True)
class TagSet:
    """The tags of a label set, and which may follow which."""

    labels: tuple[str, ...]  # in the order of the labelling config: tag ids depend on it
    word_rule: WordRule = DEFAULT_WORD_RULE  # every word has a tag

    def __post_init__(self) -> None:
        """Raise `LabelError` if there are no labels, or one is empty or given twice."""
        if not self.labels or not all(self.labels):
            raise LabelError(
                f"a label set needs one or more names, not {self.labels!r}", code="label-set-empty"
            )
        if len(set(self.labels)) < len(self.labels):
            raise LabelError(
                f"the label set {self.labels!r} names a label twice", code="label-twice"
            )

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Names by tag id: O, then B- and I- of each label."""
        return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in "BI"))

    def __len__(self) -> int:
        """How many tags there are: 2 per label, and O."""
        return 1 + 2 * len(self.labels)

    def to_names(self, tags: Iterable[int]) -> list[str]:
        """Names of tags; masked words are O."""
        names = self.tag_names
        return [names[OUTSIDE if tag == IGNORE_INDEX else tag] for tag in tags]

    def begin_tag(self, label: str) -> int:
        """The tag id of B-label (I-label is one higher); raises `LabelError` if there is none."""
        if label not in self.labels:
            raise LabelError(
                f"label {label!r} is not one of {', '.join(self.labels)}", code="label-unknown"
            )
        return 1 + 2 * self.labels.index(label)

    def is_inside(self, tag: int) -> bool:
        """Whether a tag id is an I- tag."""
        return tag > OUTSIDE and tag % 2 == 0

    def may_follow(self, tag: int, previous: int | None) -> bool:
        """Whether a tag may follow another, or begin a document (None): I-x only B-x or I-x."""
        return not self.is_inside(tag) or previous in (tag - 1, tag)

    def legalize(self, tags: Iterable[int]) -> list[int]:
        """Turn every I- tag that may not stand in its place into a B- tag."""
        legal: list[int] = []
        for tag in tags:
            previous = legal[-1] if legal else None
            legal.append(tag if self.may_follow(tag, previous) else tag - 1)
        return legal

    def encode(self, document: Document) -> TaggedWords:
        """Turn the spans of a document into one tag per word.

        Of overlapping spans the longest stays (of equal ones, the first). The words of a dropped
        span get `IGNORE_INDEX` unless a kept span covers them, because their true tag is not O. The
        words of masked ranges get it too. Labels outside the set are dropped.
        """
        words = self.word_rule.find_words(document.text)
        tags = [OUTSIDE] * len(words)
        dropped: list[DroppedAnnotation] = []
        masked = [
            range(*overlapping_words(words, start, end)) for start, end in document.masked_ranges
        ]
        by_length = sorted(set(document.spans), key=lambda span: (span.start - span.end, span))
        for span in by_length:
            touched = range(*overlapping_words(words, span.start, span.end))
            reason = self._drop_reason(span, touched, words, tags)
            if reason is None:
                begin = self.begin_tag(span.label)
                tags[touched.start : touched.stop] = [begin] + [begin + 1] * (len(touched) - 1)
            else:
                dropped.append(document.drop_span(span, reason))
                masked.append(touched)
        # Only after the last span, so that the words of kept spans are not masked.
        for word in chain.from_iterable(masked):
            if tags[word] == OUTSIDE:
                tags[word] = IGNORE_INDEX
        return TaggedWords(tuple(words), tuple(tags), tuple(dropped))

    def _drop_reason(
        self, span: Span, touched: range, words: Sequence[tuple[int, int]], tags: Sequence[int]
    ) -> DropReason | None:
        """The reason why flat BIO cannot represent the span, or None if it can."""
        if span.label not in self.labels:
            return "label unknown"
        if not touched:
            return "no words"
        if words[touched[0]][0] < span.start or words[touched[-1]][1] > span.end:
            return "edge inside a word"
        if any(tags[word] != OUTSIDE for word in touched):
            return "overlap"
        return None

    def entities(self, tags: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Find the entities in a sequence of one tag id per word.

        An I- tag in a place where it may not stand counts as O, as in seqeval's strict IOB2 mode.
        Yields first word, one past the last word, and label of each entity.
        """
        first, inside = 0, OUTSIDE  # inside: the I- tag that would continue the open entity
        for index, tag in enumerate((*tags, OUTSIDE)):  # the last O closes an open entity
            if inside and tag != inside:
                yield first, index, self.labels[(inside - 1) // 2]
                inside = OUTSIDE
            if tag > OUTSIDE and not self.is_inside(tag):
                first, inside = index, tag + 1
