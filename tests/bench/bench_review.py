"""Reviewing annotations: the share of planted errors that is found, by depth of the queue.

In 300 documents of BC5CDR train (`--documents`), 5 % of the gold spans are corrupted at random. A
third of these is dropped, a third moved by one word, and a third gets the other label. They are
then reviewed by cross-validation as in ``tagalong curate review``. A finding matches an error if
its annotation is the corrupted one, or its suggestion overlaps the true one. BC5CDR's own errors do
not count. Depths are shares of the number of gold spans: 5 % has as many findings as there are
errors.

    PYTHONPATH=. python tests/bench/bench_review.py [--documents 300] [--folds 5] [--epochs 5]
        [--figure FILE]
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from transformers.utils import logging

from tagalong.ner.document import Document, Span
from tagalong.ner.tags import TagSet
from tagalong.ner.words import overlapping_words, word_offsets
from tagalong.training.curate.cross_validation import (
    CrossValidationConfig,
    cross_validate,
)
from tagalong.training.curate.findings import ReviewFinding, ReviewReport
from tagalong.training.curate.review import review_annotations
from tagalong.training.recipes.schedule import TrainingProgress
from tests.bench.corpora import DATA, read_documents
from tests.spans import overlap

LABELS = ("Chemical", "Disease")
SHARE = 0.05  # corrupted share of the gold spans
KINDS = ("dropped", "shifted", "retyped")
DEPTHS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.2)  # of the queue, as shares of the gold spans


@dataclass(frozen=True, slots=True)
class Error:
    """One planted error."""

    document: str
    kind: str
    before: Span
    after: Span | None

    def is_found_by(self, finding: ReviewFinding) -> bool:
        """Whether a reader of the finding sees the error."""
        if finding.document != self.document:
            return False
        suggested = finding.suggested
        is_drawn = finding.gold is not None and finding.gold == self.after
        return is_drawn or (suggested is not None and overlap(suggested, self.before))


def corrupt(documents: Sequence[Document], chance: Random) -> tuple[list[Document], list[Error]]:
    """Corrupt a share of the spans, each kind equally often."""
    places = [(place, span) for place, document in enumerate(documents) for span in document.spans]
    wanted = round(SHARE * len(places))
    spans = [set(document.spans) for document in documents]
    errors: list[Error] = []
    for place, span in chance.sample(places, len(places)):
        if len(errors) == wanted:
            break
        kind = KINDS[len(errors) % len(KINDS)]
        others = spans[place] - {span}
        after = None
        if kind == "retyped":
            after = replace(span, label=LABELS[1 - LABELS.index(span.label)])
        elif kind == "shifted":
            moved = shifts(documents[place], span, others)
            if not moved:
                continue
            after = chance.choice(moved)
        spans[place] = others | ({after} if after else set())
        errors.append(Error(documents[place].id, kind, span, after))
    corrupted = [
        replace(document, spans=tuple(of_document))
        for document, of_document in zip(documents, spans, strict=True)
    ]
    return corrupted, errors


def shifts(document: Document, span: Span, others: set[Span]) -> list[Span]:
    """A span moved by one word to either side, if there is room."""
    words = word_offsets(document.text)
    first, last = overlapping_words(words, span.start, span.end)
    moved = [
        Span(words[first + step][0], words[last + step - 1][1], span.label)
        for step in (-1, 1)
        if first + step >= 0 and last + step <= len(words)
    ]
    return [one for one in moved if not any(overlap(one, other) for other in others)]


@dataclass(frozen=True, slots=True)
class Depth:
    """Quality of the top of a queue."""

    findings: int
    recall: float
    precision: float
    by_kind: Counter[str]


def look(queue: Sequence[ReviewFinding], errors: Sequence[Error], depth: int) -> Depth:
    """Compare the top of a queue with the planted errors."""
    top = queue[:depth]
    found = [error for error in errors if any(error.is_found_by(finding) for finding in top)]
    right = sum(any(error.is_found_by(finding) for error in errors) for finding in top)
    return Depth(
        len(top),
        len(found) / len(errors),
        right / len(top) if top else 0.0,
        Counter(error.kind for error in found),
    )


def print_findings(found: ReviewReport, errors: Sequence[Error], spans: int) -> None:
    """Print a row for every depth."""
    planted = Counter(error.kind for error in errors)
    print(f"| depth | findings | errors found | precision | {' | '.join(KINDS)} |")
    print("|" + "---|" * (4 + len(KINDS)))
    rows = [(f"{share:.1%}", round(share * spans)) for share in DEPTHS]
    for name, depth in [*rows, ("all", len(found.findings))]:
        seen = look(found.findings, errors, depth)
        kinds = " | ".join(f"{seen.by_kind[kind] / planted[kind]:.3f}" for kind in KINDS)
        print(f"| {name} | {seen.findings} | {seen.recall:.3f} | {seen.precision:.3f} | {kinds} |")


def print_suspects(found: ReviewReport, errors: Sequence[Error], documents: int) -> None:
    """Print the errors in the top 5 % of the documents, and the maximum possible."""
    planted = Counter(error.document for error in errors)
    top = round(SHARE * documents)
    held = [planted[suspect.document_id] for suspect in found.suspect_documents[:top]]
    most = sum(count for _, count in planted.most_common(top))
    print(
        f"Top 5 % of the documents: {sum(map(bool, held))} of {top} have an error (of all, "
        f"{len(planted)} of {documents}), and they hold {sum(held) / len(errors):.3f} of the "
        f"errors, where no choice could hold more than {most / len(errors):.3f}."
    )


def draw(found: ReviewReport, errors: Sequence[Error], spans: int, path: Path) -> None:
    """Draw precision and recall at every depth, with some depths marked."""
    figure, axes = plt.subplots(figsize=(5, 3.4), dpi=120, layout="constrained")
    curve = [look(found.findings, errors, depth) for depth in range(10, len(found.findings), 10)]
    axes.plot([one.recall for one in curve], [one.precision for one in curve], color="#1f5fa8")
    for share in (0.025, 0.05, 0.1, 0.2):
        seen = look(found.findings, errors, round(share * spans))
        axes.plot(seen.recall, seen.precision, "o", color="#c4501b")
        axes.annotate(
            f"top {100 * share:g} %",
            (seen.recall, seen.precision),
            xytext=(-6, -10),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )
    axes.set(
        xlabel="recall: share of the planted errors",
        ylabel="precision of the queue so far",
        xlim=(0, 1),
        ylim=(0, 1.03),
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def tell(now: TrainingProgress) -> None:
    """Print a line for every finished epoch."""
    if len(now.dev_scores) == now.epoch:
        print(
            f"fold {now.fold}, epoch {now.epoch}: dev F1 {now.dev_scores[-1]:.4f}",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    """Corrupt, review and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", default=300, type=int)
    parser.add_argument("--folds", default=5, type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--figure", default="docs/figures/review.png", type=Path)
    parser.add_argument("--folder", type=Path, help="keeps the folds, to resume or repeat")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    clean = read_documents(DATA / "BC5CDR" / "train.jsonl")[: options.documents]
    documents, errors = corrupt(clean, Random(options.seed))
    crossing = CrossValidationConfig(n_folds=options.folds)
    if options.epochs is not None:
        schedule = replace(crossing.recipe.schedule, epochs=options.epochs)
        crossing = replace(crossing, recipe=replace(crossing.recipe, schedule=schedule))
    spans = sum(len(document.spans) for document in clean)
    with tempfile.TemporaryDirectory() as name:
        folder = (options.folder or Path(name)) / crossing.key(documents, LABELS)
        begun = time.monotonic()
        opinions = cross_validate(
            documents, labels=LABELS, config=crossing, cache_dir=folder, on_progress=tell
        )
        minutes = (time.monotonic() - begun) / 60
    found = review_annotations(documents, opinions, TagSet(LABELS))
    print(f"{len(clean)} documents, {spans} spans, {len(errors)} errors, {minutes:.0f} minutes\n")
    print_findings(found, errors, spans)
    print()
    print_suspects(found, errors, len(documents))
    draw(found, errors, spans, options.figure)


if __name__ == "__main__":
    main()
