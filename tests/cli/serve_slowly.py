"""``tagalong serve`` with a slow model that signals the start of a prediction.

Usage: serve_slowly.py FILE SECONDS ARGUMENT...; the file is created when a prediction starts.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import tagalong.backend.server.service
from tagalong.cli.main import main
from tagalong.ner.document import Document, Prediction
from tests.lexicon_tagger import LexiconTagger


def main_slowly(started: Path, seconds: float, arguments: list[str]) -> None:
    class Slow(LexiconTagger):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            started.touch()
            time.sleep(seconds)
            return super().predict(documents)

    tagalong.backend.server.service.load_tagger = lambda folder, **_: Slow(folder.name)  # type: ignore[assignment]
    main(["serve", *arguments])


if __name__ == "__main__":
    main_slowly(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
