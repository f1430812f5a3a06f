"""A corpus: its documents, the annotations lost in reading, and its files."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import category, normalize

from tagalong.backend.annotations.import_log import CorpusWarning, ImportLog
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.formats.registry import detect_format, read_annotations
from tagalong.backend.formats.sniff import sniff_file
from tagalong.backend.formats.text_file import TextFile
from tagalong.ner.document import Document, DroppedAnnotation
from tagalong.ner.errors import FormatError, InputError

INVISIBLE = frozenset({"Cc", "Cf"})  # categories of control and format characters


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A file of a corpus, with the name of its format."""

    path: str  # as the user gave it
    format: str
    document_count: int  # duplicates included


@dataclass(frozen=True, slots=True)
class Corpus:
    """Annotated documents."""

    documents: tuple[Document, ...]  # in the order of reading; ids are unique
    dropped: tuple[DroppedAnnotation, ...]  # annotations lost in reading
    warnings: tuple[CorpusWarning, ...]  # findings that reading handled, by kind
    labels: tuple[str, ...]  # as in the labelling config; without one, all that occur, sorted
    sources: tuple[CorpusSource, ...]

    @property
    def fingerprint(self) -> str:
        """See `compute_fingerprint`."""
        return compute_fingerprint(self.documents)


def read_corpus(paths: Sequence[Path], options: ReadOptions | None = None) -> Corpus:
    """Read annotated documents from files in any formats of the registry; ids become unique."""
    options = options or ReadOptions()
    if not paths:
        raise InputError(
            "no files were given: name at least one export or corpus", code="no-files-given"
        )
    log = ImportLog()
    documents: list[Document] = []
    documents_by_id: dict[str, list[Document]] = {}
    sources = []
    for path in paths:
        count = 0
        with TextFile(path) as file:
            head = sniff_file(file)
            form = detect_format(head, options=options)
            for document in read_annotations(form, head, options, log):
                count += 1
                if new := _ensure_unique_id(document, documents_by_id, log):
                    documents.append(new)
        if not count:
            counted = ", ".join(f"{one.kind}: {one.count}" for one in log.warnings())
            raise FormatError(
                f"{path} is {form.name} without annotations{f' ({counted})' if counted else ''}: "
                "annotate some of its texts, and export again",
                code="file-without-annotations",
            )
        sources.append(CorpusSource(str(path), form.name, count))
    labels = {span.label for document in documents for span in document.spans}
    for alike in find_labels_alike(labels):
        log.record_warning("labels alike", ", ".join(map(ascii, alike)))
    return Corpus(
        documents=tuple(documents),
        dropped=tuple(log.dropped),
        warnings=log.warnings(),
        labels=options.label_config.labels if options.label_config else tuple(sorted(labels)),
        sources=tuple(sources),
    )


def find_labels_alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that look the same; they differ in white space or invisible characters."""
    by_look = defaultdict[str, list[str]](list)
    for label in sorted(labels):
        kept = (one for one in label if one.isspace() or category(one) not in INVISIBLE)
        visible = normalize("NFC", "".join(kept))
        by_look[" ".join(visible.split())].append(label)
    return [alike for alike in by_look.values() if len(alike) > 1]


def _ensure_unique_id(
    document: Document, documents_by_id: dict[str, list[Document]], log: ImportLog
) -> Document | None:
    # None for a copy of a document that was read before.
    namesakes = documents_by_id.setdefault(document.id, [])
    if any(replace(document, id=one.id) == one for one in namesakes):
        log.record_warning("duplicate document", document.id)
        return None
    new = document
    if namesakes:
        is_same_text = any(one.text == document.text for one in namesakes)
        number = len(namesakes) + 1
        while (name := f"{document.id}#{number}") in documents_by_id:
            number += 1
        log.record_warning(
            "annotated again" if is_same_text else "id used again", f"{document.id}, now {name}"
        )
        new = replace(document, id=name)
        documents_by_id[name] = [new]
    namesakes.append(new)
    return new


def compute_fingerprint(documents: Iterable[Document]) -> str:
    """Identify a set of annotated documents by content.

    Returns SHA-256 in hexadecimal over texts and annotations. Order, ids, scores and files do not
    matter; repetitions do.
    """
    digests = sorted(hashlib.sha256(_canonical_bytes(document)).digest() for document in documents)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _canonical_bytes(document: Document) -> bytes:
    spans = [[span.start, span.end, span.label] for span in document.spans]
    content: list[object] = [document.text, spans]
    if document.masked_ranges:  # fingerprints of earlier releases have no such field
        content.append(document.masked_ranges)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
