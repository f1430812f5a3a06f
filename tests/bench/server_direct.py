"""The bundled tier without a server: texts per line of JSON in, what they took and spans out.

A string is one abstract: how long the tier took, and how long its bare passes. A list is as many,
all at once: how long the tier took.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench_engine import bare

from backend.bundle import BUNDLED
from backend.encoder import EncoderTier
from backend.tier import load_tier
from ner.catalogue import BUNDLED as NAME
from ner.catalogue import Catalogue
from ner.document import Document


def answer(tier: EncoderTier, texts: Sequence[str]) -> dict[str, object]:
    """Predict, then run the passes alone."""
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    start = time.perf_counter()
    predictions = tier.predict(documents)
    seconds = time.perf_counter() - start
    spans = [(span.start, span.end, span.label) for one in predictions for span in one.spans]
    if len(documents) > 1:
        return {"seconds": seconds}
    passes = bare(tier, documents)
    start = time.perf_counter()
    passes()
    return {"seconds": seconds, "bare": time.perf_counter() - start, "spans": spans}


def main() -> None:
    folder = Catalogue(Path("no-models"), bundled=BUNDLED).resolve(NAME)
    tier = load_tier(folder, engine=True)
    assert isinstance(tier, EncoderTier)
    for line in sys.stdin:
        texts = json.loads(line)
        print(json.dumps(answer(tier, [texts] if isinstance(texts, str) else texts)), flush=True)


if __name__ == "__main__":
    main()
