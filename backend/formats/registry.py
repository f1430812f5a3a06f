"""The registry of file formats, and readers that recognize the format by content.

A file's name does not decide how it is read, but for tables of texts. To add a format, write a
file beside this one and add the format to `FORMATS`. Every command that reads annotations,
predictions or texts then supports it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.jsonl import PredictedDocument
from tagalong.backend.documents.offsets import is_address
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.bioc_json import BIOC_JSON_FORMAT
from tagalong.backend.formats.bioc_xml import BIOC_XML_FORMAT
from tagalong.backend.formats.brat import BRAT_FORMAT
from tagalong.backend.formats.conll import CONLL_FORMAT
from tagalong.backend.formats.doccano import DOCCANO_FORMAT
from tagalong.backend.formats.file_format import FileFormat, FormatWriter, ReadOptions
from tagalong.backend.formats.hugging_face import HUGGING_FACE_FORMAT
from tagalong.backend.formats.jsonl import JSON_LINES_FORMAT, PREDICTIONS_FORMAT
from tagalong.backend.formats.label_studio import LABEL_STUDIO_FORMAT
from tagalong.backend.formats.label_studio_csv import LABEL_STUDIO_CSV_FORMAT
from tagalong.backend.formats.label_studio_min import LABEL_STUDIO_MIN_FORMAT
from tagalong.backend.formats.mention_table import MENTION_TABLE_FORMAT
from tagalong.backend.formats.parquet import PARQUET_FORMAT
from tagalong.backend.formats.prodigy import PRODIGY_FORMAT
from tagalong.backend.formats.pubtator import PUBTATOR_FORMAT
from tagalong.backend.formats.sniff import FileHead, sniff_file
from tagalong.backend.formats.spacy_docbin import DOCBIN_FORMAT
from tagalong.backend.formats.spacy_json import SPACY_JSON_FORMAT
from tagalong.backend.formats.text_file import TextFile
from tagalong.backend.formats.text_tables import TEXT_TABLE_FORMAT, has_text_column
from tagalong.backend.formats.texts import JSON_TEXT_FORMAT, PLAIN_TEXT_FORMAT
from tagalong.backend.formats.webanno import WEBANNO_FORMAT
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import accept_any_label
from tagalong.backend.label_studio.results import format_names
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import FormatError

# The first that matches is taken, so a format stands before those that match more files.
FORMATS: tuple[FileFormat, ...] = (
    LABEL_STUDIO_FORMAT,
    LABEL_STUDIO_MIN_FORMAT,
    LABEL_STUDIO_CSV_FORMAT,
    DOCCANO_FORMAT,
    PRODIGY_FORMAT,
    SPACY_JSON_FORMAT,
    DOCBIN_FORMAT,
    JSON_LINES_FORMAT,
    PREDICTIONS_FORMAT,
    PARQUET_FORMAT,
    HUGGING_FACE_FORMAT,
    BRAT_FORMAT,
    BIOC_XML_FORMAT,
    BIOC_JSON_FORMAT,
    WEBANNO_FORMAT,
    PUBTATOR_FORMAT,
    MENTION_TABLE_FORMAT,
    CONLL_FORMAT,
    JSON_TEXT_FORMAT,
    TEXT_TABLE_FORMAT,
    PLAIN_TEXT_FORMAT,
)
# Of these, most state no texts of annotations, which could contradict the address of a text.
STATING_NO_TEXT = (DOCCANO_FORMAT, PRODIGY_FORMAT, SPACY_JSON_FORMAT, JSON_LINES_FORMAT)
# Formats that need no closing mark: a file that is cut off within a line may look whole.
LINE_FORMATS = (PUBTATOR_FORMAT, MENTION_TABLE_FORMAT, CONLL_FORMAT)
WRITERS: dict[str, FormatWriter] = {
    form.writer.option: form.writer for form in FORMATS if form.writer is not None
}

# Keys of the first record that identify a tool; the first match counts.
TOOL_BY_JSON_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"images", "categories"}), "COCO"),
    (frozenset({"paragraphs"}), "spaCy JSON but for its shape, an array of documents"),
    (frozenset({"text", "ents"}), "spaCy JSON but for its shape, one document a line"),
    (frozenset({"tokenized_text", "ner"}), "GLiNER JSON"),
    (frozenset({"document_id", "passages"}), "BigBio's JSON"),
    (frozenset({"text", "spans"}), "Prodigy but for its shape, one object a line"),
    (frozenset({"text", "label"}), "labels of whole texts, or doccano but for its shape"),
    (frozenset({"text", "labels"}), "labels of whole texts, or doccano but for its shape"),
    (frozenset({"text", "annotations"}), "doccano with numbers in place of label names"),
    (frozenset({"data", "annotations"}), "a single Label Studio task, not an export"),
    (frozenset({"result", "task"}), "a single Label Studio annotation, not an export"),
    (frozenset({"text", "entities"}), "our JSON lines but for its shape, one document a line"),
)
TEXT_RECORD_KEYS = frozenset({"id", "text", "meta"})
FORMAT_ADVICE = "give a format that `tagalong data check --help` lists"
TEXT_ADVICE = "annotate them first, or predict them with `tagalong prelabel`"
# What the first line shows, and what to do.
TOOL_BY_FIRST_LINE: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"\s*<View\b"), "a labelling config", "give it with --label-config"),
    (re.compile(r"\s*<"), "XML or HTML", FORMAT_ADVICE),
    (
        re.compile(r"(?=.*[,;])(?=.*\b(?:start|begin)\b)(?=.*\bend\b).*\b(?:label|type)\b"),
        "a TSV of mentions but for its columns",
        "set them apart by tabs",
    ),
    (re.compile(r"#begin document"), "CoNLL-2012, whose brackets are not tags", FORMAT_ADVICE),
)

FormatContent = Literal["annotations", "texts"]


def list_formats(content: FormatContent) -> tuple[FileFormat, ...]:
    """The formats from which annotations, or texts, can be read."""
    with_texts = content == "texts"
    return tuple(
        form for form in FORMATS if form.read_annotations or (with_texts and form.read_texts)
    )


def describe_formats(content: FormatContent) -> str:
    """The names of the formats that can be read, for help: ``A, B or C``."""
    *others, last = (form.name for form in list_formats(content))
    return f"{', '.join(others)} or {last}"


def detect_format(
    head: FileHead, content: FormatContent = "annotations", options: ReadOptions | None = None
) -> FileFormat:
    """Find the first format that matches a file and has this content.

    A text in no format is a token file where the options name its columns.

    Raises:
        FormatError: If none does; the message names the tool that the file looks like.
    """
    for form in list_formats(content):
        if form.matches(head):
            return form
    if options is not None and options.columns.is_given and head.structure == "text":
        return CONLL_FORMAT
    if head.parse_error:
        raise FormatError(
            f"{head.path} begins like JSON but is not ({head.parse_error}): export it again",
            code="json-broken-at-start",
        )
    if head.structure == "folder":
        raise FormatError(
            f"the folder {head.path} has no brat files (*.ann), no WebAnno TSV 3 and no data set "
            "of Hugging Face: name its files one by one",
            code="folder-format-unknown",
        )
    if head.structure == "binary":
        raise FormatError(
            f"{head.path} is a binary file in no format we know: {FORMAT_ADVICE}",
            code="binary-format-unknown",
        )
    start = f"is in no format we know ({_describe_start(head)}): {FORMAT_ADVICE}"
    finding = _find_unsupported_tool(head) or start
    raise FormatError(f"{head.path} {finding}", code="format-unknown")


def has_folder_format(folder: Path) -> bool:
    """Whether a folder has a format of its own; another may be a folder of plain texts."""
    with TextFile(folder) as file:
        head = sniff_file(file)
        return any(form.matches(head) for form in list_formats("texts"))


def _find_unsupported_tool(head: FileHead) -> str | None:
    # The tool that wrote a file which we do not read, and what to do.
    first_line = next((line for line in head.head_lines if line.strip()), "")
    keys = head.first_record.keys()
    if "text" in keys and keys <= TEXT_RECORD_KEYS:
        return f"has texts without annotations: {TEXT_ADVICE}"
    by_keys = ((name, FORMAT_ADVICE) for named, name in TOOL_BY_JSON_KEYS if named <= keys)
    by_line = (rest for pattern, *rest in TOOL_BY_FIRST_LINE if pattern.match(first_line))
    for name, advice in chain(by_keys, by_line):
        return f"looks like {name}: {advice}"
    is_table = has_text_column(head)
    return f"is a table of texts without annotations: {TEXT_ADVICE}" if is_table else None


def _describe_start(head: FileHead) -> str:
    if head.first_record:
        return f"its first record has {format_names(head.first_record)}"
    first_line = next((line for line in head.head_lines if line.strip()), "")
    return f"it begins with {first_line!r:.60}"


def read_annotations(
    form: FileFormat, head: FileHead, options: ReadOptions, import_log: ImportLog
) -> Iterator[Document]:
    """Read the annotated documents of a file in a format that has annotations."""
    if form.read_annotations is None:
        raise FormatError(
            f"{head.path} is {form.name}: {FORMAT_ADVICE}",
            code="format-without-annotations",
        )
    if form in LINE_FORMATS and head.file.ends_within_line:
        import_log.record_warning("last line without an end", str(head.path))
    documents = form.read_annotations(head, options, import_log)
    return _leave_addresses_out(documents, import_log) if form in STATING_NO_TEXT else documents


def _leave_addresses_out(
    documents: Iterable[Document], import_log: ImportLog
) -> Iterator[Document]:
    # An entity in an address belongs to the text at that address.
    for document in documents:
        if document.spans and is_address(document.text):
            reason = f"document {document.id} holds the address of its text: give the plain text"
            import_log.record_warning("task set aside", reason)
        else:
            yield document


def read_texts(
    form: FileFormat, head: FileHead, config: LabelConfig | None
) -> Iterator[SourceItem]:
    """Read the texts of a file, in its order; an item that cannot be read has the reason."""
    if form.read_texts is not None:
        items = form.read_texts(head, config)
        # A sentence of a file of tokens may well be an address.
        yield from items if form is CONLL_FORMAT else map(_without_address, items)
        return
    log, count = _SetAsideLog(), 0
    for document in chain(
        read_annotations(form, head, ReadOptions(label_config=config), log), [None]
    ):
        for reason in log.pop_reasons():
            yield SourceItem(count, str(count + 1), None, reason)
            count += 1
        if document is not None:
            text = Document(document.id, document.text, meta=document.meta)
            yield SourceItem(count, document.id, text)
            count += 1


class _SetAsideLog(ImportLog):
    # With the reasons why documents are set aside, since the last one that is not.
    def __init__(self) -> None:
        super().__init__()
        self._reasons: list[str] = []

    def record_warning(self, kind: str, example: str, *, count: int = 1) -> None:
        super().record_warning(kind, example, count=count)
        if kind == "task set aside":
            self._reasons.append(example)

    def pop_reasons(self) -> list[str]:
        reasons, self._reasons = self._reasons, []
        return reasons


def _without_address(item: SourceItem) -> SourceItem:
    if item.document is None or not is_address(item.document.text):
        return item
    reason = (
        f"document {item.key} holds the address of its text: give the plain text, or tasks with "
        'the --label-config of the project and its valueType="url"'
    )
    return replace(item, document=None, read_error=reason)


def read_predictions(
    path: Path, options: ReadOptions | None = None, import_log: ImportLog | None = None
) -> list[tuple[Document, Prediction]]:
    """Read a file of predictions, ours or any other tool's: documents without spans, and theirs.

    Annotations count as predictions where the format has none of its own. A labelling config names
    text and control; labels stay as they are in the file. The log receives warnings and losses;
    losses are in the predictions of their documents too.

    Raises:
        InputError: If the file cannot be read.
    """
    options = options or ReadOptions()
    if options.label_config is not None:
        options = replace(options, label_config=accept_any_label(options.label_config))
    with TextFile(path) as file:
        head = sniff_file(file)
        form = detect_format(head, options=options)
        log = import_log if import_log is not None else ImportLog()
        before = len(log.dropped)
        read: Iterable[Document] = (
            form.read_predictions(head, options, log)
            if form.read_predictions is not None
            else read_annotations(form, head, options, log)
        )
        documents = list(read)
    dropped = defaultdict[str, list[DroppedAnnotation]](list)
    for lost in log.dropped[before:]:
        dropped[lost.document].append(lost)
    pairs = []
    for document in documents:
        about = document if isinstance(document, PredictedDocument) else PredictedDocument("", "")
        prediction = Prediction(
            tuple(sorted(document.spans)),
            about.score,
            about.version,
            dropped=(*about.lost, *dropped[document.id]),
        )
        pairs.append((Document(document.id, document.text, meta=document.meta), prediction))
    return pairs


def choose_prediction_writer(path: Path) -> FormatWriter:
    """The writer of a file of predictions, by the file's ending; JSON lines for any other."""
    writers = [one for one in WRITERS.values() if one.serialize_prediction is not None]
    return next((one for one in writers if one.suffix == path.suffix.lower()), WRITERS["jsonl"])
