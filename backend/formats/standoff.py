"""Annotations that stand beside a text and state their offsets: brat, BioC, PubTator and TSV."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tagalong.backend.annotations.annotated_task import AnnotatedTask, Annotation
from tagalong.backend.annotations.annotators import adjudicate_export
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.offsets import PassageSpan, RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document, DropReason
from tagalong.ner.errors import InputError, OutputError

NUL, REPLACEMENT_CHARACTER = "\0", "\ufffd"  # a text file must not have the first
MAX_NAME_BYTES = 200  # of one part of a path; the usual file system allows 255 with the endings


@dataclass(slots=True)
class StandoffDocument:
    """A text and its annotations as a file states them; reading adds to both."""

    id: str
    text: str
    raw_spans: list[RawSpan] = field(default_factory=list)
    # Label, stated text and stretches of each.
    discontinuous: list[tuple[str, str, Sequence[RawSpan]]] = field(default_factory=list)
    error: InputError | None = None  # the reason why it is set aside

    def add_annotation(
        self,
        label: str | None,
        stretches: Sequence[tuple[int, int]],
        text: str,
        passage_start: int = 0,
    ) -> None:
        """Add an annotation by its half-open stretches, at least one, and its stated text."""
        is_whole = len(stretches) == 1
        make = partial(
            PassageSpan,
            labels=(label,) if is_whole and label is not None else (),
            text=text if is_whole else "",
            is_part=not is_whole and label is not None,
            passage_start=passage_start,
        )
        spans = [make(start, end) for start, end in stretches]
        if is_whole or label is None:
            self.raw_spans += spans
        else:
            self.discontinuous.append((label, text, spans))


def read_standoff(
    read: Callable[[FileHead, ImportLog], Iterator[StandoffDocument]],
    advice: str,
) -> Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]]:
    """Make a reader of documents from a reader that states annotations.

    The stated texts show how a file counts offsets, as in exports of Label Studio. The advice says
    what to do with a document whose annotations all contradict its text.
    """
    refusal = (
        "document {name} has another text than its annotations state, in every common counting of "
        f"offsets: {advice}"
    )

    def read_annotations(
        head: FileHead, options: ReadOptions, import_log: ImportLog
    ) -> Iterator[Document]:
        def read_tasks(log: ImportLog) -> Iterator[AnnotatedTask]:
            return (_to_task(standoff, options, log) for standoff in read(head, log))

        # Each document has one annotation; the policies with several change ids.
        return adjudicate_export(
            read_tasks,
            policy="latest",
            config=options.label_config,
            import_log=import_log,
            refusal=refusal,
        )

    return read_annotations


def read_standoff_texts(
    read: Callable[[FileHead, ImportLog], Iterator[StandoffDocument]],
) -> Callable[[FileHead, LabelConfig | None], Iterator[SourceItem]]:
    """Make a reader of texts from a reader that states annotations."""

    def read_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
        for position, one in enumerate(read(head, ImportLog())):
            if one.error is not None:
                yield SourceItem(position, one.id, None, str(one.error))
            else:
                yield SourceItem(position, one.id, Document(one.id, one.text))

    return read_texts


def _to_task(
    standoff: StandoffDocument, options: ReadOptions, import_log: ImportLog
) -> AnnotatedTask:
    # Discontinuous annotations are dropped, and their stretches are masked.
    if standoff.error is not None:
        return AnnotatedTask(standoff.id, None, error=standoff.error)
    document = Document(standoff.id, standoff.text)
    regions = list(standoff.raw_spans)
    spellings = options.label_config.names_by_spelling if options.label_config else None
    for label, text, parts in standoff.discontinuous:
        name = label if spellings is None else spellings.get(label)
        outer = RawSpan(min(one.start for one in parts), max(one.end for one in parts), ())
        reason: DropReason = "label unknown" if name is None else "discontinuous"
        import_log.record_dropped(document, outer, reason, name or label, text)
        if name is not None:
            regions += parts
    return AnnotatedTask(standoff.id, document, (Annotation("", 0.0, tuple(regions)),))


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


def check_file_name(identifier: str) -> None:
    """Raise OutputError if the id of a document cannot be the relative name of a file."""
    is_safe = identifier.isprintable() and all(
        part and not part.startswith(".") and len(part.encode()) <= MAX_NAME_BYTES
        for part in identifier.split("/")
    )
    check_id(identifier, is_valid=is_safe, format_name="the name of a file")
