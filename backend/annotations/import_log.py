"""The log of an import: annotations that were lost, and warnings."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tagalong.backend.documents.offsets import COUNTINGS, SHIFTED_NAME, RawSpan
from tagalong.ner.document import Document, DroppedAnnotation, DropReason

COUNTING_HANDLING = "corrected: offsets were counted so, as the stated texts show"
WARNING_DESCRIPTIONS: Mapping[str, str] = {
    "task set aside": "left out: it cannot be read, or its text or its regions cannot be used",
    "cancelled annotation": "skipped: the annotator cancelled it",
    "draft": "skipped: it was never submitted",
    "not accepted": "skipped: the answer is to reject or to ignore it",
    "task without annotation": "skipped: nobody has annotated it, which is not the same as empty",
    "set aside": "not used: ground truth or a later annotation replaces it",
    "region without a label": "left out, its stretch unknown: it has no label",
    "another control": "left out: a region of a control that the labelling config does not name",
    "another text": "read: the regions are in this text of the data, and not in the expected one",
    "several controls": "merged: regions of several controls in one task; --label-config names one",
    "relation": "left out: relations between annotations are not entities",
    "region of another kind": "left out, its stretch unknown: only a <Labels> gives labels",
    "other annotation": "left out: a choice, comment or the like, beside the labels",
    **{one.name: COUNTING_HANDLING for one in COUNTINGS[1:]},
    SHIFTED_NAME: COUNTING_HANDLING,
    "offsets unchecked": "kept: no text is stated to check them, behind an emoji or CRLF",
    "offsets ambiguous": "taken as most of the export: another counting would fit too",
    "white space trimmed": "kept: without white space and format characters at its edges",
    "drawn twice": "kept once: the same stretch has the same label twice",
    "I- without B-": "read as B-, as conlleval does: IOB1, or a broken sequence",
    "span group": "left out: spaCy's groups of spans, but for sc",
    "event": "left out: only the words of an event can be entities",
    "attribute": "left out: attributes of annotations are not kept",
    "concept id": "left out: ids of a terminology are not kept",
    "note": "left out: notes and comments are not kept",
    "individual mention": "left out: the composite mention has its words",
    "text without annotations": "kept: a document without entities, as it has no annotation file",
    "tags without a label": "read as one label, which --entity-label names: the tags are bare B, I",
    "labels without B-": "read: equal labels in a row are one entity, even where they were several",
    "text line not used": "joined from the tokens: the text that the file states has others",
    "made by a model": "kept: but these are predictions, not what a person annotated",
    "labels alike": "kept apart: they differ in white space, invisible characters or composition",
    "last line without an end": "read: but the file may be cut off, so look at its end",
    "duplicate document": "kept once: same id, same text, same annotations",
    "annotated again": "kept under a new id: same id and text, other annotations",
    "id used again": "kept under a new id: same id, another text",
}

MAX_EXAMPLES_PER_WARNING = 3  # enough to find them, short enough to show


@dataclass(frozen=True, slots=True)
class CorpusWarning:
    """A finding in the input that reading handled without losing an annotation."""

    kind: str  # `WARNING_DESCRIPTIONS` has its handling
    count: int
    examples: tuple[str, ...]  # the first few, each with its document


class ImportLog:
    """Collects losses and warnings while documents are read."""

    def __init__(self) -> None:
        self.dropped: list[DroppedAnnotation] = []  # every one, in the order of reading
        self._counts = dict.fromkeys(WARNING_DESCRIPTIONS, 0)  # another kind is a KeyError
        self._examples = defaultdict[str, list[str]](list)

    def record_warning(self, kind: str, example: str, *, count: int = 1) -> None:
        """Count a finding, and keep the first few examples of its places."""
        self._counts[kind] += count
        examples = self._examples[kind]
        if len(examples) < MAX_EXAMPLES_PER_WARNING and example not in examples:
            examples.append(example)

    def record_dropped(
        self, document: Document, region: RawSpan, reason: DropReason, label: str, text: str
    ) -> None:
        """Record an annotation as lost, with the text that it covers, as far as that is known."""
        self.dropped.append(
            DroppedAnnotation(label, text, reason, region.start, region.end, document.id)
        )

    def warnings(self) -> tuple[CorpusWarning, ...]:
        """All warnings, in the fixed order of the kinds."""
        return tuple(
            CorpusWarning(kind, self._counts[kind], tuple(self._examples[kind]))
            for kind in WARNING_DESCRIPTIONS
            if self._counts[kind]
        )
