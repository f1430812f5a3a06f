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


def count_strict(documents: Sequence[Document], predictions: Sequence[Prediction]) -> Counts:
    """Count strict matches; shape (documents, labels, lengths, fields)."""
    labels = sorted({span.label for document in documents for span in document.spans})
    return count_by_document(documents, predictions, labels)[:, 0]


def compute_curve(order: Sequence[int], first: Counts, second: Counts) -> list[float]:
    """Compute F1 for each share, if the first documents of an order are predicted again."""
    f1_scores = []
    for share in SHARES:
        repeated = list(order[: round(share * len(order))])
        rest = list(order[len(repeated) :])
        counts = first[rest].sum(axis=0) + second[repeated].sum(axis=0)
        f1_scores.append(float(compute_f1(counts.sum(axis=(0, 1)))))
    return f1_scores


def order_documents(count: int, key: Callable[[int], float]) -> list[int]:
    """Order documents by a key, descending."""
    return sorted(range(count), key=lambda index: (-key(index), index))


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
    predictions = [
        load_tagger_by_reference(store, reference).predict(blank)
        for reference in (options.first, options.second)
    ]
    first, second = (count_strict(documents, by_document) for by_document in predictions)
    count = len(documents)
    # fp and fn that the better model avoids
    gains = (first - second)[..., 2:].sum(axis=(1, 2, 3))

    def compute_curve_by(key: Callable[[int], float]) -> list[float]:
        return compute_curve(order_documents(count, key), first, second)

    by_expected_errors = compute_curve_by(lambda n: compute_expected_errors(predictions[0][n]))
    by_score = compute_curve_by(lambda n: -predictions[0][n].score)
    by_gain = compute_curve_by(lambda n: float(gains[n]))
    random = Random(7)
    by_chance = np.array(
        [compute_curve(random.sample(range(count), count), first, second) for _ in range(ORDERS)]
    )
    low, high = np.percentile(by_chance, [2.5, 97.5], axis=0)
    print(f"{predictions[0][0].version} first, then {predictions[1][0].version}.\n")
    print(
        "| predicted again | by expected errors | by task score | at random (95 % of orders) "
        "| by true gain |"
    )
    print("|---:|---:|---:|---:|---:|")
    for index, share in enumerate(SHARES):
        print(
            f"| {share:.0%} | **{by_expected_errors[index]:.4f}** | {by_score[index]:.4f} | "
            f"{by_chance[:, index].mean():.4f} ({low[index]:.4f} to {high[index]:.4f}) | "
            f"{by_gain[index]:.4f} |"
        )


if __name__ == "__main__":
    main()
