"""PubTator: a title, an abstract and their annotations, one document after another.

Lines are ``ID|t|title`` and ``ID|a|abstract``. Then ``ID TAB start TAB end TAB text TAB label``
follow, perhaps with a concept id and the individual mentions of a composite one. Lines of relations
have no offsets. The text is title, one blank, abstract, as the offsets count.

The reader of the library `bioc` trims titles, which moves offsets, and leaves unknown lines out
without a word. So we read the lines ourselves.
"""

import re
from collections import Counter
from collections.abc import Iterator

from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.formats.file_format import FileFormat, FormatWriter, SerializedDocument
from tagalong.backend.formats.records import refuse_other_kinds
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import (
    NUL,
    REPLACEMENT_CHARACTER,
    StandoffDocument,
    check_id,
    check_label,
    read_standoff,
    read_standoff_texts,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

TEXT_PATTERN = re.compile(r"([^\t|]+)\|([ta])\|(.*)", re.DOTALL)
ID_END_PATTERN = re.compile(r"[\t|]")
# No number longer than this: the limit of Python is 4,300 digits, and no text is that long.
OFFSET_PATTERN = re.compile(r"-?[0-9]{1,15}")
RELATION_COLUMNS = range(4, 6)  # id, kind, two concept ids, perhaps whether it is new
ANNOTATION_COLUMNS = range(5, 8)  # id, start, end, text, label, concept id, individual mentions
SNIFFED_BYTES = 1024
NO_CONCEPT = frozenset({"", "-", "-1", "None"})
TITLE_END_PATTERN = re.compile(r"(?<=[.?!]) (?=\S)")
BYTE_ORDER_MARK = "\ufeff"


def is_pubtator(head: FileHead) -> bool:
    """Whether the first line is a title or an abstract."""
    if head.structure != "text":
        return False
    # The first line may be longer than the head of the file.
    start = head.file.open_stream().read(SNIFFED_BYTES).decode(errors="ignore")
    return TEXT_PATTERN.match(start.lstrip()) is not None


def _read_documents(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    return refuse_other_kinds(_read_each(head, import_log))


def _read_each(head: FileHead, import_log: ImportLog) -> Iterator[StandoffDocument]:
    document, good_ids = _DocumentLines(""), set[str]()
    misplaced = dict[str, FormatError]()  # of rows, by the ids that they name
    is_apart = False  # whether a blank line stands above
    for number, raw in enumerate(head.file.open_lines(), start=1):
        line = raw.decode().rstrip("\r\n")
        if not line.strip():
            is_apart = True
            continue
        found = TEXT_PATTERN.fullmatch(line)
        name = ID_END_PATTERN.split(line, maxsplit=1)[0]
        error = None
        if not found and name != document.id:
            where = f"{head.path}, line {number}"
            # Without a tab it names no document, as where blanks stand for tabs.
            has_name = len(name) < len(line)
            error = _misplaced(where, name, document.id) if has_name else _unknown(where, line)
            if name in good_ids:  # it lacks this row, and cannot be called back
                raise error
            if has_name:
                misplaced.setdefault(name, error)
        is_new = found is not None and (name != document.id or found[2] in document.parts)
        is_odd_title = error is not None and (is_apart or line[len(name) :].startswith("|"))
        if is_new or is_odd_title:
            if document.close(import_log):
                yield document.standoff
                good_ids |= {document.id} if document.standoff.error is None else set()
            document = _DocumentLines(name)
            error = error or misplaced.get(name)
        if error is not None:
            document.refuse(error)
        elif found:
            document.parts[found[2]] = found[3]
        else:
            document.add_row(line, f"{head.path}, line {number}")
        is_apart = False
    if document.close(import_log):
        yield document.standoff


def _misplaced(where: str, name: str, above: str) -> FormatError:
    return FormatError(
        f"{where} belongs to document {name!r:.40}, but stands below document {above!r:.40}: put "
        "each line below its title",
        code="pubtator-other-document",
    )


def _unknown(where: str, line: str) -> FormatError:
    return FormatError(
        f"{where} is {line!r:.60}, but PubTator's lines are like "
        "ID|t|title, ID|a|abstract or ID TAB 0 TAB 8 TAB delirium TAB Disease",
        code="pubtator-line-unknown",
    )


class _DocumentLines:
    # Lines of one document, until the next begins.
    def __init__(self, identifier: str) -> None:
        self.id = identifier
        self.parts: dict[str, str] = {}  # title "t" and abstract "a"
        self.standoff = StandoffDocument(identifier, "")
        self._left_out = Counter[str]()

    def refuse(self, error: FormatError) -> None:
        self.standoff.error = self.standoff.error or error

    def add_row(self, line: str, where: str) -> None:
        columns = line.split("\t")
        are_offsets = [OFFSET_PATTERN.fullmatch(one) is not None for one in columns[1:3]]
        is_ours = columns[0] == self.id
        if is_ours and all(are_offsets) and len(columns) in ANNOTATION_COLUMNS:
            self._add_annotation(columns)
        elif is_ours and are_offsets[:1] == [False] and len(columns) in RELATION_COLUMNS:
            self._left_out["relation"] += 1
        else:
            self.refuse(_unknown(where, line))

    def _add_annotation(self, columns: list[str]) -> None:
        _, start, end, text, label, *others = columns
        self.standoff.add_annotation(label or None, [(int(start), int(end))], text)
        self._left_out["concept id"] += others[:1] != [] and others[0] not in NO_CONCEPT
        self._left_out["individual mention"] += len(others[1].split("|")) if others[1:] else 0

    def close(self, import_log: ImportLog) -> bool:
        # Whether there is a document, which may be an odd one.
        if self.standoff.error is not None:
            return True
        if not self.parts:
            return False
        title, abstract = self.parts.get("t"), self.parts.get("a", "")
        self.standoff.text = (
            f"{title} {abstract}" if title is not None and abstract else (title or abstract)
        )
        for kind, count in (+self._left_out).items():
            import_log.record_warning(kind, self.id, count=count)
        return True


def _serialize(document: Document, _config: LabelConfig) -> SerializedDocument:
    name = document.id
    is_valid = re.fullmatch(r"[^\t|\r\n\0]+", name) is not None and name == name.strip()
    check_id(name, is_valid=is_valid, format_name="PubTator")
    for label in {span.label for span in document.spans}:
        is_valid = bool(label) and not re.search(r"[\t\r\n\0]", label) and label == label.strip()
        check_label(label, is_valid=is_valid, format_name="PubTator")
    text, line_ends = re.subn(r"[\r\n]", " ", document.text)
    text = text.replace(NUL, REPLACEMENT_CHARACTER)
    title, abstract = _split_title(document.text, text)
    rows = [f"{name}|t|{title}\n{name}|a|{abstract}\n"]
    for span in document.spans:
        covered = text[span.start : span.end].replace("\t", " ")
        rows.append(f"{name}\t{span.start}\t{span.end}\t{covered}\t{span.label}\n")
    # At the very start of a file, this character is a byte order mark.
    mark = "\n" if name.startswith(BYTE_ORDER_MARK) else ""
    return SerializedDocument(
        mark + "".join(rows) + "\n",
        masked_range_count=len(document.masked_ranges),
        replaced_characters=line_ends + document.text.count(NUL),
    )


def _split_title(text: str, written: str) -> tuple[str, str]:
    # At the first line end, or at the blank behind the first sentence: a blank joins both again.
    place = min((found for found in map(text.find, "\r\n") if found >= 0), default=-1)
    if place < 0 and (sentence := TITLE_END_PATTERN.search(text)):
        place = sentence.start()
    if place < 0 or not written[place + 1 :]:
        return written, ""
    return written[:place], written[place + 1 :]


PUBTATOR_FORMAT = FileFormat(
    name="PubTator",
    matches=is_pubtator,
    read_annotations=read_standoff(
        _read_documents,
        "give title and abstract as annotated; offsets count one blank between",
    ),
    read_texts=read_standoff_texts(_read_documents),
    writer=FormatWriter(
        option="pubtator",
        description="PubTator",
        serialize=_serialize,
        replacement="line ends are in it as blanks, or NUL characters as U+FFFD",
    ),
)
