"""Tables of texts to predict: CSV or TSV with a header, as Label Studio imports tasks.

The text is in the column that the labelling config names, else in "text", else in the only column
with sentences. The other columns are the meta, and "id" is the id.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.file_format import FileFormat
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.tables import DELIMITERS, parse_header, read_rows
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import CONFIG_ADVICE, format_names
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.words import word_offsets

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
TEXT_COLUMN, ID_COLUMN = "text", "id"
SENTENCE_WORDS = 3  # a cell with as many words may be a text
MAX_SNIFFED_ROWS, MAX_SNIFFED_CHARACTERS = 50, 200  # and characters of a cell


def is_text_table(head: FileHead) -> bool:
    """Whether a file is a table, by its name or by a column "text" among others."""
    # Prose with commas can look like a table: so the name decides here, but for a clear header.
    is_table = has_text_column(head) or head.path.suffix.lower() in TABLE_SUFFIXES
    return head.structure == "text" and is_table


def has_text_column(head: FileHead) -> bool:
    """Whether the first line names a column "text" among others."""
    columns = parse_header(head, _choose_delimiter(head)) if head.structure == "text" else ()
    return len(columns) > 1 and TEXT_COLUMN in columns


def read_text_table(head: FileHead, config: LabelConfig | None) -> Iterator[SourceItem]:
    """Read a document from each row.

    Raises:
        FormatError: If there is no header, or the column of the text is not clear.
    """
    delimiter = _choose_delimiter(head)
    columns = _check_header(head, delimiter, config)
    if next(read_rows(head, delimiter), None) is None:
        raise FormatError(
            f"{head.path} has a header and no rows: export the table again", code="table-empty"
        )
    column = _find_text_column(head, delimiter, columns) if config is None else ""
    id_column = _find_column(columns, ID_COLUMN)
    for position, (where, row) in enumerate(read_rows(head, delimiter)):
        name = (id_column and row[id_column]) or str(position + 1)
        if config is None:
            meta = {key: cell for key, cell in row.items() if key not in (column, id_column)}
            yield SourceItem(position, name, Document(name, row[column], meta=meta))
            continue
        try:
            document = TaskTextReader().read_document(
                {"id": name, "data": row}, config, where=where
            )
            yield SourceItem(position, name, document)
        except InputError as error:
            yield SourceItem(position, name, None, str(error))


def _choose_delimiter(head: FileHead) -> str:
    return max(DELIMITERS, key=lambda one: len(parse_header(head, one)))


def _check_header(head: FileHead, delimiter: str, config: LabelConfig | None) -> tuple[str, ...]:
    columns = parse_header(head, delimiter)
    unusual = [name for name in columns if columns.count(name) > 1 or name.isdecimal()]
    if not columns or unusual or any(map(_is_sentence, columns)):
        raise FormatError(
            f"{head.path} begins with {format_names(columns)}, which are no names of columns: add "
            "a header line with a name for each, such as id and text",
            code="table-without-header",
        )
    if config is not None and not config.template and config.data_key not in columns:
        raise FormatError(
            f"{head.path} has no column {config.data_key!r}, where the labelling config expects "
            f"the text, only {format_names(columns)}: give the config of this project",
            code="table-without-text-column",
        )
    return columns


def _find_column(columns: Sequence[str], name: str) -> str | None:
    # The exact name goes first.
    alike = (one for one in columns if one.lower() == name)
    return name if name in columns else next(alike, None)


def _find_text_column(head: FileHead, delimiter: str, columns: Sequence[str]) -> str:
    named = _find_column(columns, TEXT_COLUMN)
    if named is not None or len(columns) == 1:
        return named or columns[0]
    rows = [row for _, row in islice(read_rows(head, delimiter), MAX_SNIFFED_ROWS)]
    texts = [name for name in columns if any(_has_words(row[name]) for row in rows)]
    if len(texts) == 1:
        return texts[0]
    raise FormatError(
        f"{head.path} has {len(texts) or 'no'} columns with texts "
        f"({format_names(texts or columns)}): {CONFIG_ADVICE}",
        code="table-text-not-unique",
    )


def _has_words(cell: str) -> bool:
    # Only words with letters: a date has none.
    words = (cell[start:end] for start, end in word_offsets(cell[:MAX_SNIFFED_CHARACTERS]))
    return sum(any(map(str.isalpha, word)) for word in words) >= SENTENCE_WORDS


def _is_sentence(name: str) -> bool:
    return _has_words(name) and name[-1] in ".!?。"


TEXT_TABLE_FORMAT = FileFormat(
    name="CSV or TSV with a text in each row",
    matches=is_text_table,
    read_texts=read_text_table,
    count=lambda head: sum(1 for _ in read_rows(head, _choose_delimiter(head))),
)
