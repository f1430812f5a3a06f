"""The description of a file format: how to recognize a file, read it, and write one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tagalong.backend.annotations.annotators import AnnotatorPolicy
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.results import LabelConfig, require_plain_text
from tagalong.ner.document import Document, DroppedAnnotation, Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read annotations.

    Attributes:
        annotator_policy: What to do where several people annotated the same task.
        label_config: The project's labelling config. None: data key and labels come from the file.

    Raises:
        FormatError: If the config says that tasks hold URLs or encoded texts.
    """

    annotator_policy: AnnotatorPolicy = "majority"
    label_config: LabelConfig | None = None

    def __post_init__(self) -> None:
        # Offsets of an export count characters of a text that must be in the export.
        if self.label_config is not None:
            require_plain_text(self.label_config)


@dataclass(frozen=True, slots=True)
class SerializedDocument:
    """One document in a file, and what the format cannot hold.

    Attributes:
        content: The document's part of the file; empty where the format cannot hold it at all.
        dropped: Annotations that are not in it.
        masked_range_count: Unlabeled spans that look free of entities in it.
        replaced_characters: Characters that are U+FFFD in it.
    """

    content: str
    dropped: tuple[DroppedAnnotation, ...] = ()
    masked_range_count: int = 0
    replaced_characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatWriter:
    """How to write files of a format.

    Attributes:
        option: The format's name on the command line.
        description: What a file holds, for sentences and journals.
        serialize: Writes one document.
        join: Writes a file from its documents.
        serialize_prediction: Writes one prediction with its scores and version; None where the
            format cannot hold them.
        suffix: A file name's ending that chooses this format for predictions.
    """

    option: str
    description: str
    serialize: Callable[[Document, LabelConfig], SerializedDocument]
    join: Callable[[Iterable[str]], Iterator[str]]
    serialize_prediction: Callable[[Document, Prediction, LabelConfig], str] | None = None
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """A file format. `matches` and `read_annotations` are enough for every command that reads.

    Attributes:
        name: The format's name in messages and help.
        matches: Whether a file has this format, by its content.
        read_annotations: Streams the annotated documents, and logs what is lost. None: the format
            holds texts only.
        read_texts: Streams the texts to predict. None: the documents of `read_annotations`.
        read_predictions: Streams documents without spans, and their predictions. None: the
            annotations count as predictions.
        count: Counts the texts cheaply. None: by reading them.
        writer: None where files of this format are never written.
    """

    name: str
    matches: Callable[[FileHead], bool]
    read_annotations: Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]] | None = None
    read_texts: Callable[[FileHead, LabelConfig | None], Iterator[SourceItem]] | None = None
    read_predictions: Callable[[FileHead], Iterator[tuple[Document, Prediction]]] | None = None
    count: Callable[[FileHead], int] | None = None
    writer: FormatWriter | None = None
