"""brat standoff: a folder of texts ``NAME.txt`` and their annotations ``NAME.ann``.

A line of annotations is ``T1 TAB Label 0 8 TAB text``. Several stretches are set apart by
semicolons. Relations, events, attributes, concept ids and notes have lines of their own, which are
counted. The endings ``.a1`` and ``.a2`` of BioNLP's shared tasks are read too. The id of a document
is its path in the folder, without the ending.

Format: https://brat.nlplab.org/standoff.html
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.file_format import (
    FileFormat,
    FormatWriter,
    SerializedDocument,
)
from tagalong.backend.formats.sniff import LINE_END_PATTERN, FileHead, read_whole_text
from tagalong.backend.formats.standoff import (
    NUL,
    REPLACEMENT_CHARACTER,
    StandoffDocument,
    check_id,
    check_label,
    read_standoff,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError
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
MAX_NAME_BYTES = 200  # of one part of a path; the usual file system allows 255 with the endings
BYTE_ORDER_MARK = "\ufeff"
LINE_ENDS = re.compile(r"[\r\n]")


def is_brat(head: FileHead) -> bool:
    """Whether a folder has files of annotations, or each of a file's first lines is one."""
    if head.structure == "folder":
        return bool(head.file.list_files(*ANNOTATION_SUFFIXES))
    lines = [line for line in head.head_lines if line.strip()][:MAX_SNIFFED_LINES]
    return head.structure == "text" and bool(lines) and all(map(_is_brat_line, lines))


def _read_texts(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    if head.structure != "folder":
        text_path = _find_text(head.path)
        yield _read_pair(head.path.stem, text_path, [head.path], import_log)
        return
    annotations = defaultdict[Path, list[Path]](list)
    for path in head.file.list_files(*ANNOTATION_SUFFIXES):
        annotations[path.with_suffix("")].append(path)
    texts = {path.with_suffix(""): path for path in head.file.list_files(TEXT_SUFFIX)}
    if lonely := sorted(annotations.keys() - texts.keys()):
        raise _missing_text_error(annotations[lonely[0]][0])
    for stem, text_path in texts.items():
        name = stem.relative_to(head.path).as_posix()
        yield _read_pair(name, text_path, annotations.get(stem, []), import_log)


def _count_texts(head: FileHead) -> int:
    return len(head.file.list_files(TEXT_SUFFIX)) if head.structure == "folder" else 1


def _find_text(annotations: Path) -> Path:
    # The letter case of the ending may differ.
    endings = (TEXT_SUFFIX, TEXT_SUFFIX.upper())
    paths = map(annotations.with_suffix, endings)
    found = [path for path in paths if path.is_file() and path != annotations]
    if not found:
        raise _missing_text_error(annotations)
    return found[0]


def _missing_text_error(annotations: Path) -> FormatError:
    return FormatError(
        f"{annotations} has no text beside it: put {annotations.stem}{TEXT_SUFFIX} into its "
        "folder, or take the annotations out",
        code="annotations-without-text",
    )


def _read_pair(
    name: str,
    text_path: Path,
    annotations: list[Path],
    import_log: ImportLog,
) -> StandoffDocument:
    # The name of a file may hold bytes that are no characters; an id must be written again.
    standoff = StandoffDocument(escape_unprintable(name), read_whole_text(text_path))
    if not annotations:
        import_log.record_warning("text without annotations", standoff.id)
    for path in annotations:
        _read_annotations(standoff, path, import_log)
    return standoff


def _read_annotations(standoff: StandoffDocument, path: Path, import_log: ImportLog) -> None:
    others = Counter[str]()
    for number, line in enumerate(LINE_END_PATTERN.split(read_whole_text(path)), start=1):
        if found := TEXT_BOUND_PATTERN.fullmatch(line):
            label, stated, text = found.groups(default="")
            numbers = [int(part) for part in re.split("[ ;]", stated)]
            stretches = list(zip(numbers[::2], numbers[1::2], strict=True))
            standoff.add_annotation(label, stretches, text)
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


def _is_brat_line(line: str) -> bool:
    return bool(TEXT_BOUND_PATTERN.fullmatch(line) or OTHER_PATTERN.fullmatch(line))


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    is_safe = document.id.isprintable() and all(
        part and not part.startswith(".") and len(part.encode()) <= MAX_NAME_BYTES
        for part in document.id.split("/")
    )
    check_id(document.id, is_valid=is_safe, format_name="the name of a file")
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
    read_annotations=read_standoff(_read_texts),
    count=_count_texts,
    writer=FormatWriter(
        option="brat",
        description="a folder of brat",
        serialize=_serialize,
        name_files=_name_files,
    ),
)
