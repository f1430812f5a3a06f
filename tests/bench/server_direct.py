"""The bundled version without a server: lines of JSON with texts in, times and spans out.

A string is one abstract: the output has the time of the tagger, and the time of its passes. A list
is several abstracts, all at once.

"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs, ModelRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.ner.document import Document
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry


class TimedRunner:
    """Runs the passes of a tagger, and measures their seconds."""

    def __init__(self, runner: ModelRunner) -> None:
        self._runner = runner
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def compute_logits(self, batch: ModelInputs) -> FloatArray:
        start = time.perf_counter()
        logits = self._runner.compute_logits(batch)
        self.seconds += time.perf_counter() - start
        return logits


def answer(tagger: EncoderTagger, texts: Sequence[str]) -> dict[str, object]:
    """Predict, and return times and spans."""
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    assert isinstance(tagger.runner, TimedRunner)
    previous_seconds, start = tagger.runner.seconds, time.perf_counter()
    predictions = tagger.predict(documents)
    seconds, passes = time.perf_counter() - start, tagger.runner.seconds - previous_seconds
    spans = [(span.start, span.end, span.label) for one in predictions for span in one.spans]
    return {"seconds": seconds, "bare": passes, "spans": spans}


def main() -> None:
    folder = ModelRegistry(Path("no-models"), bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    tagger = load_tagger(folder, use_openvino=True)
    assert isinstance(tagger, EncoderTagger)
    tagger.runner = TimedRunner(tagger.runner)
    for line in sys.stdin:
        texts = json.loads(line)
        print(json.dumps(answer(tagger, [texts] if isinstance(texts, str) else texts)), flush=True)


if __name__ == "__main__":
    main()
