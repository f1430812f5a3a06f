"""What an evaluation found, and how it is written down: one JSON object, two files.

A `Report` holds counts and intervals; every ratio is drawn from them when it is written. The JSON
object is the product, Markdown and tables are views of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ner.document import Lost, LostReason, Span
from ner.errors import OutputError
from ner.scoring import Counts, Length
from training.calibration import Calibration
from training.corpus import write_whole
from training.effort import Effort
from training.mistakes import Example, Kind, Mistakes

Interval = tuple[float, float]

NAMES = ("report.md", "report.html", "report.json")  # of a report's files


@dataclass(frozen=True, slots=True)
class Figure:
    """Counts, and how sure their F1 is.

    Attributes:
        counts: Of all documents.
        interval: 95 % bootstrap interval of F1, over documents.
    """

    counts: Counts
    interval: Interval


@dataclass(frozen=True, slots=True)
class Figures:
    """One set of spans, compared both ways."""

    strict: Figure
    relaxed: Figure


@dataclass(frozen=True, slots=True)
class Difference:
    """Two systems on the same documents.

    Attributes:
        f1: Of the other system.
        f1_interval: 95 % bootstrap interval of that.
        difference: F1 of this system less that of the other.
        interval: 95 % bootstrap interval of the difference, on the same resamples for both.
        p: Two-sided, as `training.bootstrap.p_value` defines it.
    """

    f1: float
    f1_interval: Interval
    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Differences:
    """Two systems, compared both ways."""

    strict: Difference
    relaxed: Difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems, overall and by their strata.

    Attributes:
        model: Version of the other system.
        overall: All spans.
        by_label: Spans of one label.
        by_length: Spans of one length.
        effort: What it takes to put the other one's predictions right.
    """

    model: str
    overall: Differences
    by_label: Mapping[str, Differences]
    by_length: Mapping[Length, Differences]
    effort: Effort


