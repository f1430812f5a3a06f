"""CoNLL files: a token and its tag a line, blank lines between sentences.

`columns` finds the columns of words and tags, `tagging_schemes` reads the tags. A document is one
sentence, unless ``-DOCSTART-`` or ``# newdoc`` lines say which sentences belong together. Its text
is that of ``# text`` lines, where CoNLL-U has them. Other files do not have the white space of the
original text: tokens are joined by one blank, and sentences by a line feed. Tokens of scripts
without blanks are joined as they are.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.annotations.span_validation import validate_raw_spans
from tagalong.backend.documents.offsets import RawSpan
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.columns import (
    COMMENT_PATTERN,
    DOCSTART_LINE,
    ColumnLayout,
    find_layout,
)
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    ReadOptions,
    SerializedDocument,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.tagged_tokens import choose_entity_label, find_token_spans, tag_words
from tagalong.backend.formats.tagging_schemes import (
    OUTSIDE,
    Tag,
    parse_tag,
)
from tagalong.backend.formats.token_rows import split_features, split_row
from tagalong.backend.formats.token_text import align_tokens, is_character_file, join_tokens
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, OutputError
from tagalong.ner.text_sanitizing import escape_unprintable

MAX_SAMPLE_LINES = 200_000  # looked at where the first lines have no entities
DOCSTART = DOCSTART_LINE.encode()
NEWDOC_PATTERN = re.compile(rb"#\s*newdoc\b")
TEXT_PATTERN = re.compile(r"#\s*text\s*=\s*(.*)")
NUL = "\0"  # a text file must not have it


@dataclass(slots=True)
class Sentence:
    """The rows between two blank lines."""

    tokens: list[str] = field(default_factory=list)
    tags: list[tuple[Tag, ...]] = field(
        default_factory=list
    )  # of each token, one per column of tags
    glued: set[int] = field(default_factory=set)  # indices of tokens without a blank behind
    text: str | None = None  # as a comment states it
    last_in_range: int = -1  # CoNLL-U's number of the last word in a token of several words


def is_conll(head: FileHead) -> bool:
    """Whether the first rows have columns of words and tags, or are those of CoNLL-U."""
    return head.structure == "text" and find_layout(head.head_lines) is not None


def read_conll(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read a document per sentence, or per ``-DOCSTART-`` where there are several."""
    layout = _find_layout(head, options)
    if not layout.tags:
        kind = "CoNLL-U" if layout.numbering is not None else "a file of tokens"
        raise FormatError(
            f"{head.path} is {kind} without entities: from line {layout.first_line} on, no column "
            "has tags such as O and B-Disease; give a file with them, or name their column with "
            "--tag-column",
            code="conll-without-tags",
        )
    reader = _ConllReader(head, layout, options, import_log)
    yield from reader.read_documents()


