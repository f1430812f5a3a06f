"""One document of a source, or the reason why it cannot be read."""

from dataclasses import dataclass

from tagalong.ner.document import Document


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What a source has at one position."""

    position: int  # increases in the order of the source: a record's number from 0, or a task's id
    key: str  # the document's id, unique in the source
    document: Document | None  # None where the item cannot be read
    read_error: str = ""  # the reason, one sentence
    is_predicted: bool = False  # whether a prediction existed before this batch