@dataclass(frozen=True, slots=True)
class Losses:
    """Annotations that could not be kept somewhere on the way.

    Attributes:
        total: How many.
        by_reason: How many of each reason that occurs, the most frequent first.
        examples: A few of each reason.
    """

    total: int
    by_reason: Mapping[LostReason, int]
    examples: tuple[Lost, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A document with both sides of it, to be shown whole.

    Attributes:
        document: Its id.
        text: Its text.
        gold: What is right.
        predicted: What was said.
        actions: That it takes to put it right.
    """

    document: str
    text: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    actions: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything an evaluation found.

    Attributes:
        model: The version, or versions, that the predictions name.
        gold: What it was judged by: a path or a fingerprint.
        documents: How many.
        overall: All spans.
        by_label: In the order of the model's labels, then by name.
        by_length: Recall by gold length, precision by predicted length, in words.
        by_label_and_length: Their cross.
        lost_flat: Gold spans that flat BIO cannot hold. They stay in gold: unfound, they are
            missed.
        lost_reading: Annotations that never got into gold: refused while it was read.
        lost_predicted: What the model could not say.
        mistakes: Every wrong span, by kind.
        effort: What it takes to put the predictions right.
        worst: The documents where that takes most, the worst first.
        calibration: None where no predicted span has a score.
        against: None where there is no other system.
        unknown_labels: Gold labels that the model does not have, and how many spans have each.
        warnings: What a reader must know before trusting the figures.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """

    model: str
    gold: str
    documents: int
    overall: Figures
    by_label: Mapping[str, Figures]
    by_length: Mapping[Length, Figures]
    by_label_and_length: Mapping[str, Mapping[Length, Figures]]
    lost_flat: Losses
    lost_reading: Losses
    lost_predicted: Losses
    mistakes: Mapping[Kind, Mistakes]
    effort: Effort
    worst: tuple[Reading, ...]
    calibration: Calibration | None
    against: Comparison | None
    unknown_labels: Mapping[str, int]
    warnings: tuple[str, ...]
    resamples: int
    seed: int


def count_losses(lost: Sequence[Lost], *, examples: int) -> Losses:
    """Count what was lost by reason.

    Args:
        lost: In any order.
        examples: How many to keep of each reason, at most.

    Returns:
        Counts and the first examples of each reason.
    """
    by_reason: dict[LostReason, list[Lost]] = {}
    for entry in lost:
        by_reason.setdefault(entry.reason, []).append(entry)
    frequent = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return Losses(
        total=len(lost),
        by_reason={reason: len(entries) for reason, entries in frequent},
        examples=tuple(entry for _, entries in frequent for entry in entries[:examples]),
    )


def report_to_json(report: Report) -> dict[str, Any]:
    """Write a report as an object that `json.dumps` takes.

    Args:
        report: Any report.

    Returns:
        The object: ratios from 0 to 1, lengths in words, offsets in code points.
    """
    return {
        "model": report.model,
        "gold": report.gold,
        "documents": report.documents,
        **_figures(report.overall),
        "by_label": {label: _figures(entry) for label, entry in report.by_label.items()},
        "by_length": {length: _figures(entry) for length, entry in report.by_length.items()},
        "by_label_and_length": {
            label: {length: _figures(entry) for length, entry in by_length.items()}
            for label, by_length in report.by_label_and_length.items()
        },
        "lost": {
            "flat_bio": asdict(report.lost_flat),
            "reading": asdict(report.lost_reading),
            "predicted": asdict(report.lost_predicted),
        },
        "errors": {
            kind: {"count": entry.count, "examples": [_example(one) for one in entry.examples]}
            for kind, entry in report.mistakes.items()
        },
        "effort": _effort(report.effort),
        "worst": [asdict(reading) for reading in report.worst],
        "calibration": asdict(report.calibration) if report.calibration else None,
        "against": _comparison(report.against) if report.against else None,
        "unknown_labels": dict(report.unknown_labels),
        "warnings": list(report.warnings),
        "bootstrap": {"resamples": report.resamples, "seed": report.seed, "coverage": 0.95},
    }


def _figures(figures: Figures) -> dict[str, Any]:
    """Both ways to compare."""
    return {"strict": _figure(figures.strict), "relaxed": _figure(figures.relaxed)}


def _figure(figure: Figure) -> dict[str, Any]:
    """Counts and the ratios drawn from them."""
    counts = figure.counts
    return {
        "tp": counts.tp,
        "tp_predicted": counts.tp_predicted,
        "fp": counts.fp,
        "fn": counts.fn,
        "gold": counts.gold,
        "predicted": counts.predicted,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "interval": list(figure.interval),
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    """The other system, overall and by its strata."""
    return {
        "model": comparison.model,
        **asdict(comparison.overall),
        "by_label": {label: asdict(entry) for label, entry in comparison.by_label.items()},
        "by_length": {length: asdict(entry) for length, entry in comparison.by_length.items()},
        "effort": _effort(comparison.effort),
    }


def _effort(effort: Effort) -> dict[str, Any]:
    """Actions, and what they are compared with."""
    return {
        "actions": effort.total,
        "by_kind": dict(effort.actions),
        "from_nothing": effort.from_nothing,
        "saved": effort.saved,
    }


def _example(example: Example) -> dict[str, Any]:
    """A mistake, its quotes as objects."""
    sides = {"gold": example.gold, "predicted": example.predicted}
    quotes = {
        side: None if quote is None else {"label": quote[0], "text": quote[1]}
        for side, quote in sides.items()
    }
    return asdict(example) | quotes


def check_folder(folder: Path) -> None:
    """See that a report can be written, before the hour of work that it is about.

    Args:
        folder: For `write_report`; it is not made yet.

    Raises:
        OutputError: If it could not be written there.
    """
    for name in NAMES:
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name} is a folder: give another --report")
    place = folder.absolute()
    nearest = next(one for one in (place, *place.parents) if one.exists())
    try:
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OutputError(
            f"no report can be written into {folder} ({error.strerror}): give another --report"
        ) from error


def write_report(
    folder: Path, *, figures: Mapping[str, Any], markdown: str, page: str | None = None
) -> None:
    """Write ``report.md``, ``report.html`` and ``report.json`` into a folder, all or none.

    Args:
        folder: Made where it is missing; a report that is already there is replaced, page and all.
        figures: The JSON object.
        markdown: The same for people.
        page: The same as HTML; None for no page.

    Raises:
        OutputError: If they cannot be written.
    """
    numbers = json.dumps(figures, ensure_ascii=False, indent=2) + "\n"
    texts = {"report.md": markdown, "report.html": page, "report.json": numbers}
    # The numbers last: their presence means complete.
    files = {folder / name: [text] for name in NAMES if (text := texts[name]) is not None}
    write_whole(files, force=True)
    for name in NAMES:
        if folder / name not in files:  # of an earlier report
            (folder / name).unlink(missing_ok=True)
