"""brat standoff: a folder of texts ``NAME.txt`` and their annotations ``NAME.ann``.

A line of annotations is ``T1 TAB Label 0 8 TAB text``. Several stretches are set apart by
semicolons. Relations, events, attributes, concept ids and notes have lines of their own, which are
counted. The endings ``.a1`` and ``.a2`` of BioNLP's shared tasks are read too. The id of a document
is its path in the folder, without the ending.

Format: https://brat.nlplab.org/standoff.html
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    SerializedDocument,
)
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import (
    NUL,
    REPLACEMENT_CHARACTER,
    StandoffDocument,
    check_file_name,
    check_label,
    read_standoff,
)
from tagalong.backend.formats.text_file import LINE_END_PATTERN, read_whole_text
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import escape_unprintable

ANNOTATION_SUFFIXES = (".ann", ".a1", ".a2")
TEXT_SUFFIX = ".txt"
# No number longer than this: the limit of Python is 4,300 digits, and no text is that long.
STRETCH = r"-?[0-9]{1,15} -?[0-9]{1,15}"
TEXT_BOUND_PATTERN = re.compile(rf"T\S*\t(\S+) ({STRETCH}(?:;{STRETCH})*)(?:\t(.*))?", re.DOTALL)
OTHER_PATTERN = re.compile(r"([REAMN])[0-9]\S*\t.+|(\*)\t.+|(#)[^\t]*\t.+", re.DOTALL)
WARNING_BY_MARK = {
    "R": "relation",
    "*": "relation",
    "E": "event",
    "A": "attribute",
    "M": "attribute",
    "N": "concept id",
    "#": "note",
}
MAX_SNIFFED_LINES = 20  # of a single file of annotations
BYTE_ORDER_MARK = "\ufeff"
LINE_ENDS = re.compile(r"[\r\n]")


def is_brat(head: FileHead) -> bool:
    """Whether a folder has files of annotations, or each of a file's first lines is one."""
    if head.structure == "folder":
        return bool(head.file.list_files(*ANNOTATION_SUFFIXES))
    lines = [line for line in head.head_lines if line.strip()][:MAX_SNIFFED_LINES]
    return head.structure == "text" and bool(lines) and all(map(_is_brat_line, lines))


class _Pair(NamedTuple):
    name: str
    text: Path | None  # None: there are only annotations
    annotations: Sequence[Path]


