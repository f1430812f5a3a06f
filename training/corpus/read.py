"""Files -> corpus: the format is told by the content, never by the name of the file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.training.corpus import conll, json_min, jsonl, label_studio
from tagalong.training.corpus.corpus import Corpus, CorpusSource
from tagalong.training.corpus.formats import CorpusFormat, ReadOptions
from tagalong.training.corpus.import_log import ImportLog
from tagalong.training.corpus.sniff import FileHead, sniff_file
from tagalong.training.corpus.unsupported_formats import detect_unsupported_tool

# A new format is one new file, and one line here.
FORMATS: tuple[CorpusFormat, ...] = (
    label_studio.LABEL_STUDIO_FORMAT,
    json_min.JSON_MIN_FORMAT,
    jsonl.DOCUMENTS_FORMAT,
    jsonl.PREDICTIONS_FORMAT,
    conll.CONLL_FORMAT,
)


def read_corpus(paths: Sequence[Path], options: ReadOptions | None = None) -> Corpus:
    """Read annotated documents from files of any format we know.

    Args:
        paths: One or more files; formats may differ.
        options: How to read.

    Returns:
        All documents, with what was lost and what had to be judged.

    Raises:
        InputError: If there is nothing to read, or a file cannot be opened.
        FormatError: If a file is empty, not text, in no format we know, or breaks its format.
        OffsetError: If it cannot be told what offsets count.
    """
    options = options or ReadOptions()
    if not paths:
        raise InputError("no files were given: name at least one export or corpus")
    ledger = ImportLog()
    documents: list[Document] = []
    taken: dict[str, list[Document]] = {}
    sources = []
    for path in paths:
        start = sniff_file(path)
        form = detect_format(start)
        count = 0
        for document in form.read(start, options, ledger):
            count += 1
            if new := _ensure_unique_id(document, taken, ledger):
                documents.append(new)
        if not count:
            raise FormatError(
                f"{path} is {form.name} without annotations: submit some in Label Studio, and "
                "export again"
            )
        sources.append(CorpusSource(str(path), form.name, count))
    seen = {span.label for document in documents for span in document.spans}
    return Corpus(
        documents=tuple(documents),
        dropped=tuple(ledger.dropped),
        warnings=ledger.warnings(),
        labels=options.label_config.labels if options.label_config else tuple(sorted(seen)),
        sources=tuple(sources),
    )


def _ensure_unique_id(
    document: Document, taken: dict[str, list[Document]], ledger: ImportLog
) -> Document | None:
    """Give a document an id of its own, or None where it is there already."""
    namesakes = taken.setdefault(document.id, [])
    if any(replace(document, id=one.id) == one for one in namesakes):
        ledger.record_warning("duplicate document", document.id)
        return None
    new = document
    if namesakes:
        again = any(one.text == document.text for one in namesakes)
        number = len(namesakes) + 1
        while (name := f"{document.id}#{number}") in taken:
            number += 1
        ledger.record_warning(
            "annotated again" if again else "id used again", f"{document.id}, now {name}"
        )
        new = replace(document, id=name)
        taken[name] = [new]
    namesakes.append(new)
    return new


def detect_format(head: FileHead) -> CorpusFormat:
    """Find the format of a file.

    Args:
        head: What the start of the file tells.

    Returns:
        The format.

    Raises:
        FormatError: If it is none of ours; the message says what it looks like.
    """
    for form in FORMATS:
        if form.matches(head):
            return form
    known = ", ".join(form.name for form in FORMATS)
    if head.parse_error:
        raise FormatError(
            f"{head.path} begins like JSON but is not ({head.parse_error}): export again"
        )
    tool = detect_unsupported_tool(head)
    seen = f"looks like {tool}" if tool else "is in no format we know"
    raise FormatError(f"{head.path} {seen}: give {known}")
