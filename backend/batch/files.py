"""A file or folder as the source of a batch, and a file of predictions as its sink."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tagalong.backend.batch.journal import BatchJournal, DocumentState
from tagalong.backend.batch.models import BatchModels
from tagalong.backend.batch.source_and_sink import (
    PredictionSink,
    SourceAndSink,
    build_label_maps,
    compute_config_digest,
)
from tagalong.backend.documents.source_item import SourceItem
from tagalong.backend.formats.registry import (
    choose_prediction_writer,
    detect_format,
    has_folder_format,
    read_texts,
)
from tagalong.backend.formats.sniff import FileHead, sniff_file
from tagalong.backend.formats.text_file import TextFile, check_utf8
from tagalong.backend.label_studio.label_config import DEFAULT_LABEL_CONFIG, LabelConfig
from tagalong.backend.label_studio.label_map import LabelMap
from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import BatchError, InputError, OutputError


class FileSource(AbstractContextManager["FileSource"]):
    """The texts of a file, from the first, for each pass; a pass opens the file once.

    A second pass may come hours later, so it opens the file again and sees what was edited. The
    first pass uses the file that was opened and checked to make this source. The labelling config
    says where a task has its text.

    Raises:
        InputError: If the file cannot be read, or its format is unknown.
    """

    def __init__(self, path: Path, config: LabelConfig | None = None) -> None:
        self._path, self._config = path, config
        self._unread: FileHead | None = self._open()
        try:
            form = detect_format(self._unread, "texts")
            self.total_items = (  # when the source was made
                sum(1 for _ in read_texts(form, self._unread, config))
                if form.count is None
                else form.count(self._unread)
            )
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if no pass has begun."""
        head, self._unread = self._unread, None
        if head is not None:
            head.file.close()

    def __iter__(self) -> Iterator[SourceItem]:
        """Read the texts in the order of the file; raise InputError if it is broken."""
        head, self._unread = self._unread or self._open(), None
        with head.file:
            yield from read_texts(detect_format(head, "texts"), head, self._config)

    def _open(self) -> FileHead:
        file = TextFile(self._path)
        try:
            return sniff_file(file)
        except BaseException:
            file.close()
            raise


class FolderSource:
    """The texts of a folder and all folders in it: files ``*.txt``, in the order of their names.

    Letter case does not matter: ``NOTE.TXT`` is one of them.

    Raises:
        InputError: If there is no such file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.total_items = len(self._list_files())

    def __iter__(self) -> Iterator[SourceItem]:
        """Read the texts; a file that cannot be read, or is not UTF-8, has the reason."""
        for position, path in enumerate(self._list_files()):
            key = path.relative_to(self._folder).as_posix()
            try:
                with TextFile(path) as file:
                    check_utf8(file.open_stream(), path)
                    text = file.open_stream().read().decode()
                yield SourceItem(position, key, Document(key, text))
            except InputError as error:
                yield SourceItem(position, key, None, str(error))

    def _list_files(self) -> list[Path]:
        found = TextFile(self._folder).list_files(".txt")
        # To open a pipe would wait for its writer. A dead link is reported.
        paths = [path for path in found if path.is_file() or path.is_symlink()]
        if not paths:
            raise InputError(
                f"the folder {self._folder} has no file *.txt: name one with texts in it",
                code="folder-without-texts",
            )
        return paths


def open_source(
    path: Path, config: LabelConfig | None = None
) -> AbstractContextManager[FileSource | FolderSource]:
    """Open a file or folder in any format that has texts, or a folder of plain texts."""
    if path.is_dir() and not has_folder_format(path):
        return nullcontext(FolderSource(path))
    return FileSource(path, config)


class PredictionsFileSink(PredictionSink):
    """A file of predictions, in the order of the source, without the documents that failed."""

    def __init__(
        self,
        path: Path,
        *,
        config: LabelConfig | None = None,  # the names that tasks use
        label_maps: Mapping[str, LabelMap] | None = None,  # by version; labels without a map stay
    ) -> None:
        self._path, self._config = path, config or DEFAULT_LABEL_CONFIG
        self._label_maps = label_maps or {}
        self._writer = choose_prediction_writer(path)
        self.output_kind = self._writer.description

    def serialize(self, document: Document, prediction: Prediction) -> str:
        """The prediction in the file's format and the config's labels."""
        if prediction.version in self._label_maps:
            prediction = self._label_maps[prediction.version].apply(document, prediction)
        assert self._writer.serialize_prediction is not None  # noqa: S101 (it was chosen so)
        return self._writer.serialize_prediction(document, prediction, self._config)

    def on_source_end(self, journal: BatchJournal, last_position: int) -> None:
        """Raise BatchError if the source has lost the documents at its end."""
        # Entries are known by their number, so a missing document means that others have moved.
        entry = journal.read_last_entry()
        if entry is not None and entry.position > last_position:
            raise BatchError(
                f"the source has changed since the batch began, its document {entry.key!r} is not "
                f"there any more: move {journal.path} away to begin again, or restore the source",
                code="batch-source-changed",
            )

    def finish(self, journal: BatchJournal) -> None:
        """Write the file, whole or not at all; raise OutputError if that fails."""
        entries = journal.iterate_entries()
        payloads = (one.payload for one in entries if one.state is not DocumentState.FAILED)
        write_atomically({self._path: self._writer.join(payloads)}, overwrite=True)


@contextmanager
def open_files(
    path: Path, out: Path, models: BatchModels, *, config: LabelConfig | None = None
) -> Iterator[SourceAndSink]:
    """Make a batch's source and sink of a file or folder and an output file."""

    def check(journal: Path) -> None:
        # A journal means that an earlier run of this batch wrote the file.
        if out.exists() and not journal.exists():
            raise OutputError(f"{out} is there already: choose another name", code="output-exists")

    with open_source(path, config) as source:
        maps, notes = ({}, ()) if config is None else build_label_maps(models, config, "the config")
        sink = PredictionsFileSink(out, config=config, label_maps=maps)
        yield SourceAndSink(
            source_name=str(path.resolve()),
            config_digest=compute_config_digest(config),
            output_kind=sink.output_kind,
            items=source,
            total_items=source.total_items,
            sink=sink,
            destination=str(out),
            journal_path=out.with_name(f"{out.name}.journal"),
            notes=notes,
            check_journal_path=check,
        )
