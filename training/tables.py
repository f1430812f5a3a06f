"""A report as tables of text, the same for Markdown and for the terminal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ner.document import Lost
from ner.printable import on_one_line
from ner.scoring import LENGTHS, Length
from training.calibration import Calibration
from training.effort import ACTIONS, Effort
from training.mistakes import Example, Mistakes
from training.paper_protocol import Outcome, PaperReport
from training.report import Comparison, Difference, Figure, Figures, Losses, Report

NAMES: dict[Length, str] = {"1": "1 word", "2": "2 words", "3+": "3+ words"}
LONGEST_QUOTE = 40  # characters of an entity that a table shows
NOTHING = "-"  # a figure of nothing: no gold span, and no predicted one
SCORES = ("Spans", "Gold", "Pred.", "P", "R", "F1", "95 % interval")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text under a title.

    Attributes:
        title: What it shows.
        columns: Their heads.
        align: "l" or "r" for each column.
        rows: As many cells each as there are columns.
        note: What a reader must know to read it, or nothing.
    """

    title: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def report_tables(report: Report) -> list[Table]:
    """Lay out a report.

    Args:
        report: Any report.

    Returns:
        Its tables, those without rows left out.
    """
    tables = [_scores(report, "strict"), _scores(report, "relaxed")]
    if len(report.by_label) > 1:
        tables.append(_cross(report))
    if report.against:
        tables.append(_against(report, report.against))
    tables += [_effort(report), _mistakes(report), _losses(report)]
    if report.calibration:
        tables.append(_calibration(report.calibration))
    return [table for table in tables if table.rows]


def paper_tables(report: PaperReport) -> list[Table]:
    """Lay out a report by the paper's protocol.

    Args:
        report: Any report.

    Returns:
        A table of each scheme.
    """
    rows = [("All", report.overall)]
    rows += [(NAMES[length], report.by_length[length]) for length in LENGTHS]
    strict = tuple((name, *_outcome(entry.strict, entry.strict.incorrect)) for name, entry in rows)
    partial = tuple((name, *_outcome(entry.partial, entry.partial.partial)) for name, entry in rows)
    heads = ("Spans", "Correct", "Wrong", "Missed", "Spurious", "P", "R", "F1")
    return [
        Table("The paper's strict scores", heads, "l" + "r" * 7, strict),
        Table(
            title="The paper's relaxed scores (partial credit)",
            columns=("Spans", "Correct", "Half", *heads[3:]),
            align="l" + "r" * 7,
            rows=partial,
            note=(
                "Artefacts included: spans of one word never match in part; by length, every false "
                "positive outside gold counts as 1 word, once per word. Left out, since word tags "
                f"or the label list cannot hold them: {report.dropped_gold} gold and "
                f"{report.dropped_predicted} predicted spans."
            ),
        ),
    ]


def _outcome(outcome: Outcome, half: int) -> tuple[str, ...]:
    """Counts and ratios of the paper's protocol; half is what does not count in full."""
    counts = (outcome.correct, half, outcome.missed, outcome.spurious)
    ratios = (outcome.precision, outcome.recall, outcome.f1)
    return (*(f"{count}" for count in counts), *(f"{ratio:.3f}" for ratio in ratios))


def _scores(report: Report, scheme: Literal["strict", "relaxed"]) -> Table:
    """One way to compare: overall, by label, by length."""
    parts: list[tuple[str, Figures]] = [("All", report.overall), *report.by_label.items()]
    parts += [(NAMES[length], report.by_length[length]) for length in LENGTHS]
    meaning = {
        "strict": "Strict match: same start, end and label",
        "relaxed": "Relaxed match: same label and any overlap, one to one",
    }
    note = "By length: recall by the length of the gold span, precision by the predicted one's."
    return Table(
        title=meaning[scheme],
        columns=SCORES,
        align="l" + "r" * 6,
        rows=tuple(
            (name, *_figure(figures.strict if scheme == "strict" else figures.relaxed))
            for name, figures in parts
        ),
        note=note,
    )


def _figure(figure: Figure) -> tuple[str, ...]:
    """Support, ratios and interval."""
    counts = figure.counts
    support = (f"{counts.gold}", f"{counts.predicted}")
    if not counts.gold and not counts.predicted:
        return (*support, *[NOTHING] * 4)
    ratios = (counts.precision, counts.recall, counts.f1)
    return (*support, *(f"{ratio:.3f}" for ratio in ratios), _interval(figure.interval))


def _interval(interval: tuple[float, float], *, sign: str = "") -> str:
    """Both ends; the sign is shown where it matters."""
    low, high = interval
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def _cross(report: Report) -> Table:
    """F1 of each label at each length."""
    return Table(
        title="Strict F1 by label and length (gold spans)",
        columns=("Label", *NAMES.values()),
        align="lrrr",
        rows=tuple(
            (label, *(_cell(by_length[length].strict) for length in LENGTHS))
            for label, by_length in report.by_label_and_length.items()
        ),
    )


def _cell(figure: Figure) -> str:
    """F1 and its support."""
    counts = figure.counts
    f1 = f"{counts.f1:.3f}" if counts.gold or counts.predicted else NOTHING
    return f"{f1} ({counts.gold})"


