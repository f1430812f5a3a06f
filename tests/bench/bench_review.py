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
        """Check whether a finding shows the error."""
        if finding.document != self.document:
            return False
        suggested = finding.suggested
        is_corrupted_span = finding.gold is not None and finding.gold == self.after
        return is_corrupted_span or (suggested is not None and overlap(suggested, self.before))


def corrupt(documents: Sequence[Document], random: Random) -> tuple[list[Document], list[Error]]:
    """Corrupt a share of the spans, each kind equally often."""
    indexed_spans = [
        (index, span) for index, document in enumerate(documents) for span in document.spans
    ]
    n_errors = round(SHARE * len(indexed_spans))
    spans = [set(document.spans) for document in documents]
    errors: list[Error] = []
    for index, span in random.sample(indexed_spans, len(indexed_spans)):
        if len(errors) == n_errors:
            break
        kind = KINDS[len(errors) % len(KINDS)]
        others = spans[index] - {span}
        corrupted_span = None
        if kind == "retyped":
            corrupted_span = replace(span, label=LABELS[1 - LABELS.index(span.label)])
        elif kind == "shifted":
            shifted = shifted_spans(documents[index], span, others)
            if not shifted:
                continue
            corrupted_span = random.choice(shifted)
        spans[index] = others | ({corrupted_span} if corrupted_span else set())
        errors.append(Error(documents[index].id, kind, span, corrupted_span))
    corrupted = [
        replace(document, spans=tuple(document_spans))
        for document, document_spans in zip(documents, spans, strict=True)
    ]
    return corrupted, errors


def shifted_spans(document: Document, span: Span, others: set[Span]) -> list[Span]:
    """Move a span by one word to either side, if there is room."""
    words = word_offsets(document.text)
    first, last = overlapping_words(words, span.start, span.end)
    shifted = [
        Span(words[first + step][0], words[last + step - 1][1], span.label)
        for step in (-1, 1)
        if first + step >= 0 and last + step <= len(words)
    ]
    return [one for one in shifted if not any(overlap(one, other) for other in others)]


@dataclass(frozen=True, slots=True)
class Depth:
    """Quality of the top of a queue."""

    findings: int
    recall: float
    precision: float
    by_kind: Counter[str]


def measure_depth(queue: Sequence[ReviewFinding], errors: Sequence[Error], depth: int) -> Depth:
    """Compare the top of a queue with the planted errors."""
    top = queue[:depth]
    found_errors = [error for error in errors if any(error.is_found_by(finding) for finding in top)]
    n_correct = sum(any(error.is_found_by(finding) for error in errors) for finding in top)
    return Depth(
        len(top),
        len(found_errors) / len(errors),
        n_correct / len(top) if top else 0.0,
        Counter(error.kind for error in found_errors),
    )


def print_findings(report: ReviewReport, errors: Sequence[Error], spans: int) -> None:
    """Print a row for every depth."""
    planted = Counter(error.kind for error in errors)
    print(f"| depth | findings | errors found | precision | {' | '.join(KINDS)} |")
    print("|" + "---|" * (4 + len(KINDS)))
    rows = [(f"{share:.1%}", round(share * spans)) for share in DEPTHS]
    for name, depth in [*rows, ("all", len(report.findings))]:
        top = measure_depth(report.findings, errors, depth)
        kinds = " | ".join(f"{top.by_kind[kind] / planted[kind]:.3f}" for kind in KINDS)
        print(f"| {name} | {top.findings} | {top.recall:.3f} | {top.precision:.3f} | {kinds} |")


def print_suspects(report: ReviewReport, errors: Sequence[Error], documents: int) -> None:
    """Print the errors in the top 5 % of the documents, and the maximum possible."""
    planted = Counter(error.document for error in errors)
    n_top = round(SHARE * documents)
    errors_in_top = [planted[suspect.document_id] for suspect in report.suspect_documents[:n_top]]
    maximum = sum(count for _, count in planted.most_common(n_top))
    print(
        f"Top 5 % of the documents: {sum(map(bool, errors_in_top))} of {n_top} have an error "
        f"(of all, {len(planted)} of {documents}), and they hold "
        f"{sum(errors_in_top) / len(errors):.3f} of the errors, "
        f"where no choice could hold more than {maximum / len(errors):.3f}."
    )


def draw_curve(report: ReviewReport, errors: Sequence[Error], spans: int, path: Path) -> None:
    """Draw precision and recall at every depth, with some depths marked."""
    figure, axes = plt.subplots(figsize=(5, 3.4), dpi=120, layout="constrained")
    curve = [
        measure_depth(report.findings, errors, depth)
        for depth in range(10, len(report.findings), 10)
    ]
    axes.plot(
        [depth.recall for depth in curve], [depth.precision for depth in curve], color="#1f5fa8"
    )
    for share in (0.025, 0.05, 0.1, 0.2):
        top = measure_depth(report.findings, errors, round(share * spans))
        axes.plot(top.recall, top.precision, "o", color="#c4501b")
        axes.annotate(
            f"top {100 * share:g} %",
            (top.recall, top.precision),
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


def print_epoch(progress: TrainingProgress) -> None:
    """Print a line for every finished epoch."""
    if len(progress.dev_scores) == progress.epoch:
        print(
            f"fold {progress.fold}, epoch {progress.epoch}: dev F1 {progress.dev_scores[-1]:.4f}",
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
    config = CrossValidationConfig(n_folds=options.folds)
    if options.epochs is not None:
        schedule = replace(config.recipe.schedule, epochs=options.epochs)
        config = replace(config, recipe=replace(config.recipe, schedule=schedule))
    spans = sum(len(document.spans) for document in clean)
    with tempfile.TemporaryDirectory() as name:
        folder = (options.folder or Path(name)) / config.key(documents, TagSet(LABELS))
        start = time.monotonic()
        cross_validated = cross_validate(
            documents,
            tag_set=TagSet(LABELS),
            config=config,
            cache_dir=folder,
            on_progress=print_epoch,
        )
        minutes = (time.monotonic() - start) / 60
    report = review_annotations(documents, cross_validated, TagSet(LABELS))
    print(f"{len(clean)} documents, {spans} spans, {len(errors)} errors, {minutes:.0f} minutes\n")
    print_findings(report, errors, spans)
    print()
    print_suspects(report, errors, len(documents))
    draw_curve(report, errors, spans, options.figure)


if __name__ == "__main__":
    main()
