"""What a format is: a name, a way to recognise it, and a way to read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backend.label_studio import LabelConfig, require_plain_text
from ner.document import Document
from training.corpus.annotators import Hearing
from training.corpus.ledger import Ledger
from training.corpus.peek import Peek


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read.

    Attributes:
        annotators: What to do where several people annotated the same task.
        config: The project's labelling config; without one, data key and labels are found in the
            files themselves.
    """

    annotators: Hearing = "majority"
    config: LabelConfig | None = None

    def __post_init__(self) -> None:
        """Check that the offsets of exports count what is in them.

        Raises:
            FormatError: If the config says that the tasks hold addresses or encoded texts.
        """
        if self.config is not None:
            require_plain_text(self.config)


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        name: As messages call it.
        recognise: Whether a file is of this format, by its content.
        read: Streams the documents; what is lost or judged goes into the ledger.
    """

    name: str
    recognise: Callable[[Peek], bool]
    read: Callable[[Peek, ReadOptions, Ledger], Iterator[Document]]
