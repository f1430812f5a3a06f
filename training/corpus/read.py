"""Files -> corpus: the format is told by the content, never by the name of the file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ner.document import Document
from ner.errors import FormatError, InputError
from training.corpus import conll, json_min, jsonlines, label_studio
from training.corpus.corpus import Corpus, Source
from training.corpus.foreign import name_tool
from training.corpus.formats import Format, ReadOptions
from training.corpus.ledger import Ledger
from training.corpus.peek import Peek, peek

# A new format is one new file, and one line here.
FORMATS: tuple[Format, ...] = (
    label_studio.FORMAT,
    json_min.FORMAT,
    jsonlines.DOCUMENTS,
    jsonlines.PREDICTIONS,
    conll.FORMAT,
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
    ledger = Ledger()
    documents: list[Document] = []
    taken: dict[str, list[Document]] = {}
    sources = []
    for path in paths:
        start = peek(path)
        form = recognise(start)
        count = 0
        for document in form.read(start, options, ledger):
            count += 1
            if new := _admit(document, taken, ledger):
                documents.append(new)
        if not count:
            raise FormatError(
                f"{path} is {form.name} without annotations: submit some in Label Studio, and "
                "export again"
            )
        sources.append(Source(str(path), form.name, count))
    seen = {span.label for document in documents for span in document.spans}
    return Corpus(
        documents=tuple(documents),
        lost=tuple(ledger.lost),
        warnings=ledger.warnings(),
        labels=options.config.labels if options.config else tuple(sorted(seen)),
        sources=tuple(sources),
    )


def _admit(document: Document, taken: dict[str, list[Document]], ledger: Ledger) -> Document | None:
    """Give a document an id of its own, or None where it is there already."""
    namesakes = taken.setdefault(document.id, [])
    if any(replace(document, id=one.id) == one for one in namesakes):
        ledger.warn("duplicate document", document.id)
        return None
    new = document
    if namesakes:
        again = any(one.text == document.text for one in namesakes)
        number = len(namesakes) + 1
        while (name := f"{document.id}#{number}") in taken:
            number += 1
        ledger.warn("annotated again" if again else "id used again", f"{document.id}, now {name}")
        new = replace(document, id=name)
        taken[name] = [new]
    namesakes.append(new)
    return new


def recognise(start: Peek) -> Format:
    """Find the format of a file.

    Args:
        start: What the start of the file tells.

    Returns:
        The format.

    Raises:
        FormatError: If it is none of ours; the message says what it looks like.
    """
    for form in FORMATS:
        if form.recognise(start):
            return form
    known = ", ".join(form.name for form in FORMATS)
    if start.fault:
        raise FormatError(f"{start.path} begins like JSON but is not ({start.fault}): export again")
    tool = name_tool(start)
    seen = f"looks like {tool}" if tool else "is in no format we know"
    raise FormatError(f"{start.path} {seen}: give {known}")
