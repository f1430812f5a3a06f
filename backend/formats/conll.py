"""CoNLL files: a token and its tag a line, blank lines between sentences.

The token is the first column and the tag the last; columns are set apart by tabs, or by blanks in a
line without tabs. A document is one sentence, unless ``-DOCSTART-`` lines say which sentences
belong together. Its text is its tokens joined by one blank, and its sentences by a line feed. The
file does not have the white space of the original text.

Entities follow conlleval's rule (Tjong Kim Sang & De Meulder 2003). One begins at B-, S- or U-,
and at an I-, E- or L- without an open entity of its label before it. So IOB1, IOB2, IOBES and BILOU
are all read, and an I- that begins an entity is counted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import validate_raw_spans
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, OutputError
from tagalong.ner.tags import TagSet
from tagalong.ner.text_sanitizing import escape_unprintable

TAG_PATTERN = re.compile(r"O|[BIESLU]-\S.*")
BEGIN_PREFIXES = frozenset("BSU")
END_PREFIXES = frozenset("ESLU")
DOCSTART_LINE = "-DOCSTART-"
MAX_SNIFFED_LINES = 20  # rows that must have a token and a tag for a file to be CoNLL
NUL, NUL_REPLACEMENT = "\0", "\ufffd"  # a text file must not have NUL; the other is a word too
BYTE_ORDER_MARK = "\ufeff"

TaggedToken = tuple[str, str]
TaggedSentence = list[TaggedToken]


def is_conll(head: FileHead) -> bool:
    """Whether each of the first rows ends in a tag."""
    rows = [line for line in head.head_lines if line.strip() and not _is_comment(line)]
    sniffed = rows[:MAX_SNIFFED_LINES]
    return head.structure == "text" and bool(sniffed) and all(map(_parse_row, sniffed))


def read_conll(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read a document per sentence, or per ``-DOCSTART-`` where there are several."""
    for number, sentences in enumerate(_read_documents(head), start=1):
        # The name of a file may hold bytes that are no characters; an id must be written again.
        name = f"{escape_unprintable(head.path.stem)}#{number}"
        text = "\n".join(" ".join(token for token, _ in sentence) for sentence in sentences)
        raw_spans, offset = [], 0
        for sentence in sentences:
            found, orphans = _sentence_raw_spans(sentence, offset)
            raw_spans += found
            offset += sum(len(token) + 1 for token, _ in sentence)
            if orphans:
                import_log.record_warning("I- without B-", name, count=orphans)
        spans = validate_raw_spans(
            Document(name, text), raw_spans, config=options.label_config, import_log=import_log
        )
        yield Document(name, text, spans)


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    # CoNLL has no tag for unlabelled spans, and no row for a document without words.
    labels = sorted({span.label for span in document.spans})
    # A label with tabs, line ends or NUL, or with white space at an edge, would be read otherwise.
    read = {label: _parse_row(f"x\tB-{label}") for label in labels}
    if invalid := [one for one in labels if NUL in one or read[one] != ("x", f"B-{one}")]:
        raise OutputError(
            f"the label {invalid[0]!r} cannot stand in a CoNLL file, whose columns and lines it "
            "would break: rename it, or choose another format",
            code="label-not-for-conll",
        )
    tags = TagSet(tuple(labels or ("unused",)))
    tagged = tags.encode(document)
    tokens = [document.text[start:end] for start, end in tagged.words]
    rows = [
        f"{NUL_REPLACEMENT if token == NUL else token}\t{name}\n"
        for token, name in zip(tokens, tags.to_names(tagged.tags), strict=True)
    ]
    return SerializedDocument(
        "".join(rows), tagged.dropped, len(document.masked_ranges), tokens.count(NUL)
    )


def _join(documents: Iterable[str]) -> Iterator[str]:
    for number, rows in enumerate(documents):
        # At the very start of a file, this character is a byte order mark.
        yield ("\n" if not number and rows.startswith(BYTE_ORDER_MARK) else "") + rows + "\n"


CONLL_FORMAT = FileFormat(
    name="CoNLL",
    matches=is_conll,
    read_annotations=read_conll,
    writer=FormatWriter(option="conll", description="CoNLL", serialize=_serialize, join=_join),
)


def _read_documents(head: FileHead) -> Iterator[list[TaggedSentence]]:
    marks = sum(line.startswith(DOCSTART_LINE.encode()) for line in head.file.open_lines())
    document: list[TaggedSentence] = []
    sentence: TaggedSentence = []
    # A single mark at the top means nothing: Label Studio writes it before any file.
    grouped = marks > 1
    for row in _read_rows(head):
        if isinstance(row, tuple):
            sentence.append(row)
            continue
        if sentence:
            document.append(sentence)
            sentence = []
        if document and (row == DOCSTART_LINE or not grouped):
            yield document
            document = []


def _read_rows(head: FileHead) -> Iterator[TaggedToken | str]:
    # Rows, and between them the breaks: "" of a sentence, DOCSTART_LINE of a document.
    for number, raw in enumerate(head.file.open_lines(), start=1):
        line = raw.decode().rstrip("\r\n")
        if line.startswith(DOCSTART_LINE):
            yield DOCSTART_LINE
        elif not line.strip():
            yield ""
        elif row := _parse_row(line):
            yield row
        elif not _is_comment(line):
            raise FormatError(
                f"{head.path}, line {number} is {line!r:.60}, not a token and a tag such as "
                "O or B-Disease in the first and the last column",
                code="conll-row-without-tag",
            )
    yield DOCSTART_LINE  # the end of the file ends a document too


def _parse_row(line: str) -> TaggedToken | None:
    columns = line.split("\t") if "\t" in line else line.split(" ")
    token, tag = columns[0], columns[-1].strip()
    return (token, tag) if len(columns) > 1 and token and TAG_PATTERN.fullmatch(tag) else None


def _is_comment(line: str) -> bool:
    # As in CoNLL-U.
    return line.startswith("#") and _parse_row(line) is None


def _sentence_raw_spans(sentence: Sequence[TaggedToken], offset: int) -> tuple[list[RawSpan], int]:
    # Also the number of I- that begin an entity. The sentence starts at the offset.
    lengths = [len(token) for token, _ in sentence]
    starts = list(accumulate((length + 1 for length in lengths), initial=offset))
    entities, orphans = _decode_entities(tag for _, tag in sentence)
    spans = [RawSpan(starts[i], starts[j] + lengths[j], (label,)) for i, j, label in entities]
    return spans, orphans


def _decode_entities(tags: Iterable[str]) -> tuple[list[tuple[int, int, str]], int]:
    # First token, last token and label of each entity, and the number of I- that begin one.
    entities: list[tuple[int, int, str]] = []
    orphans, open_label = 0, ""
    for index, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if not label:
            open_label = ""
            continue
        if prefix in BEGIN_PREFIXES or label != open_label:
            orphans += prefix not in BEGIN_PREFIXES
            entities.append((index, index, label))
        else:
            entities[-1] = (entities[-1][0], index, label)
        open_label = "" if prefix in END_PREFIXES else label
    return entities, orphans
