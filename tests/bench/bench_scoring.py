"""Scoring of JNLPBA train: ours against nervaluate's with the same tags, and the bootstrap.

    PYTHONPATH=. python tests/bench/bench_scoring.py [--data DIR] [--rounds N]

Both score the same corrupted tags, in turn, in one process; medians are compared. Each is used as
designed: ours takes spans (strict, relaxed and all lengths), nervaluate takes tags. The bootstrap
is timed separately and divided by the same time of nervaluate.

"""

import argparse
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from nervaluate.evaluator import Evaluator

from tagalong.ner.document import Document, Prediction
from tagalong.ner.tags import TagSet
from tagalong.training.evaluation.bootstrap import (
    DEFAULT_RESAMPLES,
    compute_f1,
    percentile_interval,
    resample_counts,
)
from tagalong.training.evaluation.counts import count_by_document
from tests.bench.corpora import DATA, read_documents
from tests.bench.noise import add_noise, unmask
from tests.spans import decode


def time_call(work: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    documents = read_documents(options.data / "JNLPBA" / "train.jsonl")
    tag_set = TagSet(tuple(sorted({span.label for one in documents for span in one.spans})))
    random, names = Random(0), tag_set.tag_names
    gold, predicted, true_tags, noisy_tags = [], [], [], []
    for document in documents:
        tagged = tag_set.encode(document)
        true = unmask(tagged.tags)
        noisy = add_noise(true, n_tags=len(tag_set), random=random)
        spans = tuple(decode(tag_set, true, tagged.words))
        gold.append(Document(document.id, document.text, spans))
        predicted.append(Prediction(tuple(decode(tag_set, noisy, tagged.words)), 1.0, "noised"))
        true_tags.append([names[tag] for tag in true])
        noisy_tags.append([names[tag] for tag in noisy])

    table = count_by_document(gold, predicted, tag_set.labels)
    systems: dict[str, Callable[[], object]] = {
        "ours": lambda: count_by_document(gold, predicted, tag_set.labels),
        "nervaluate": lambda: Evaluator(
            true_tags, noisy_tags, tags=list(tag_set.labels), loader="list"
        ).evaluate(),
        "bootstrap": lambda: percentile_interval(compute_f1(resample_counts(table))),
    }
    times: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(options.rounds):
        for name, work in systems.items():
            times[name].append(time_call(work))
    tagalong, nervaluate, bootstrap = (median(times[name]) for name in systems)
    entities = sum(len(document.spans) for document in gold)
    print(
        f"| corpus | entities | ours, s | nervaluate, s | ours / nervaluate | {DEFAULT_RESAMPLES} "
        "resamples, s | bootstrap / nervaluate |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    print(
        f"| JNLPBA train | {entities} | {tagalong:.2f} | {nervaluate:.2f} | "
        f"{tagalong / nervaluate:.2f} | {bootstrap:.2f} | {bootstrap / nervaluate:.2f} |"
    )


if __name__ == "__main__":
    main()
