"""CoNLL files: a token and its tag a line, blank lines between sentences.

The token is the first column and the tag the last; columns are set apart by tabs, or by blanks in
a line without tabs. A document is one sentence, unless ``-DOCSTART-`` lines say which sentences
belong together. Its text is its tokens joined by one blank (sentences by a line feed): what stood
between them is not in the file.

Entities are read by conlleval's rule (Tjong Kim Sang & De Meulder 2003): one begins at B-, S- or
U-, and at an I-, E- or L- that has nothing of its label to go on with. So IOB1, IOB2, IOBES and
BILOU are all read alike, and an I- out of place begins an entity, which is counted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tagalong.backend.documents.offsets import RawSpan
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.training.corpus.formats import CorpusFormat, ReadOptions
from tagalong.training.corpus.import_log import ImportLog
from tagalong.training.corpus.sniff import FileHead, open_text
from tagalong.training.corpus.span_validation import validate_raw_spans

TAG_PATTERN = re.compile(r"O|[BIESLU]-\S.*")
BEGIN_PREFIXES = frozenset("BSU")
END_PREFIXES = frozenset("ESLU")
DOCSTART_LINE = "-DOCSTART-"
MAX_SNIFFED_LINES = 20  # rows that must look right before a file is taken for CoNLL

TaggedToken = tuple[str, str]
TaggedSentence = list[TaggedToken]


def is_conll(head: FileHead) -> bool:
    """Whether a file has tokens and tags.

    Args:
        head: What the start of the file tells.

    Returns:
        True when each of the first rows ends in a tag.
    """
    rows = [line for line in head.head_lines if line.strip() and not _is_comment(line)]
    shown = rows[:MAX_SNIFFED_LINES]
    return head.structure == "text" and bool(shown) and all(_parse_row(row) for row in shown)


def read_conll(head: FileHead, options: ReadOptions, import_log: ImportLog) -> Iterator[Document]:
    """Read documents.

    Args:
        head: What the start of the file tells.
        options: How to read; of it only the labelling config matters.
        import_log: Gets what is lost, and what had to be judged.

    Yields:
        A document per sentence, or per ``-DOCSTART-`` where there are several.

    Raises:
        FormatError: If a line has no token or no tag.
    """
    for number, sentences in enumerate(_read_documents(head.path), start=1):
        # The name of a file may hold bytes that are no characters; an id must be written again.
        name = f"{escape_unprintable(head.path.stem)}#{number}"
        text = "\n".join(" ".join(token for token, _ in sentence) for sentence in sentences)
        document = Document(name, text)
        regions, offset = [], 0
        for sentence in sentences:
            found, orphans = _sentence_raw_spans(sentence, offset)
            regions += found
            offset += sum(len(token) + 1 for token, _ in sentence)
            if orphans:
                import_log.record_warning("I- without B-", name, count=orphans)
        spans = validate_raw_spans(
            document, regions, config=options.label_config, import_log=import_log
        )
        yield Document(name, text, spans)


CONLL_FORMAT = CorpusFormat("CoNLL", is_conll, read_conll)


def is_valid_conll_label(label: str) -> bool:
    """Whether a label comes back from the column of tags as it was written.

    Args:
        label: Any label.

    Returns:
        False for tabs, line ends, NUL, and white space at an edge.
    """
    return "\0" not in label and _parse_row(f"x\tB-{label}") == ("x", f"B-{label}")


def _read_documents(path: Path) -> Iterator[list[TaggedSentence]]:
    """The sentences of each document."""
    with open_text(path) as file:
        marks = sum(line.startswith(DOCSTART_LINE.encode()) for line in file)
    document: list[TaggedSentence] = []
    sentence: TaggedSentence = []
    # One mark at the top says nothing: Label Studio writes it whatever follows.
    grouped = marks > 1
    for row in _read_rows(path):
        if isinstance(row, tuple):
            sentence.append(row)
            continue
        if sentence:
            document.append(sentence)
            sentence = []
        if document and (row == DOCSTART_LINE or not grouped):
            yield document
            document = []


def _read_rows(path: Path) -> Iterator[TaggedToken | str]:
    """Rows, and between them the breaks: of a sentence "", of a document DOCSTART."""
    with open_text(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.decode().rstrip("\r\n")
            if line.startswith(DOCSTART_LINE):
                yield DOCSTART_LINE
            elif not line.strip():
                yield ""
            elif row := _parse_row(line):
                yield row
            elif not _is_comment(line):
                raise FormatError(
                    f"{path}, line {number} is {line!r:.60}, not a token and a tag such as "
                    "O or B-Disease in the first and the last column"
                )
    yield DOCSTART_LINE  # the end of the file ends a document too


def _parse_row(line: str) -> TaggedToken | None:
    """Token and tag of a line, or None where it has none."""
    columns = line.split("\t") if "\t" in line else line.split(" ")
    token, tag = columns[0], columns[-1].strip()
    return (token, tag) if len(columns) > 1 and token and TAG_PATTERN.fullmatch(tag) else None


def _is_comment(line: str) -> bool:
    """Whether a line is a comment, as CoNLL-U and its kin have them."""
    return line.startswith("#") and _parse_row(line) is None


def _sentence_raw_spans(sentence: Sequence[TaggedToken], offset: int) -> tuple[list[RawSpan], int]:
    """The entities of a sentence that starts at an offset, and how many I- began one."""
    starts, ends = [], []
    for token, _ in sentence:
        starts.append(offset)
        ends.append(offset + len(token))
        offset += len(token) + 1
    entities, orphans = _decode_entities(tag for _, tag in sentence)
    return [RawSpan(starts[i], ends[j], (label,)) for i, j, label in entities], orphans


def _decode_entities(tags: Iterable[str]) -> tuple[list[tuple[int, int, str]], int]:
    """First token, last token and label of each entity, and how many I- began one."""
    entities: list[tuple[int, int, str]] = []
    orphans, goes_on = 0, ""  # goes_on: the label of an entity that is still open
    for index, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if not label:
            goes_on = ""
            continue
        if prefix in BEGIN_PREFIXES or label != goes_on:
            orphans += prefix not in BEGIN_PREFIXES
            entities.append((index, index, label))
        else:
            entities[-1] = (entities[-1][0], index, label)
        goes_on = "" if prefix in END_PREFIXES else label
    return entities, orphans
