"""The description of a file format: how to recognize a file, read it, and write one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tagalong.backend.annotations.annotators import AnnotatorPolicy
from tagalong.backend.annotations.import_log import ImportLog
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.columns import ColumnOptions
from tagalong.backend.formats.sniff import FileHead
from tagalong.backend.label_studio.label_config import LabelConfig, require_plain_text
from tagalong.ner.document import Document, DroppedAnnotation, Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read annotations.

    Raises:
        FormatError: If the config says that tasks hold URLs or encoded texts.
    """

    annotator_policy: AnnotatorPolicy = "majority"  # where several people annotated the same task
    label_config: LabelConfig | None = None  # None: data key and labels come from the file
    columns: ColumnOptions = field(default_factory=ColumnOptions)  # of files of tokens and tags

    def __post_init__(self) -> None:
        # Offsets of an export count characters of a text that must be in the export.
        if self.label_config is not None:
            require_plain_text(self.label_config)


@dataclass(frozen=True, slots=True)
class SerializedDocument:
    """One document in a file, and what the format cannot hold."""

    content: str  # the document's part of the file; empty where the format cannot hold it at all
    dropped: tuple[DroppedAnnotation, ...] = ()  # annotations that are not in it
    masked_range_count: int = 0  # ranges that look free of entities in it
    replaced_characters: int = 0  # characters that are others in it: see `FormatWriter.replacement`


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatWriter:
    """How to write files of a format."""

    option: str  # the format's name on the command line
    description: str  # of the file's content, for sentences and journals
    serialize: Callable[[Document, LabelConfig], SerializedDocument]
    join: Callable[[Iterable[str]], Iterator[str | bytes]] = iter  # makes a file of its documents
    # Relative names and contents of a document's files, from its serialized part, where the format
    # is a folder.
    name_files: Callable[[Document, str], Mapping[str, str]] | None = None
    replacement: str = "NUL characters are in it as U+FFFD"  # of characters, after their number
    # Writes one prediction with scores and version; None where the format cannot hold them.
    serialize_prediction: Callable[[Document, Prediction, LabelConfig], str] | None = None
    suffix: str = ""  # a file name's ending that chooses this format for predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """A file format. `matches` and `read_annotations` are enough for every command that reads."""

    name: str  # in messages and help
    matches: Callable[[FileHead], bool]  # whether a file has this format, by its content
    # Streams the annotated documents, and logs losses. None: the format holds texts only.
    read_annotations: Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]] | None = None
    # Streams the texts to predict. None: the documents of `read_annotations`.
    read_texts: Callable[[FileHead, LabelConfig | None], Iterator[SourceItem]] | None = None
    # Streams predicted documents. None: the annotations count as predictions.
    read_predictions: Callable[[FileHead, ReadOptions, ImportLog], Iterator[Document]] | None = None
    count: Callable[[FileHead], int] | None = None  # counts the texts cheaply. None: by reading
    writer: FormatWriter | None = None  # None where files of this format are never written
