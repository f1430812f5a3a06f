"""The command with a model that takes its time, and says when it has begun to predict.

Usage: serve_slowly.py FILE SECONDS ARGUMENT...; the file is made when a prediction begins.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import tagalong.backend.server.service
from tagalong.cli.main import main
from tagalong.ner.document import Document, Prediction
from tests.lexicon_tier import LexiconTier


def main_slowly(begun: Path, seconds: float, arguments: list[str]) -> None:
    class Slow(LexiconTier):
        def predict(self, documents: Sequence[Document]) -> list[Prediction]:
            begun.touch()
            time.sleep(seconds)
            return super().predict(documents)

    tagalong.backend.server.service.load_tier = lambda folder, **_: Slow(folder.name)  # type: ignore[assignment]
    main(["serve", *arguments])


if __name__ == "__main__":
    main_slowly(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
