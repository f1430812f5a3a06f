"""The bundled tier without a server: a text per line of JSON in, its seconds and spans out."""

import json
import sys
import time
from pathlib import Path

from backend.bundle import BUNDLED
from backend.tier import load_tier
from ner.catalogue import BUNDLED as NAME
from ner.catalogue import Catalogue
from ner.document import Document


def main() -> None:
    tier = load_tier(Catalogue(Path("no-models"), bundled=BUNDLED).resolve(NAME))
    for number, line in enumerate(sys.stdin):
        document = Document(str(number), json.loads(line))
        start = time.perf_counter()
        (prediction,) = tier.predict([document])
        seconds = time.perf_counter() - start
        spans = [(span.start, span.end, span.label) for span in prediction.spans]
        print(json.dumps({"seconds": seconds, "spans": spans}), flush=True)


if __name__ == "__main__":
    main()
