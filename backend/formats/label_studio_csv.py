"""Label Studio's CSV and TSV exports: JSON_MIN as a table, with one row per annotation.

A control's column has its regions as JSON. Cancelled annotations, drafts and ground truth marks are
not in it; JSON has more.
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from tagalong.backend.formats.file_format import FileFormat
from tagalong.backend.formats.label_studio import read_adjudicated, read_texts_of_tasks
from tagalong.backend.formats.label_studio_min import read_item_tasks
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.formats.tables import DELIMITERS, parse_header, read_rows

EXPORT_COLUMNS = frozenset({"annotator", "annotation_id", "lead_time"})  # of every release


def is_label_studio_csv(head: FileHead) -> bool:
    """Whether the header has the columns that the export adds."""
    return head.structure == "text" and _find_delimiter(head) is not None


def _find_delimiter(head: FileHead) -> str | None:
    return next((one for one in DELIMITERS if {*parse_header(head, one)} >= EXPORT_COLUMNS), None)


def _read_items(head: FileHead) -> Iterator[dict[str, Any]]:
    for number, (_, row) in enumerate(read_rows(head, _find_delimiter(head) or ","), start=1):
        item: dict[str, Any] = {name: _parse_cell(cell) for name, cell in row.items()}
        yield {
            **item,
            "id": row.get("id") or number,
            "annotation_id": row["annotation_id"] or None,
        }


def _parse_cell(cell: str) -> object:
    # Regions, and numbers, which are no texts; any other cell is text.
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    is_regions = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    return value if is_regions or isinstance(value, int | float) else cell


LABEL_STUDIO_CSV_FORMAT = FileFormat(
    name="Label Studio CSV or TSV",
    matches=is_label_studio_csv,
    read_annotations=read_adjudicated(partial(read_item_tasks, read_items=_read_items)),
    read_texts=read_texts_of_tasks(partial(read_item_tasks, read_items=_read_items)),
)
