"""Annotations that stand beside a text and state their offsets: brat, BioC, PubTator and TSV."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import find_masked_ranges, validate_raw_spans
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.sniff import FileHead
from tagalong.ner.document import Document, DropReason
from tagalong.ner.errors import OutputError

NUL, REPLACEMENT_CHARACTER = "\0", "\ufffd"  # a text file must not have the first


@dataclass(slots=True)
class StandoffDocument:
    """A text and its annotations as a file states them; reading adds to both."""

    id: str
    text: str
    raw_spans: list[RawSpan] = field(default_factory=list)
    discontinuous: list[tuple[RawSpan, ...]] = field(default_factory=list)  # by stretches

    def add_annotation(
        self, label: str | None, stretches: Sequence[tuple[int, int]], text: str
    ) -> None:
        """Add an annotation by its half-open stretches, at least one, and its stated text."""
        labels = () if label is None else (label,)
        if len(stretches) == 1:
            self.raw_spans.append(RawSpan(*stretches[0], labels, text))
        else:
            self.discontinuous.append(tuple(RawSpan(*one, labels, text) for one in stretches))


def read_standoff(
    read: Callable[[FileHead, ImportLog], Iterator[StandoffDocument]],
) -> Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]]:
    """Make a reader of documents from a reader that states annotations."""

    def read_annotations(
        head: FileHead, options: ReadOptions, import_log: ImportLog
    ) -> Iterator[Document]:
        for standoff in read(head, import_log):
            yield _validate(standoff, options, import_log)

    return read_annotations


def _validate(standoff: StandoffDocument, options: ReadOptions, import_log: ImportLog) -> Document:
    # Discontinuous annotations are dropped, and their stretches are masked.
    document = Document(standoff.id, standoff.text)
    spans = validate_raw_spans(
        document, standoff.raw_spans, config=options.label_config, import_log=import_log
    )
    unlabelled = list(standoff.raw_spans)
    spellings = options.label_config.names_by_spelling if options.label_config else None
    for stretches in standoff.discontinuous:
        stated = next(iter(stretches[0].labels), "")
        name = stated if spellings is None else spellings.get(stated)
        outer = RawSpan(min(one.start for one in stretches), max(one.end for one in stretches), ())
        reason: DropReason = "label unknown" if name is None else "discontinuous"
        import_log.record_dropped(document, outer, reason, name or stated, stretches[0].text)
        if name is not None:
            unlabelled += [RawSpan(one.start, one.end, ()) for one in stretches]
    masked = tuple(find_masked_ranges(document, unlabelled))
    return Document(standoff.id, standoff.text, spans, masked_ranges=masked)


def check_label(label: str, *, is_valid: bool, format_name: str) -> None:
    """Raise OutputError if a format cannot hold a label."""
    if not is_valid:
        raise OutputError(
            f"the label {label!r} cannot stand in a {format_name} file, whose columns and lines it "
            "would break: rename it, or choose another format",
            code="label-not-for-format",
        )


def check_id(identifier: str, *, is_valid: bool, format_name: str) -> None:
    """Raise OutputError if a format cannot hold the id of a document."""
    if not is_valid:
        raise OutputError(
            f"the document id {identifier!r:.80} cannot stand in {format_name}: rename the "
            "document, or choose another format",
            code="id-not-for-format",
        )
