"""Documents -> files that we, Label Studio or other tools read.

A file appears whole or not at all: it is written aside, flushed to the disk, then renamed.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.label_studio.results import (
    DEFAULT_LABEL_CONFIG,
    LabelConfig,
    result_from_spans,
)
from tagalong.ner.atomic_io import flush_to_disk, open_atomically
from tagalong.ner.document import Document, DroppedAnnotation
from tagalong.ner.errors import OutputError
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet
from tagalong.training.corpus.conll import is_valid_conll_label

OutputFormat = Literal["jsonl", "conll", "label-studio"]
PREDICTION_META_KEYS = frozenset(
    {"model_version", "score"}
)  # in the meta of a document made by a model
NUL, NUL_REPLACEMENT = (
    "\0",
    "\ufffd",
)  # a text file must not have the one; the other is a word as well
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What went into a file.

    Attributes:
        document_count: How many.
        dropped: Annotations that the format cannot hold.
        masked_range_count: Stretches whose truth is not known, which the format cannot say: whoever reads the
            file takes them for free of entities.
        replaced_characters: Characters of the texts that the format cannot hold, with U+FFFD in their place.
    """

    document_count: int
    dropped: tuple[DroppedAnnotation, ...] = ()
    masked_range_count: int = 0
    replaced_characters: int = 0


def write_documents(
    documents: Sequence[Document],
    path: Path,
    output_format: OutputFormat,
    *,
    config: LabelConfig | None = None,
    overwrite: bool = False,
) -> WriteResult:
    """Write documents to a file.

    Args:
        documents: In the order of the file.
        path: The file; folders above it are made.
        output_format: "jsonl" loses nothing. "label-studio" makes tasks to import, with annotations, or
            with predictions where a model made them. "conll" holds one tag a word.
        config: For "label-studio", the config of the project to import into.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        What went into the file, and what did not.

    Raises:
        OutputError: If the file is there already, or cannot be written, or if the format cannot
            hold a label.
    """
    lines, written = WRITERS[output_format](documents, config or DEFAULT_LABEL_CONFIG)
    write_atomically({path: lines}, overwrite=overwrite)
    return written


def write_atomically(files: Mapping[Path, Iterable[str]], *, overwrite: bool) -> None:
    """Write files so that they appear whole or not at all.

    Args:
        files: The pieces of text of each; they are not joined, so bring your own line ends.
        overwrite: Whether files that are there may be replaced.

    Raises:
        OutputError: If a file is there already, or cannot be written.
    """
    for path in files:
        if path.exists() and not (overwrite and path.is_file()):
            way_out = "choose another name" if overwrite else "choose another name, or add --force"
            raise OutputError(f"{path} is there already: {way_out}")
    with ExitStack() as stack:  # no file takes its place before all are on the disk
        for path, pieces in files.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open_atomically(path))
                file.writelines(piece.encode() for piece in pieces)
                flush_to_disk(file)
            except OSError as error:
                raise OutputError(f"{path} could not be written: {error.strerror}") from error


def documents_to_jsonl(documents: Iterable[Document]) -> Iterator[str]:
    """Write documents as JSON lines.

    Args:
        documents: In the order of the lines.

    Yields:
        One line each, line feed included.
    """
    for document in documents:
        yield json.dumps(document_to_json(document), ensure_ascii=False) + "\n"


def _format_jsonl(
    documents: Sequence[Document], _config: LabelConfig
) -> tuple[Iterable[str], WriteResult]:
    """Our own format, which loses nothing."""
    return documents_to_jsonl(documents), WriteResult(len(documents))


def _format_conll(
    documents: Sequence[Document], _config: LabelConfig
) -> tuple[Iterable[str], WriteResult]:
    """A word and its tag a line; what a document loses, and documents without words, are told."""
    tags = _conll_tag_set(documents)
    lost: list[DroppedAnnotation] = []
    blocks: list[str] = []
    replaced = 0
    for document in documents:
        tagged = tags.encode(document)
        lost += tagged.dropped
        # There is no tag for "unknown" in CoNLL.
        known = (OUTSIDE if tag == IGNORE_INDEX else tag for tag in tagged.tags)
        tokens = [document.text[start:end] for start, end in tagged.words]
        replaced += tokens.count(NUL)
        rows = [
            f"{NUL_REPLACEMENT if token == NUL else token}\t{tags.tag_names[tag]}\n"
            for token, tag in zip(tokens, known, strict=True)
        ]
        if rows:
            blocks.append("".join(rows) + "\n")
    written = WriteResult(len(blocks), tuple(lost), _count_masked_ranges(documents), replaced)
    # At the very start of a file it would be taken for the mark of the encoding.
    begins_marked = bool(blocks) and blocks[0].startswith(BYTE_ORDER_MARK)
    return ["\n", *blocks] if begins_marked else blocks, written


def _conll_tag_set(documents: Sequence[Document]) -> TagSet:
    """The tags of all labels that occur."""
    labels = sorted({span.label for document in documents for span in document.spans})
    if odd := [label for label in labels if not is_valid_conll_label(label)]:
        raise OutputError(
            f"the label {odd[0]!r} cannot stand in a CoNLL file, whose columns and lines it would "
            "break: rename it, or choose another format"
        )
    return TagSet(tuple(labels or ("unused",)))


def _count_masked_ranges(documents: Sequence[Document]) -> int:
    """How many stretches have no known truth."""
    return sum(len(document.masked_ranges) for document in documents)


def _format_tasks(
    documents: Sequence[Document], config: LabelConfig
) -> tuple[Iterable[str], WriteResult]:
    """Tasks for Label Studio's import."""
    tasks = (
        json.dumps(document_to_task(document, config), ensure_ascii=False) for document in documents
    )
    framed = (("[\n" if i == 0 else ",\n") + task for i, task in enumerate(tasks))
    ending = ["\n]\n"] if documents else ["[]\n"]
    written = WriteResult(len(documents), masked_range_count=_count_masked_ranges(documents))
    return (piece for pieces in (framed, ending) for piece in pieces), written


def document_to_task(document: Document, config: LabelConfig) -> dict[str, Any]:
    """Make a task for Label Studio's import.

    Args:
        document: Its spans become an annotation; a prediction where its meta has the model version
            that made it.
        config: The config of the project to import into.

    Returns:
        The task. Label Studio gives it an id of its own, so ours goes into the data too.
    """
    result = result_from_spans(document, document.spans, config)
    extra = {key: value for key, value in document.meta.items() if key not in PREDICTION_META_KEYS}
    task = {"id": document.id, "data": {"id": document.id, **extra, config.data_key: document.text}}
    if "model_version" in document.meta:
        said = {key: document.meta[key] for key in PREDICTION_META_KEYS if key in document.meta}
        return {**task, "predictions": [{**said, "result": result}]}
    # Said outright, because Label Studio takes imported annotations for ground truth otherwise.
    return {**task, "annotations": [{"result": result, "ground_truth": False}]}


# A new target is one function above, and one line here.
WRITERS: Mapping[
    OutputFormat, Callable[[Sequence[Document], LabelConfig], tuple[Iterable[str], WriteResult]]
] = {"jsonl": _format_jsonl, "conll": _format_conll, "label-studio": _format_tasks}
