"""Documents for compiling a version, where the user gives none.

Titles and abstracts of BC5CDR (Li et al., Database 2016, baw068; public domain): 48 documents of
its train and dev sets that the bundled version was not trained on, as they were its dev split.
"""

import json
from pathlib import Path

from tagalong.ner.document import Document, Span

ABSTRACTS_PATH = Path(__file__).parent / "abstracts.jsonl"


def read_sample_documents() -> list[Document]:
    """Read them, each with its chemicals and diseases."""
    with ABSTRACTS_PATH.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Document(row["id"], row["text"], tuple(Span(**entity) for entity in row["entities"]))
        for row in rows
    ]
