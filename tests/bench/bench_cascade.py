"""F1 of a cascade by the share of documents that the better model predicts again.

Two versions of different quality predict BC5CDR test once. So every share can be computed from the
same predictions. Documents are ordered by expected errors, as in `tagalong prelabel --tier
cascade`, at random (mean and spread of many orders), and by true gain.

    PYTHONPATH=. python tests/bench/bench_cascade.py --second REFERENCE [--first bundled]
        [--models DIR]

"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from numpy.typing import NDArray

from tagalong.backend.batch.passes import compute_expected_errors
from tagalong.cli.terminal.options import load_tagger_by_reference, open_store
from tagalong.ner.document import Document, Prediction
from tagalong.training.evaluation.bootstrap import compute_f1
from tagalong.training.evaluation.counts import count_by_document
from tests.bench.corpora import DATA, read_documents

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
ORDERS = 200  # random orders

Counts = NDArray[np.int64]


def counted(documents: Sequence[Document], predictions: Sequence[Prediction]) -> Counts:
    """Strict counts of each document: shape (documents, labels, lengths, fields)."""
    labels = sorted({span.label for document in documents for span in document.spans})
    return count_by_document(documents, predictions, labels)[:, 0]


def curve(order: Sequence[int], first: Counts, second: Counts) -> list[float]:
    """F1 if the first documents of an order are predicted again."""
    found = []
    for share in SHARES:
        again = list(order[: round(share * len(order))])
        kept = list(order[len(again) :])
        counts = first[kept].sum(axis=0) + second[again].sum(axis=0)
        found.append(float(compute_f1(counts.sum(axis=(0, 1)))))
    return found


def ordered(count: int, key: Callable[[int], float]) -> list[int]:
    """Documents in descending order of a key."""
    return sorted(range(count), key=lambda number: (-key(number), number))


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--first", default="bundled")
    parser.add_argument("--second", required=True)
    parser.add_argument("--part", default="test")
    options = parser.parse_args()
    documents = read_documents(options.data / "BC5CDR" / f"{options.part}.jsonl")
    blank = [Document(document.id, document.text) for document in documents]
    store = open_store(options.models)
    said = [
        load_tagger_by_reference(store, reference).predict(blank)
        for reference in (options.first, options.second)
    ]
    first, second = (counted(documents, predictions) for predictions in said)
    count = len(documents)
    # fp and fn that the better model avoids
    gains = (first - second)[..., 2:].sum(axis=(1, 2, 3))
    by_worth = curve(ordered(count, lambda n: compute_expected_errors(said[0][n])), first, second)
    by_score = curve(ordered(count, lambda n: -said[0][n].score), first, second)
    by_gain = curve(ordered(count, lambda n: float(gains[n])), first, second)
    chance = Random(7)
    drawn = np.array(
        [curve(chance.sample(range(count), count), first, second) for _ in range(ORDERS)]
    )
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    print(f"{said[0][0].version} first, then {said[1][0].version}.\n")
    print(
        "| predicted again | by expected errors | by task score | at random (95 % of orders) "
        "| by true gain |"
    )
    print("|---:|---:|---:|---:|---:|")
    for at, share in enumerate(SHARES):
        print(
            f"| {share:.0%} | **{by_worth[at]:.4f}** | {by_score[at]:.4f} | "
            f"{drawn[:, at].mean():.4f} ({low[at]:.4f} to {high[at]:.4f}) | {by_gain[at]:.4f} |"
        )


if __name__ == "__main__":
    main()
