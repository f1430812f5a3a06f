"""``tagalong serve`` with a model and libraries that quote every text, in all ways they can.

Usage: serve_talkative.py ARGUMENT...
"""

import logging
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import tagalong.backend.server.service
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.cli.main import main
from tagalong.ner.document import Document, Prediction
from tests.backend.server.markers import DAMAGED_VERSION, FAILING_ROUTE, FAILING_TEXT, TEXT
from tests.lexicon_tagger import LexiconTagger

library = logging.getLogger("library")


def fail(text: str) -> None:
    raise KeyError(text)


class TalkativeTagger(LexiconTagger):
    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        for document in documents:
            warnings.warn(document.text, stacklevel=1)
            library.warning("reading %s\n", document.text)
            threading.Thread(target=fail, args=(document.text,)).start()
            if FAILING_TEXT in document.text:
                fail(document.text)
        return super().predict(documents)


def load(folder: Path, **_: object) -> TalkativeTagger:
    if folder.name.startswith(DAMAGED_VERSION):
        fail(TEXT)
    return TalkativeTagger(folder.name)


def record_response(_: Telemetry, route: str, *__: object) -> None:
    if route == FAILING_ROUTE:
        fail(TEXT)


if __name__ == "__main__":
    Telemetry.record_response = record_response  # type: ignore[method-assign]
    library.addHandler(logging.StreamHandler())
    library.setLevel(logging.DEBUG)
    warnings.simplefilter("always", UserWarning)
    tagalong.backend.server.service.load_tagger = load  # type: ignore[assignment]
    main(["serve", *sys.argv[1:]])
