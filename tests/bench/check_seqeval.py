"""Strict scores against seqeval's on every corpus: precision, recall, F1, overall and by label.

    PYTHONPATH=. python tests/bench/check_seqeval.py [--data DIR]

Gold tags (from the documents, and the sentences of ``bio/*.conll``) are compared with the same tags
corrupted at random, illegal ones included. Prints the largest difference of each file.

"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from random import Random

from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2

from tagalong.ner.scoring import Scores, score_spans
from tagalong.ner.tags import TagSet
from tests.bench.corpora import DATA, read_conll, read_documents
from tests.bench.noise import add_noise, unmask
from tests.spans import count_cells, decode

TOLERANCE = 1e-9


def largest_difference(gold: list[list[int]], predicted: list[list[int]], tag_set: TagSet) -> float:
    """The largest difference of any strict score from seqeval's."""
    total = Scores()
    for true, other in zip(gold, predicted, strict=True):
        words = [(2 * i, 2 * i + 1) for i in range(len(true))]
        text = "w " * len(true)
        total += score_spans(text, decode(tag_set, true, words), decode(tag_set, other, words))
    names = tag_set.tag_names
    tags = [[[names[tag] for tag in sequence] for sequence in side] for side in (gold, predicted)]
    options = {"scheme": IOB2, "zero_division": 0}
    labels = sorted({label for label, _ in total.strict.cells})
    ours = [total.strict.total, *(count_cells(total.strict, label) for label in labels)]
    micro = precision_recall_fscore_support(*tags, average="micro", **options)
    by_label = precision_recall_fscore_support(*tags, average=None, **options)
    theirs = [micro, *zip(*by_label, strict=True)]
    return max(
        float(abs(one - other))
        for counts, figures in zip(ours, theirs, strict=True)
        for one, other in zip(
            (counts.precision, counts.recall, counts.f1, counts.gold), figures, strict=True
        )
    )


def tag_sequences(path: Path) -> tuple[list[list[int]], TagSet]:
    """Gold tags of a file and their tag set."""
    if path.suffix == ".conll":
        named = list(read_conll(path))
        tag_set = TagSet(tuple(sorted({tag[2:] for tags in named for tag in tags} - {""})))
        ids = {name: tag for tag, name in enumerate(tag_set.tag_names)}
        return [[ids[tag] for tag in tags] for tags in named], tag_set
    documents = read_documents(path)
    tag_set = TagSet(tuple(sorted({span.label for one in documents for span in one.spans})))
    return [unmask(tag_set.encode(document).tags) for document in documents], tag_set


def list_corpora(data: Path) -> Iterable[Path]:
    """Every file with gold tags."""
    return sorted([*data.glob("*/*.jsonl"), *data.glob("*/bio/*.conll")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    largest = 0.0
    print("| corpus | sequences | largest difference |\n|---|---:|---:|")
    for path in list_corpora(data):
        gold, tag_set = tag_sequences(path)
        random = Random(0)
        predicted = [add_noise(tags, n_tags=len(tag_set), random=random) for tags in gold]
        difference = largest_difference(gold, predicted, tag_set)
        largest = max(largest, difference)
        print(f"| {path.relative_to(data)} | {len(gold)} | {difference:.1e} |", flush=True)
    print(f"\nLargest difference: {largest:.1e}; target: at most {TOLERANCE:.0e}.")
    raise SystemExit(largest > TOLERANCE)


if __name__ == "__main__":
    main()
