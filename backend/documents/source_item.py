"""One document of a source, or the reason why it cannot be read."""

from dataclasses import dataclass

from tagalong.ner.document import Document


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What a source has at one position.

    Attributes:
        position: Increases in the order of the source: a record's number from 0, or a task's id.
        key: The document's id, unique in the source.
        document: None where the item cannot be read.
        read_error: The reason, one sentence.
        is_predicted: Whether a prediction existed before this batch.
    """

    position: int
    key: str
    document: Document | None
    read_error: str = ""
    is_predicted: bool = False
