"""Label Studio's CSV and TSV exports: JSON_MIN as a table, with one row per annotation.

A control's column has its regions as JSON. Cancelled annotations, drafts and ground truth marks are
not in it; JSON has more. A file that we write has a column for each key of the documents' meta.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from tagalong.backend.formats.file_format import FileFormat, FormatWriter, SerializedDocument
from tagalong.backend.formats.label_studio_min import read_item_tasks
from tagalong.backend.formats.label_studio_tasks import read_adjudicated, read_texts_of_tasks
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.standoff import NUL, REPLACEMENT_CHARACTER, check_id
from tagalong.backend.formats.tables import DELIMITERS, format_row, parse_header, read_rows
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    VARIABLE,
    first_step,
    place_texts,
    result_from_spans,
)
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError

EXPORT_COLUMNS = frozenset({"annotator", "annotation_id", "lead_time"})  # of every release
LAST_COLUMNS = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")
TEXT_COLUMN = "text"  # of the text, unless a labelling config names another one


def is_label_studio_csv(head: FileHead) -> bool:
    """Whether the header has the columns that the export adds."""
    return head.structure == "text" and _find_delimiter(head) is not None


def _find_delimiter(head: FileHead) -> str | None:
    return next((one for one in DELIMITERS if {*parse_header(head, one)} >= EXPORT_COLUMNS), None)


def _read_items(head: FileHead, config: LabelConfig | None) -> Iterator[dict[str, Any]]:
    paths = [path for text in config.texts for path in _data_paths(text)] if config else []
    texts = {TEXT_COLUMN, *paths}
    for number, (_, row) in enumerate(read_rows(head, _find_delimiter(head) or ","), start=1):
        item: dict[str, Any] = {
            name: _parse_cell(cell, is_text=name in texts) for name, cell in row.items()
        }
        nested = {first_step(path) for path in paths if path not in row} & row.keys()
        yield {
            **item,
            **{name: _parse_nested(row[name]) for name in nested},
            "id": row.get("id") or number,
            "annotation_id": row["annotation_id"] or None,
        }


def _data_paths(text: LabelConfig) -> list[str]:
    variables = VARIABLE.findall(text.template)
    return [variable[1:] for variable in variables] or [text.data_key]


def _parse_nested(cell: str) -> object:
    # The objects and arrays of a task's data are JSON in a cell.
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _parse_cell(cell: str, *, is_text: bool) -> object:
    # Regions, and numbers, which are no texts but in a column of texts; any other cell is text.
    value = _parse_nested(cell)
    is_regions = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    is_number = isinstance(value, int | float) and not is_text
    return value if is_regions or is_number else cell


def _serialize(document: Document, config: LabelConfig) -> SerializedDocument:
    # The cells of the row as JSON.
    if config.other_texts:
        raise FormatError(
            "Label Studio's CSV does not say which text each region is in, and the labelling "
            "config has several: export JSON, which does",
            code="regions-without-object",
        )
    if config.control in (config.data_key, "id", *LAST_COLUMNS):
        raise FormatError(
            f"the labelling config's control {config.control!r:.60} has the name of another column "
            "of Label Studio's CSV: rename it, or choose another format",
            code="control-like-a-column",
        )
    place_texts(document, config)  # refuses a text of several values
    check_id(document.id, is_valid=bool(document.id) and NUL not in document.id, format_name="CSV")
    held = replace(document, text=document.text.replace(NUL, REPLACEMENT_CHARACTER))
    regions = [item["value"] for item in result_from_spans(held, held.spans, config)]
    meta = {" ".join(name.split()): _format_value(value) for name, value in document.meta.items()}
    row = {
        config.data_key: held.text,
        "id": document.id,
        config.control: json.dumps(regions, ensure_ascii=False) if regions else "",
    }
    row |= {name: meta[name] for name in meta if name and name not in (*row, *LAST_COLUMNS)}
    return SerializedDocument(
        json.dumps(row),
        masked_range_count=len(document.masked_ranges),
        replaced_characters=document.text.count(NUL),
    )


def _format_value(value: object) -> str:
    cell = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cell.replace(NUL, REPLACEMENT_CHARACTER)


def _join(documents: Iterable[str]) -> Iterator[str]:
    rows = [json.loads(document) for document in documents]
    columns = list(dict.fromkeys([*(name for row in rows for name in row), *LAST_COLUMNS]))
    yield format_row(columns, ",")
    for number, row in enumerate(rows, start=1):
        cells = {**row, "annotator": "1", "annotation_id": str(number)}
        yield format_row((cells.get(name, "") for name in columns), ",")


LABEL_STUDIO_CSV_FORMAT = FileFormat(
    name="Label Studio CSV or TSV",
    matches=is_label_studio_csv,
    read_annotations=read_adjudicated(partial(read_item_tasks, read_items=_read_items)),
    read_texts=read_texts_of_tasks(partial(read_item_tasks, read_items=_read_items)),
    writer=FormatWriter(
        option="label-studio-csv",
        description="Label Studio's CSV",
        serialize=_serialize,
        join=_join,
    ),
)