def _against(report: Report, comparison: Comparison) -> Table:
    """Two systems."""
    parts = [("All", report.overall, comparison.overall)]
    parts += [
        (label, figures, comparison.by_label[label]) for label, figures in report.by_label.items()
    ]
    parts += [
        (NAMES[length], report.by_length[length], comparison.by_length[length])
        for length in LENGTHS
    ]
    return Table(
        title=f"F1 against {comparison.model}",
        columns=("Spans", "Match", "Gold", "This", "Other", "Diff.", "95 % interval", "p"),
        align="llrrrrrr",
        rows=tuple(
            (name, match, *_difference(difference, figures.strict.counts.gold))
            for name, figures, differences in parts
            for match, difference in (
                ("strict", differences.strict),
                ("relaxed", differences.relaxed),
            )
        ),
        note="Paired bootstrap over documents, p two-sided (Berg-Kirkpatrick et al. 2012).",
    )


def _difference(difference: Difference, gold: int) -> tuple[str, ...]:
    """Support, both scores, what lies between them, and how sure that is."""
    if not gold:  # whatever is found there, F1 is 0 on both sides
        return (f"{gold}", *[NOTHING] * 5)
    return (
        f"{gold}",
        f"{difference.f1 + difference.difference:.3f}",
        f"{difference.f1:.3f}",
        f"{difference.difference:+.3f}",
        _interval(difference.interval, sign="+"),
        f"{difference.p:.3f}",
    )


def _effort(report: Report) -> Table:
    """What it takes to put each system's answers right."""
    systems = [(report.model, report.effort)]
    if report.against:
        systems.append((report.against.model, report.against.effort))
    return Table(
        title="Effort: an annotator's actions to put the answers right",
        columns=("Answers of", "Actions", "Per 100", *(action.capitalize() for action in ACTIONS)),
        align="l" + "r" * (2 + len(ACTIONS)),
        rows=tuple((name, f"{effort.total}", *_per_hundred(effort)) for name, effort in systems),
        note=(
            "Per 100 gold spans, in all and of each kind; to annotate from nothing takes 100. "
            "Actions are not minutes: the text has to be read in either case."
        ),
    )


def _per_hundred(effort: Effort) -> tuple[str, ...]:
    """Actions for every hundred gold spans, in all and of each kind."""
    if not effort.from_nothing:
        return (NOTHING,) * (1 + len(ACTIONS))
    return tuple(f"{effort.per_hundred(action):.1f}" for action in (None, *ACTIONS))


def _mistakes(report: Report) -> Table:
    """Mistakes by kind, each with the one most often made."""
    total = sum(entry.count for entry in report.mistakes.values())
    return Table(
        title="Mistakes: what is not a strict match, each span once",
        columns=("Kind", "Count", "Share", "Most frequent"),
        align="lrrl",
        rows=tuple(
            (kind, f"{entry.count}", f"{entry.count / total:.1%}", _most_frequent(entry))
            for kind, entry in report.mistakes.items()
            if entry.count
        ),
    )


def _most_frequent(mistakes: Mistakes) -> str:
    """The first example in words."""
    return describe(mistakes.examples[0]) if mistakes.examples else ""


def describe(example: Example) -> str:
    """Say in one line what was taken for what, and how often.

    Args:
        example: Any example.

    Returns:
        The line.
    """
    sides = [
        f"{_shortened(text)} [{label}]"
        for label, text in (quote for quote in (example.gold, example.predicted) if quote)
    ]
    times = f", {example.times} times" if example.times > 1 else ""
    return " -> ".join(sides) + times


def _shortened(text: str) -> str:
    """A quote on one line, its middle left out where it is long."""
    line = on_one_line(text)
    half = LONGEST_QUOTE // 2 - 2
    return line if len(line) <= LONGEST_QUOTE else f"{line[:half]} ... {line[-half:]}"


def _losses(report: Report) -> Table:
    """What was lost, where, and why."""
    places = (
        ("gold, beyond flat BIO", report.lost_flat),
        ("reading gold", report.lost_reading),
        ("predicting", report.lost_predicted),
    )
    return Table(
        title="Lost annotations",
        columns=("Where", "Why", "Count", "For example"),
        align="llrl",
        rows=tuple(row for place, losses in places for row in _reasons(place, losses)),
        note=(
            "Beyond flat BIO: still part of gold, so missed unless found. Reading: not in gold. "
            "Predicting: not among the predictions."
        ),
    )


def _reasons(place: str, losses: Losses) -> Iterator[tuple[str, ...]]:
    """One row per reason."""
    for reason, count in losses.by_reason.items():
        yield place, reason, f"{count}", _example(losses.examples, reason)


def _example(lost: Iterable[Lost], reason: str) -> str:
    """The first loss of that reason in words."""
    first = next((one for one in lost if one.reason == reason), None)
    return f"{_shortened(first.text)} [{first.label}]" if first else ""


def _calibration(calibration: Calibration) -> Table:
    """How well scores foretell what is right."""
    unscored = f" Without a score: {calibration.unscored}." if calibration.unscored else ""
    return Table(
        title="Calibration: predicted spans by score",
        columns=("Score", "Spans", "Mean score", "Right"),
        align="lrrr",
        rows=tuple(
            (
                f"{part.low:.1f} to {part.high:.1f}",
                f"{part.spans}",
                f"{part.confidence:.3f}",
                f"{part.accuracy:.3f}",
            )
            for part in calibration.bins
            if part.spans
        ),
        note=f"Expected calibration error {calibration.ece:.4f}; 0 is perfect.{unscored}",
    )
