"""Documents -> a file in one of the formats that have a writer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.formats.registry import WRITERS
from tagalong.backend.label_studio.results import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.ner.document import Document, DroppedAnnotation


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a file holds, and what its format cannot hold.

    Attributes:
        document_count: Documents in the file.
        dropped: Annotations that are not in it.
        masked_range_count: Unlabeled spans that look free of entities in it.
        replaced_characters: Characters that are U+FFFD in it.
    """

    document_count: int
    dropped: tuple[DroppedAnnotation, ...] = ()
    masked_range_count: int = 0
    replaced_characters: int = 0


def write_documents(
    documents: Sequence[Document],
    path: Path,
    output_format: str,
    *,
    config: LabelConfig | None = None,
    overwrite: bool = False,
) -> WriteResult:
    """Write documents to a file, whole or not at all.

    Args:
        documents: In the order of the file.
        path: The file; folders above it are made.
        output_format: A key of `WRITERS`, such as "jsonl".
        config: For "label-studio", the config of the project to import into.
        overwrite: Whether an existing file may be replaced.

    Returns:
        What the file holds, and what not.

    Raises:
        OutputError: If the file exists already, or cannot be written, or if the format cannot hold
            a label.
    """
    writer = WRITERS[output_format]
    parts = [writer.serialize(document, config or DEFAULT_LABEL_CONFIG) for document in documents]
    held = [part.content for part in parts if part.content]
    write_atomically({path: writer.join(held)}, overwrite=overwrite)
    return WriteResult(
        len(held),
        tuple(entry for part in parts for entry in part.dropped),
        sum(part.masked_range_count for part in parts),
        sum(part.replaced_characters for part in parts),
    )
