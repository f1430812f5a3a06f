"""What reading could not keep, and what it had to judge: collected, counted, handed back."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tagalong.ner.document import Document, DroppedAnnotation, DropReason

WarningKind = Literal[
    "cancelled annotation",
    "draft",
    "task without annotation",
    "set aside",
    "region without a label",
    "another control",
    "several controls",
    "text differs",
    "UTF-16 offsets",
    "offsets unchecked",
    "offsets ambiguous",
    "white space trimmed",
    "drawn twice",
    "I- without B-",
    "made by a model",
    "duplicate document",
    "annotated again",
    "id used again",
]

WARNING_DESCRIPTIONS: Mapping[WarningKind, str] = {
    "cancelled annotation": "skipped: the annotator cancelled it",
    "draft": "skipped: it was never submitted",
    "task without annotation": "skipped: nobody has annotated it, which is not the same as empty",
    "set aside": "not used: ground truth or a later annotation takes its place",
    "region without a label": "left out: the annotator chose no label",
    "another control": "left out: a region of a control that the labelling config does not name",
    "several controls": "merged: regions of several controls in one task; --label-config names one",
    "text differs": "kept: the export states another text for it than its offsets cover",
    "UTF-16 offsets": "corrected: offsets counted UTF-16 units, as old Label Studio versions did",
    "offsets unchecked": "kept: behind an emoji, offsets could not be checked without stated text",
    "offsets ambiguous": "taken for code points: UTF-16 units would fit too, in another place",
    "white space trimmed": "kept: without the white space at its edges",
    "drawn twice": "kept once: the same stretch has the same label twice",
    "I- without B-": "read as B-, as conlleval does: IOB1, or a broken sequence",
    "made by a model": "kept: but these are predictions, not what a person annotated",
    "duplicate document": "kept once: same id, same text, same annotations",
    "annotated again": "kept under a new id: same id and text, other annotations",
    "id used again": "kept under a new id: same id, another text",
}

MAX_EXAMPLES_PER_WARNING = 3  # of each kind of warning: enough to find them, short enough to show


@dataclass(frozen=True, slots=True)
class CorpusWarning:
    """Something that reading had to judge.

    Attributes:
        kind: What happened; `WARNING_DESCRIPTIONS` says what was done about it.
        count: How often.
        examples: The first few, each naming its document.
    """

    kind: WarningKind
    count: int
    examples: tuple[str, ...]


class ImportLog:
    """Collects losses and warnings while documents stream by.

    Attributes:
        dropped: Every annotation that could not be kept, in the order of reading.
    """

    def __init__(self) -> None:
        self.dropped: list[DroppedAnnotation] = []
        self._counts: Counter[WarningKind] = Counter()
        self._examples: defaultdict[WarningKind, list[str]] = defaultdict(list)

    def record_warning(self, kind: WarningKind, example: str, *, count: int = 1) -> None:
        """Count something that was judged.

        Args:
            kind: What happened.
            example: Where; only the first few are kept.
            count: How often it happened there.
        """
        self._counts[kind] += count
        if len(self._examples[kind]) < MAX_EXAMPLES_PER_WARNING:
            self._examples[kind].append(example)

    def record_dropped(
        self,
        document: Document,
        offsets: tuple[int, int],
        label: str,
        text: str,
        reason: DropReason,
    ) -> None:
        """Note an annotation that cannot be kept.

        Args:
            document: Its document.
            offsets: Start and end, as they were given, in code points.
            label: Its entity type.
            text: What it covered, as far as that can be said.
            reason: Why.
        """
        start, end = offsets
        self.dropped.append(DroppedAnnotation(label, text, reason, start, end, document.id))

    def warnings(self) -> tuple[CorpusWarning, ...]:
        """All warnings, in the fixed order of the kinds."""
        return tuple(
            CorpusWarning(kind, self._counts[kind], tuple(self._examples[kind]))
            for kind in WARNING_DESCRIPTIONS
            if self._counts[kind]
        )
