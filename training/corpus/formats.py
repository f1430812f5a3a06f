"""What a format is: a name, a way to recognise it, and a way to read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tagalong.backend.label_studio.results import LabelConfig, require_plain_text
from tagalong.ner.document import Document
from tagalong.training.corpus.annotators import AnnotatorPolicy
from tagalong.training.corpus.import_log import ImportLog
from tagalong.training.corpus.sniff import FileHead


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read.

    Attributes:
        annotator_policy: What to do where several people annotated the same task.
        label_config: The project's labelling config; without one, data key and labels are found in the
            files themselves.
    """

    annotator_policy: AnnotatorPolicy = "majority"
    label_config: LabelConfig | None = None

    def __post_init__(self) -> None:
        """Check that the offsets of exports count what is in them.

        Raises:
            FormatError: If the config says that the tasks hold addresses or encoded texts.
        """
        if self.label_config is not None:
            require_plain_text(self.label_config)


@dataclass(frozen=True, slots=True)
class CorpusFormat:
    """A file format.

    Attributes:
        name: As messages call it.
        matches: Whether a file is of this format, by its content.
        read: Streams the documents; what is lost or judged goes into the ledger.
    """

    name: str
    matches: Callable[[FileHead], bool]
    read: Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]]
