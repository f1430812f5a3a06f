"""Documents -> a file in one of the formats that have a writer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tagalong.backend.formats.registry import WRITERS
from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.backend.storage.atomic_files import write_atomically, write_folder_atomically
from tagalong.ner.document import Document, DroppedAnnotation


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a file holds, and what its format cannot hold."""

    document_count: int
    dropped: tuple[DroppedAnnotation, ...] = ()  # not in the file
    masked_range_count: int = 0  # ranges that look free of entities in the file
    replaced_characters: int = 0  # see `FormatWriter.replacement`


def write_documents(
    documents: Sequence[Document],
    path: Path,
    output_format: str,
    *,
    config: LabelConfig | None = None,
    overwrite: bool = False,
) -> WriteResult:
    """Write documents to a file or folder, whole or not at all.

    `output_format` is a key of `WRITERS`; "label-studio" needs the config of the project to import
    into.

    Raises:
        OutputError: If the file exists already, or cannot be written, or if the format cannot hold
            a label or an id. A folder is never overwritten.
    """
    writer = WRITERS[output_format]
    # A format of words has nothing to write for a document without words.
    parts = [writer.serialize(document, config or DEFAULT_LABEL_CONFIG) for document in documents]
    if name_files := writer.name_files:
        pairs = zip(documents, parts, strict=True)
        files = [name_files(document, part.content) for document, part in pairs]
        count = sum(map(bool, files))
        write_folder_atomically(path, chain.from_iterable(one.items() for one in files))
    else:
        held = [part.content for part in parts if part.content]
        count = len(held)
        write_atomically({path: writer.join(held)}, overwrite=overwrite)
    return WriteResult(
        count,
        tuple(entry for part in parts for entry in part.dropped),
        sum(part.masked_range_count for part in parts),
        sum(part.replaced_characters for part in parts),
    )
