"""Corpora that the benchmarks read."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tagalong.ner.document import Document, Span

DATA = Path(os.environ.get("TAGALONG_DATA", "../shared/data"))


def read_documents(path: Path) -> list[Document]:
    """Documents of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        Document(
            line["id"],
            line["text"],
            tuple(Span(one["start"], one["end"], one["label"]) for one in line["entities"]),
        )
        for line in lines
    ]


def read_conll(path: Path) -> Iterator[list[str]]:
    """Tags of each sentence of a file of ``token TAB tag`` lines."""
    tags: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                tags.append(line.rstrip("\n").rsplit("\t", 1)[1])
            elif tags:
                yield tags
                tags = []
    if tags:
        yield tags
