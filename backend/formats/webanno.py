r"""WebAnno TSV 3: exports of WebAnno and INCEpTION, one text a file; folders have several.

``#T_SP=LAYER|FEATURE|...`` names a layer of spans, ``#T_CH`` and ``#T_RL`` layers of chains and
relations. ``#Text=`` is a sentence, and each of its tokens has a row: number, offsets in UTF-16
units, token, and a column per feature. Rows numbered ``1-2.1`` are parts of tokens. ``_`` is no
annotation, ``*`` one without a value. ``[3]`` numbers an annotation of several tokens; ``|`` is
between annotations of the same token. A backslash precedes reserved characters.

All layers of spans are read, but for those of the linguistic analysis. White space between
sentences is not in a file: they are joined by line feeds.

Format: https://inception-project.github.io/releases/33.2/docs/user-guide.html#sect_webannotsv
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.file_format import FileFormat
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import (
    StandoffDocument,
    read_standoff,
    read_standoff_texts,
)
from tagalong.backend.formats.text_file import LINE_END_PATTERN, TextFile, read_whole_text
from tagalong.backend.formats.token_text import align_tokens
from tagalong.backend.formats.webanno_writer import (
    NO_VALUE,
    NONE,
    SUFFIX,
    TEXT_PREFIX,
    WEBANNO_WRITER,
)
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import escape_unprintable

FORMAT_PATTERN = re.compile(r"#FORMAT=WebAnno TSV (?P<version>\S+)\s*")
LAYER_PATTERN = re.compile(r"#T_(?P<kind>SP|CH|RL)=(?P<name>[^|]+)(?P<features>(?:\|[^|]*)*)\s*")
MAX_FORMAT_LINE_BYTES = 40
ROW_PATTERN = re.compile(r"(\d{1,9})-(\d{1,9})((?:\.\d{1,9})?)\t(\d{1,15})-(\d{1,15})\t")
VALUE_PATTERN = re.compile(r"((?:[^\\|]|\\.)*?)(?:\[(\d{1,9})\])?(\||$)", re.DOTALL)
ESCAPE_PATTERN = re.compile(r"\\(->|.)", re.DOTALL)
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
# Parts of names of layers of DKPro that annotate every token, sentence or phrase.
LINGUISTIC_PARTS = (".pos.", ".morph.", ".segmentation.", ".syntax.", ".transform.", ".lexmorph.")
LABEL_FEATURES = ("value", "label", "type", "class", "category", "tag")  # the first there is
NO_LABEL_FEATURE, LINK_PREFIX = "identifier", "ROLE_"  # the first: ids of a terminology


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    kind: str  # "SP" for spans, "CH" for chains, "RL" for relations
    columns: range  # in a row
    label_column: int | None  # None if it has no features: then the layer is the label
    is_read: bool


@dataclass(frozen=True, slots=True)
class _TokenRow:
    number: int  # of the line
    begin: int  # as stated
    end: int
    is_part: bool  # of a token
    token: str
    cells: list[str]


@dataclass(slots=True)
class _NumberedAnnotation:
    start: int  # code points of the document
    end: int
    label: str  # empty if the annotator chose none
    sentence: int  # the last with one of its tokens


@dataclass(slots=True)
class _SentenceRows:
    lines: list[str] = field(default_factory=list)  # of its text
    rows: list[_TokenRow] = field(default_factory=list)


def is_webanno(head: FileHead) -> bool:
    """Whether a file, or the first TSV file of a folder, states the format in its first line."""
    if head.structure != "folder":
        return head.structure == "text" and _is_format_line("".join(head.head_lines[:1]))
    paths = head.file.list_files(SUFFIX)
    if not paths:
        return False
    with TextFile(paths[0]) as file:
        line = file.open_stream().read(MAX_FORMAT_LINE_BYTES).decode(errors="ignore")
        return _is_format_line(line)


def _is_format_line(line: str) -> bool:
    return line.startswith("#FORMAT=WebAnno TSV")


def read_webanno(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    """Read a document from each file, in the order of the names."""
    if head.structure != "folder":
        yield _FileReader(head.path, head.path.stem, import_log).read()
        return
    for path in head.file.list_files(SUFFIX):
        name = path.relative_to(head.path).with_suffix("").as_posix()
        try:
            yield _FileReader(path, name, import_log).read()
        except InputError as error:
            yield StandoffDocument(escape_unprintable(name), "", error=error)


class _FileReader:
    def __init__(self, path: Path, name: str, import_log: ImportLog) -> None:
        self._path, self._log = path, import_log
        self._layers: list[_Layer] = []
        self._width = 3  # of a row without layers
        # The name of a file may hold bytes that are no characters; an id must be written again.
        self._document = StandoffDocument(escape_unprintable(name), "")
        self._numbered: dict[tuple[str, str], _NumberedAnnotation] = {}  # by layer and number
        self._annotations: list[_NumberedAnnotation] = []
        self._counts = Counter[str]()

    def read(self) -> StandoffDocument:
        texts: list[str] = []
        offset = 0
        for position, sentence in enumerate(self._read_sentences()):
            text = "\n".join(sentence.lines)
            self._add_annotations(sentence, text, offset, position)
            texts.append(text)
            offset += len(text) + 1
        self._document.text = "\n".join(texts)
        for one in self._annotations:
            # The text shows that offsets are code points by now.
            covered = self._document.text[one.start : one.end]
            self._document.add_annotation(one.label or None, [(one.start, one.end)], covered)
        for kind, count in (+self._counts).items():
            self._log.record_warning(kind, self._document.id, count=count)
        return self._document

    def _refuse(self, number: int, finding: str) -> FormatError:
        return FormatError(
            f"{self._path}, line {number} {finding}: export it again as WebAnno TSV 3",
            code="webanno-broken",
        )

    def _read_sentences(self) -> Iterator[_SentenceRows]:
        sentence = _SentenceRows()
        lines = LINE_END_PATTERN.split(read_whole_text(self._path))
        # An empty piece behind the last line end is no blank line, which would end a sentence.
        lines = lines[:-1] if len(lines) > 1 and not lines[-1] else lines
        version = FORMAT_PATTERN.fullmatch(lines[0])
        if version is None or not version["version"].startswith("3"):
            raise self._refuse(1, f"is {lines[0]!r:.60}, not #FORMAT=WebAnno TSV 3 and a version")
        for number, line in enumerate(lines, start=1):
            if line.startswith(TEXT_PREFIX):
                if sentence.rows:  # sentences may follow each other without a blank line
                    yield sentence
                    sentence = _SentenceRows()
                sentence.lines.append(_unescape(line.removeprefix(TEXT_PREFIX)))
            elif line.startswith("#T_"):
                self._add_layer(line, number)
            elif line and not line.startswith("#"):
                if not sentence.lines:
                    raise self._refuse(number, f"is {line!r:.60}, without a line #Text= before it")
                sentence.rows.append(self._parse_row(line, number))
            elif not line and sentence.lines:
                yield sentence
                sentence = _SentenceRows()
        if not any(layer.is_read for layer in self._layers):
            raise FormatError(
                f"{self._path} has no layer of spans: its lines #T_SP= name "
                f"{', '.join(layer.name for layer in self._layers) or 'none'}; export one with "
                "entities",
                code="webanno-without-spans",
            )
        if sentence.lines:
            self._check_end(sentence, len(lines))
            yield sentence

    def _check_end(self, sentence: _SentenceRows, number: int) -> None:
        # A file that breaks off has fewer tokens than text.
        rest = "\n".join(sentence.lines).strip()
        for row in sentence.rows:
            if not row.is_part:
                rest = rest.partition(row.token)[2].lstrip()
        if any(map(str.isalnum, rest)):
            raise self._refuse(number, f"is the last, without tokens for {rest!r:.60}")

    def _add_layer(self, line: str, number: int) -> None:
        found = LAYER_PATTERN.fullmatch(line)
        if found is None:
            raise self._refuse(number, f"is {line!r:.60}, not a layer such as #T_SP=Span|value")
        features = found["features"].split("|")[1:]
        columns = range(self._width, self._width + max(1, len(features)))
        self._width = columns.stop
        labelling = [one for one in LABEL_FEATURES if one in features]
        # A link has two columns: its role, and the annotation that it leads to.
        links = [place for place, one in enumerate(features) if one.startswith(LINK_PREFIX)]
        labelling += [
            one
            for place, one in enumerate(features)
            if one != NO_LABEL_FEATURE and not {place, place - 1}.intersection(links)
        ]
        is_linguistic = any(part in found["name"] for part in LINGUISTIC_PARTS)
        self._layers.append(
            _Layer(
                found["name"].rpartition(".")[2],
                found["kind"],
                columns,
                columns[features.index(labelling[0])] if labelling else None,
                is_read=found["kind"] == "SP" and not is_linguistic,
            )
        )

    def _parse_row(self, line: str, number: int) -> _TokenRow:
        found = ROW_PATTERN.match(line)
        cells = line.split("\t")
        if found is None:
            finding = f"is {line!r:.60}, not a row such as 1-1 TAB 0-7 TAB Lithium TAB Chemical"
            raise self._refuse(number, finding)
        if len(cells) == self._width + 1 and not cells[-1]:
            cells.pop()  # rows end in a tab
        if len(cells) != self._width:
            finding = f"has {pluralize(len(cells), 'column')}, but the layers have {self._width}"
            raise self._refuse(number, f"{finding}: {line!r:.60}")
        token = _unescape(cells[2])
        return _TokenRow(number, int(found[4]), int(found[5]), bool(found[3]), token, cells)

    def _add_annotations(
        self, sentence: _SentenceRows, text: str, offset: int, position: int
    ) -> None:
        for row, (start, end) in zip(sentence.rows, self._place(sentence, text), strict=True):
            for layer in self._layers:
                if layer.is_read:
                    for number, label in self._parse_cells(layer, row):
                        one = _NumberedAnnotation(offset + start, offset + end, label, position)
                        self._add_annotation(layer.name, number, one)
                elif layer.kind != "SP":
                    values = _split_values(row.cells[layer.columns.start])
                    self._counts["relation"] += sum(value != NONE for value, _ in values)

    def _add_annotation(self, layer: str, number: str, new: _NumberedAnnotation) -> None:
        known = self._numbered.get((layer, number)) if number else None
        # Numbers may begin again, so an annotation goes on in the next sentence at the latest.
        if known is not None and known.sentence >= new.sentence - 1:
            known.start, known.end = min(known.start, new.start), max(known.end, new.end)
            known.sentence = new.sentence
            return
        self._annotations.append(new)
        if number:
            self._numbered[layer, number] = new

    def _parse_cells(self, layer: _Layer, row: _TokenRow) -> Iterator[tuple[str, str]]:
        # Number and label of each annotation; both may be empty.
        stacks = [_split_values(row.cells[column]) for column in layer.columns]
        index = None if layer.label_column is None else layer.columns.index(layer.label_column)
        for place, (_, number) in enumerate(stacks[index or 0]):
            values = [stack[place][0] if place < len(stack) else NONE for stack in stacks]
            if set(values) == {NONE}:
                continue
            label = "" if index is None else values.pop(index)
            if not number or (layer.name, number) not in self._numbered:
                others = [value for value in values if value not in (NONE, NO_VALUE)]
                self._counts["attribute"] += len(others)
            if index is None:
                yield number, layer.name
            else:
                yield number, "" if label in (NONE, NO_VALUE) else _unescape(label)

    def _place(self, sentence: _SentenceRows, text: str) -> list[tuple[int, int]]:
        # Offsets of the rows in the text of the sentence: UTF-16 units, or code points, as some
        # tools write; else tokens are searched one behind the other.
        if not sentence.rows:
            return []
        for width in (2, 1):
            offsets = _code_point_offsets(text, width)
            first = sentence.rows[0]
            base = first.begin - _units(text[: max(0, text.find(first.token))], width)
            places = [
                (offsets.get(row.begin - base, -1), offsets.get(row.end - base, -1))
                for row in sentence.rows
            ]
            if all(
                0 <= start <= end and text[start:end] == row.token
                for row, (start, end) in zip(sentence.rows, places, strict=True)
            ):
                return places
        whole = [row for row in sentence.rows if not row.is_part]
        starts = align_tokens([row.token for row in whole], text)
        if starts is None or len(whole) < len(sentence.rows):
            row = sentence.rows[0]
            raise self._refuse(
                row.number, f"and the rows behind it contradict the text {text!r:.60}"
            )
        return [(at, at + len(row.token)) for at, row in zip(starts, whole, strict=True)]


def _units(text: str, width: int) -> int:
    return len(text) + (width - 1) * sum(char > "\uffff" for char in text)


def _code_point_offsets(text: str, width: int) -> dict[int, int]:
    offsets, position = {0: 0}, 0
    for index, char in enumerate(text, start=1):
        position += width if char > "\uffff" else 1
        offsets[position] = index
    return offsets


def _split_values(cell: str) -> Sequence[tuple[str, str]]:
    # Values as they are written, each with its number or an empty string.
    found: list[tuple[str, str]] = []
    position = 0
    while True:
        match = VALUE_PATTERN.match(cell, position)
        if match is None:  # a backslash at the end
            return [*found, (cell[position:], "")]
        found.append((match[1], match[2] or ""))
        if not match[3]:
            return found
        position = match.end()


def _unescape(value: str) -> str:
    return ESCAPE_PATTERN.sub(lambda match: ESCAPED.get(match[1], match[1]), value)


WEBANNO_FORMAT = FileFormat(
    name="WebAnno TSV 3",
    matches=is_webanno,
    read_annotations=read_standoff(read_webanno, "export it again"),
    read_texts=read_standoff_texts(read_webanno),
    writer=WEBANNO_WRITER,
)