def read_conll_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read the texts alone; a file of CoNLL-U needs no entities."""
    options = ReadOptions()
    reader = _ConllReader(head, _find_layout(head, options), options, ImportLog())
    for position, document in enumerate(reader.read_documents()):
        yield SourceItem(position, document.id, Document(document.id, document.text))


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    # CoNLL has no tag for unlabelled spans, and no row for a document without words.
    labels = sorted({span.label for span in document.spans})
    # A label with tabs, line ends or NUL, or with white space at an edge, would be read otherwise.
    if invalid := [one for one in labels if not _is_readable(one)]:
        raise OutputError(
            f"the label {invalid[0]!r} cannot stand in a CoNLL file, whose columns and lines it "
            "would break: rename it, or choose another format",
            code="label-not-for-conll",
        )
    tagged = tag_words(document)
    rows = [
        f"{token}\t{tag or 'O'}\n" for token, tag in zip(tagged.tokens, tagged.tags, strict=True)
    ]
    return SerializedDocument("".join(rows), tagged.dropped, len(document.masked_ranges))


def _is_readable(label: str) -> bool:
    tag = f"B-{label}".strip()
    return not {NUL, "\t", "\r"}.intersection(label) and parse_tag(tag, "B-label") == ("B", label)


def _join(documents: Iterable[str]) -> Iterator[str]:
    return (f"{rows}\n" for rows in documents)


CONLL_FORMAT = FileFormat(
    name="CoNLL",
    matches=is_conll,
    read_annotations=read_conll,
    read_texts=read_conll_texts,
    writer=FormatWriter(option="conll", description="CoNLL", serialize=_serialize, join=_join),
)


def _find_layout(head: FileHead, options: ReadOptions) -> ColumnLayout:
    layout = find_layout(head.head_lines, options.columns, head.path)
    if layout is None or not any(column.has_entities for column in layout.tags):
        # The scheme of the tags shows further down.
        lines = islice(head.file.open_lines(), MAX_SAMPLE_LINES)
        sample = [line.decode().rstrip("\r\n") for line in lines]
        layout = find_layout(sample, options.columns, head.path) or layout
    if layout is None:
        raise FormatError(
            f"{head.path} has no column of words beside one of tags: name them with --word-column "
            "and --tag-column",
            code="conll-without-words",
        )
    return layout


class _ConllReader:
    def __init__(
        self, head: FileHead, layout: ColumnLayout, options: ReadOptions, import_log: ImportLog
    ) -> None:
        self._head, self._layout, self._log = head, layout, import_log
        self._config = options.label_config
        self._sentence_id = ""
        self._entity_label = choose_entity_label(options)
        # A row has one of few combinations of tags. A getter of one column returns no tuple.
        self._known_tags: dict[str | tuple[str, ...], tuple[Tag, ...]] = {}
        indices = [column.index for column in layout.tags]
        self._get_tag_cells = itemgetter(*indices) if indices else lambda _: ()
        rows = (split_row(line, layout.delimiter) for line in head.head_lines)
        words = [row[layout.word] for row in rows if len(row) == layout.width]
        self._has_characters = is_character_file(words[layout.has_header :])

    def read_documents(self) -> Iterator[Document]:
        # The name of a file may hold bytes that are no characters; an id must be written again.
        stem = escape_unprintable(self._head.path.stem)
        for number, sentences in enumerate(self._group_sentences(), start=1):
            yield self._build_document(f"{stem}#{number}", sentences)

    def _build_document(self, name: str, sentences: Sequence[Sentence]) -> Document:
        texts: list[str] = []
        columns: list[list[RawSpan]] = [[] for _ in self._layout.tags]
        offset = 0
        for sentence in sentences:
            text, starts = self._place_tokens(sentence, name)
            texts.append(text)
            starts = [offset + start for start in starts] if offset else starts
            for index, regions in enumerate(columns):
                regions.extend(self._find_spans(sentence, index, starts, name))
            offset += len(text) + 1
        document = Document(name, "\n".join(texts))
        spans = validate_raw_spans(
            document,
            columns[0] if columns else [],
            config=self._config,
            import_log=self._log,
        )
        kept = [(span.start, span.end) for span in spans]  # in order, without overlaps
        masked = []
        for region in (region for regions in columns[1:] for region in regions):
            label, text = region.labels[0], document.text[region.start : region.end]
            self._log.record_dropped(document, region, "another tag column", label, text)
            before = bisect_right(kept, region.start, key=itemgetter(0)) - 1
            if before < 0 or region.end > kept[before][1]:
                masked.append((region.start, region.end))
        return Document(name, document.text, spans, masked_ranges=tuple(masked))

    def _place_tokens(self, sentence: Sentence, name: str) -> tuple[str, list[int]]:
        if sentence.text is not None:
            starts = align_tokens(sentence.tokens, sentence.text)
            if starts is not None:
                return sentence.text, starts
            self._log.record_warning("text line not used", f"{name}: {sentence.text!r:.60}")
        return join_tokens(
            sentence.tokens, glued=sentence.glued, without_blanks=self._has_characters
        )

    def _find_spans(
        self, sentence: Sentence, column: int, starts: Sequence[int], name: str
    ) -> list[RawSpan]:
        return find_token_spans(
            sentence.tokens,
            starts,
            [tags[column] for tags in sentence.tags],
            self._layout.tags[column].scheme,
            self._entity_label,
            name=name,
            import_log=self._log,
        )

    def _group_sentences(self) -> Iterator[list[Sentence]]:
        stream = self._head.file.open_lines()
        docstart = DOCSTART_LINE.encode()
        marks = sum(
            line.startswith(docstart) or bool(NEWDOC_PATTERN.match(line)) for line in stream
        )
        document: list[Sentence] = []
        # A single mark at the top means nothing: Label Studio writes it before any file.
        grouped = marks > 1
        for item in self._read_sentences():
            if item is not None:
                document.append(item)
            if document and (item is None or not grouped):
                yield document
                document = []

    def _read_sentences(self) -> Iterator[Sentence | None]:
        # None between documents, and at the end.
        layout = self._layout
        sentence = Sentence()
        for number, raw in enumerate(self._head.file.open_lines(), start=1):
            line = raw.decode().rstrip("\r\n")
            is_mark = _is_document_mark(raw)
            if is_mark or not line or line.isspace():
                if sentence.tokens:
                    yield sentence
                    sentence = Sentence()
                if is_mark:
                    yield None
            elif line.startswith("#") and COMMENT_PATTERN.match(line):
                if match := TEXT_PATTERN.match(line):
                    sentence.text = match[1]
            elif not (layout.has_header and number == layout.first_line):
                if layout.sentence_ids is not None and self._has_new_id(line) and sentence.tokens:
                    yield sentence
                    sentence = Sentence()
                self._add_row(sentence, line, number)
        if sentence.tokens:
            yield sentence
        yield None

    def _has_new_id(self, line: str) -> bool:
        cells = split_row(line, self._layout.delimiter)
        found = cells[self._layout.sentence_ids or 0] if len(cells) == self._layout.width else ""
        before, self._sentence_id = self._sentence_id, found or self._sentence_id
        return self._sentence_id != before

    def _add_row(self, sentence: Sentence, line: str, number: int) -> None:
        layout = self._layout
        cells = split_row(line, layout.delimiter)
        if len(cells) != layout.width:
            if line.startswith("#"):
                return  # a comment
            token_rule = {"\t": "a token has no tab in it", " ": "a token has no blank in it"}.get(
                layout.delimiter, "a token with a comma or quotation mark is in quotation marks"
            )
            raise FormatError(
                f"{self._head.path}, line {number} has {pluralize(len(cells), 'column')}, but line "
                f"{layout.first_line} has {layout.width}: {line!r:.60}; each row needs all "
                f"columns, and {token_rule}",
                code="conll-columns-differ",
            )
        is_glued = False
        if layout.has_features:
            cells[-1], has_blank = split_features(cells[-1])
            is_glued = not has_blank
        key = self._get_tag_cells(cells)
        tags = self._known_tags.get(key)
        if tags is None:
            values = (key,) if isinstance(key, str) else key
            if (tags := self._parse_tags(values, line, number)) is None:
                return  # a comment
            self._known_tags[key] = tags
        if not (token := cells[layout.word]):
            raise FormatError(
                f"{self._head.path}, line {number} is {line!r:.60}, without a token in column "
                f"{layout.word + 1}: correct it, or name the column with --word-column",
                code="conll-row-without-token",
            )
        if layout.numbering is None or _is_new_token(sentence, cells[layout.numbering], tags):
            sentence.tokens.append(token)
            sentence.tags.append(tags)
            if is_glued:
                sentence.glued.add(len(sentence.tokens) - 1)

    def _parse_tags(self, values: Sequence[str], line: str, number: int) -> tuple[Tag, ...] | None:
        tags = []
        for column, value in zip(self._layout.tags, values, strict=True):
            tag = parse_tag(value.strip(), column.scheme)
            if tag is None and line.startswith("#"):
                return None
            if tag is None:
                raise FormatError(
                    f"{self._head.path}, line {number} is {line!r:.60}, whose column "
                    f"{column.index + 1} has {value!r:.40} where a tag such as O or B-Disease "
                    "should be: correct it, or name the column of tags with --tag-column",
                    code="conll-row-without-tag",
                )
            tags.append(tag)
        return tuple(tags)


def _is_document_mark(line: bytes) -> bool:
    first = line[:1]
    return (first == b"-" and line.startswith(DOCSTART)) or (
        first == b"#" and NEWDOC_PATTERN.match(line) is not None
    )


def _is_new_token(sentence: Sentence, number: str, tags: tuple[Tag, ...]) -> bool:
    # "3-4" is one token of the text and two syntactic words; "8.1" is no part of the text.
    if "." in number:
        return False
    first, _, last = number.partition("-")
    if last:
        sentence.last_in_range = int(last) if last.isdecimal() else -1
        return True
    if not first.isdecimal() or int(first) > sentence.last_in_range:
        return True
    # The token gets the first tag of its words.
    merged = zip(sentence.tags[-1], tags, strict=True)
    sentence.tags[-1] = tuple(tag if before == OUTSIDE else before for before, tag in merged)
    return False