def _read_pairs(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    for pair in _list_pairs(head):
        try:
            yield _read_pair(pair, import_log)
        except InputError as error:
            yield StandoffDocument(pair.name, "", error=error)


def _read_texts(head: FileHead, _config: LabelConfig | None) -> Iterator[SourceItem]:
    # Annotations do not matter here, so broken ones do no harm.
    for position, pair in enumerate(_list_pairs(head)):
        try:
            document = Document(pair.name, _read_text(pair))
        except InputError as error:
            yield SourceItem(position, pair.name, None, str(error))
        else:
            yield SourceItem(position, pair.name, document)


def _list_pairs(head: FileHead) -> list[_Pair]:
    # In the order of the names, which may hold bytes that are no characters: an id must be written.
    if head.structure != "folder":
        # The letter case of the ending may differ.
        paths = map(head.path.with_suffix, (TEXT_SUFFIX, TEXT_SUFFIX.upper()))
        found = (path for path in paths if path.is_file() and path != head.path)
        return [_Pair(escape_unprintable(head.path.stem), next(found, None), [head.path])]
    annotations = defaultdict[Path, list[Path]](list)
    for path in head.file.list_files(*ANNOTATION_SUFFIXES):
        annotations[path.with_suffix("")].append(path)
    texts = {path.with_suffix(""): path for path in head.file.list_files(TEXT_SUFFIX)}
    return [
        _Pair(
            escape_unprintable(stem.relative_to(head.path).as_posix()),
            texts.get(stem),
            annotations.get(stem, ()),
        )
        for stem in sorted(texts.keys() | annotations.keys())
    ]


def _count_pairs(head: FileHead) -> int:
    return len(_list_pairs(head))


def _read_pair(pair: _Pair, import_log: ImportLog) -> StandoffDocument:
    standoff = StandoffDocument(pair.name, _read_text(pair))
    if not pair.annotations:
        import_log.record_warning("text without annotations", standoff.id)
    for path in pair.annotations:
        _read_annotations(standoff, path, import_log)
    return standoff


def _read_text(pair: _Pair) -> str:
    if pair.text is None:
        path = pair.annotations[0]
        raise FormatError(
            f"{path} has no text beside it: put {path.stem}{TEXT_SUFFIX} into its folder, or take "
            "the annotations out",
            code="annotations-without-text",
        )
    return read_whole_text(pair.text)


def _read_annotations(standoff: StandoffDocument, path: Path, import_log: ImportLog) -> None:
    others = Counter[str]()
    lines = LINE_END_PATTERN.split(read_whole_text(path))
    for number, line in enumerate(lines, start=1):
        if found := TEXT_BOUND_PATTERN.fullmatch(line):
            label, stated, text = found.groups(default="")
            if not text and number == len(lines):  # no text checks offsets that may be cut off
                import_log.record_warning("last line without an end", str(path))
            numbers = [int(part) for part in re.split("[ ;]", stated)]
            stretches = list(zip(numbers[::2], numbers[1::2], strict=True))
            standoff.add_annotation(label, _join_lines(stretches, standoff.text), text)
        elif found := OTHER_PATTERN.fullmatch(line):
            others[WARNING_BY_MARK[found[1] or found[2] or found[3]]] += 1
        elif line.strip():
            raise FormatError(
                f"{path}, line {number} is {line!r:.60}, but brat's lines are like "
                "T1 TAB Disease 0 8 TAB delirium",
                code="brat-line-unknown",
            )
    for kind, count in others.items():
        import_log.record_warning(kind, standoff.id, count=count)


def _join_lines(stretches: Sequence[tuple[int, int]], text: str) -> Sequence[tuple[int, int]]:
    # brat ends a stretch at each line end, so one annotation over two lines has two.
    gaps = (text[end:start] for (_, end), (start, _) in pairwise(stretches))
    is_joined = all(gap.isspace() and LINE_ENDS.search(gap) for gap in gaps)
    return [(stretches[0][0], stretches[-1][1])] if is_joined else stretches


def _is_brat_line(line: str) -> bool:
    return bool(TEXT_BOUND_PATTERN.fullmatch(line) or OTHER_PATTERN.fullmatch(line))


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    check_file_name(document.id)
    for label in {span.label for span in document.spans}:
        is_one_word = re.fullmatch(r"\S+", label) is not None and NUL not in label
        check_label(label, is_valid=is_one_word, format_name="brat")
    rows = []
    for number, span in enumerate(document.spans, start=1):
        covered = LINE_ENDS.sub(" ", document.span_text(span))
        rows.append(f"T{number}\t{span.label} {span.start} {span.end}\t{covered}\n")
    return SerializedDocument(
        "".join(rows).replace(NUL, REPLACEMENT_CHARACTER),
        masked_range_count=len(document.masked_ranges),
        replaced_characters=document.text.count(NUL),
    )


def _name_files(document: Document, annotations: str) -> dict[str, str]:
    # A file that begins with a byte order mark is read without it.
    mark = BYTE_ORDER_MARK if document.text.startswith(BYTE_ORDER_MARK) else ""
    text = document.text.replace(NUL, REPLACEMENT_CHARACTER)
    return {
        f"{document.id}{TEXT_SUFFIX}": mark + text,
        f"{document.id}{ANNOTATION_SUFFIXES[0]}": annotations,
    }


BRAT_FORMAT = FileFormat(
    name="brat",
    matches=is_brat,
    read_annotations=read_standoff(
        _read_pairs, "put the very text that was annotated beside the annotations, as NAME.txt"
    ),
    read_texts=_read_texts,
    count=_count_pairs,
    writer=FormatWriter(
        option="brat",
        description="a folder of brat",
        serialize=_serialize,
        name_files=_name_files,
    ),
)
