"""Evaluation reports as tables of text, for Markdown and the terminal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.evaluation.calibration import CalibrationMetrics
from tagalong.training.evaluation.edit_effort import EDIT_ACTIONS, EditEffort
from tagalong.training.evaluation.error_types import ErrorExample, ErrorSummary
from tagalong.training.evaluation.paper_protocol import MatchCounts, PaperReport
from tagalong.training.evaluation.report import (
    CountsWithInterval,
    DroppedSummary,
    EvaluationReport,
    F1Difference,
    StratumScores,
    SystemComparison,
)

LENGTH_COLUMN_NAMES: dict[LengthBucket, str] = {"1": "1 word", "2": "2 words", "3+": "3+ words"}
MAX_QUOTE_CHARACTERS = 40  # of an entity in a table
EMPTY_CELL = "-"  # a score without gold and predicted spans
SCORE_COLUMNS = ("Spans", "Gold", "Pred.", "P", "R", "F1", "95 % interval")


@dataclass(frozen=True, slots=True)
class TextTable:
    """A titled table of text cells.

    Attributes:
        align: One "l" or "r" per column.
        note: Explanation below the table, or empty.
    """

    title: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def report_tables(report: EvaluationReport) -> list[TextTable]:
    """Build the tables of a report; empty ones are omitted."""
    tables = [_score_table(report, "strict"), _score_table(report, "relaxed")]
    if len(report.by_label) > 1:
        tables.append(_label_by_length_table(report))
    if report.comparison:
        tables.append(_comparison_table(report, report.comparison))
    tables += [_edit_effort_table(report), _error_table(report), _dropped_table(report)]
    if report.calibration:
        tables.append(_reliability_table(report.calibration))
    return [table for table in tables if table.rows]


def paper_tables(report: PaperReport) -> list[TextTable]:
    """Build one table per scheme of the paper's protocol."""
    rows = [("All", report.overall)]
    rows += [(LENGTH_COLUMN_NAMES[length], report.by_length[length]) for length in LENGTH_BUCKETS]
    strict = tuple(
        (name, *_match_count_cells(entry.strict, entry.strict.incorrect)) for name, entry in rows
    )
    partial = tuple(
        (name, *_match_count_cells(entry.partial, entry.partial.partial)) for name, entry in rows
    )
    heads = ("Spans", "Correct", "Wrong", "Missed", "Spurious", "P", "R", "F1")
    return [
        TextTable("The paper's strict scores", heads, "l" + "r" * 7, strict),
        TextTable(
            title="The paper's relaxed scores (partial credit)",
            columns=("Spans", "Correct", "Half", *heads[3:]),
            align="l" + "r" * 7,
            rows=partial,
            note=(
                "With the paper's artefacts: one-word spans have no partial matches; by length, "
                "each word of a false positive outside gold counts as one span of 1 word. Excluded "
                "because word tags or the label list cannot represent them: "
                f"{report.dropped_gold} gold and {report.dropped_predicted} predicted spans."
            ),
        ),
    ]


def _match_count_cells(outcome: MatchCounts, half: int) -> tuple[str, ...]:
    counts = (outcome.correct, half, outcome.missed, outcome.spurious)
    ratios = (outcome.precision, outcome.recall, outcome.f1)
    return (*(f"{count}" for count in counts), *(f"{ratio:.3f}" for ratio in ratios))


def _score_table(report: EvaluationReport, scheme: Literal["strict", "relaxed"]) -> TextTable:
    parts: list[tuple[str, StratumScores]] = [("All", report.overall), *report.by_label.items()]
    parts += [(LENGTH_COLUMN_NAMES[length], report.by_length[length]) for length in LENGTH_BUCKETS]
    meaning = {
        "strict": "Strict match: same start, end and label",
        "relaxed": "Relaxed match: same label and any overlap, one to one",
    }
    note = "By length: recall by the length of the gold span, precision by the predicted one's."
    return TextTable(
        title=meaning[scheme],
        columns=SCORE_COLUMNS,
        align="l" + "r" * 6,
        rows=tuple(
            (name, *_score_cells(scores.strict if scheme == "strict" else scores.relaxed))
            for name, scores in parts
        ),
        note=note,
    )


def _score_cells(scored: CountsWithInterval) -> tuple[str, ...]:
    counts = scored.counts
    support = (f"{counts.gold}", f"{counts.predicted}")
    if not counts.gold and not counts.predicted:
        return (*support, *[EMPTY_CELL] * 4)
    ratios = (counts.precision, counts.recall, counts.f1)
    return (*support, *(f"{ratio:.3f}" for ratio in ratios), _format_interval(scored.interval))


def _format_interval(interval: tuple[float, float], *, sign: str = "") -> str:
    low, high = interval
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def _label_by_length_table(report: EvaluationReport) -> TextTable:
    return TextTable(
        title="Strict F1 by label and length (gold spans)",
        columns=("Label", *LENGTH_COLUMN_NAMES.values()),
        align="lrrr",
        rows=tuple(
            (label, *(_f1_cell(by_length[length].strict) for length in LENGTH_BUCKETS))
            for label, by_length in report.by_label_and_length.items()
        ),
    )


def _f1_cell(scored: CountsWithInterval) -> str:
    counts = scored.counts
    f1 = f"{counts.f1:.3f}" if counts.gold or counts.predicted else EMPTY_CELL
    return f"{f1} ({counts.gold})"


def _comparison_table(report: EvaluationReport, comparison: SystemComparison) -> TextTable:
    parts = [("All", report.overall, comparison.overall)]
    parts += [
        (label, scores, comparison.by_label[label]) for label, scores in report.by_label.items()
    ]
    parts += [
        (LENGTH_COLUMN_NAMES[length], report.by_length[length], comparison.by_length[length])
        for length in LENGTH_BUCKETS
    ]
    return TextTable(
        title=f"F1 against {comparison.model}",
        columns=("Spans", "Match", "Gold", "This", "Other", "Diff.", "95 % interval", "p"),
        align="llrrrrrr",
        rows=tuple(
            (name, match, *_difference_cells(difference, scores.strict.counts.gold))
            for name, scores, differences in parts
            for match, difference in (
                ("strict", differences.strict),
                ("relaxed", differences.relaxed),
            )
        ),
        note="Paired bootstrap over documents, p two-sided (Berg-Kirkpatrick et al. 2012).",
    )


def _difference_cells(difference: F1Difference, gold: int) -> tuple[str, ...]:
    if not gold:  # whatever is found there, F1 is 0 on both quotes
        return (f"{gold}", *[EMPTY_CELL] * 5)
    return (
        f"{gold}",
        f"{difference.other_f1 + difference.difference:.3f}",
        f"{difference.other_f1:.3f}",
        f"{difference.difference:+.3f}",
        _format_interval(difference.interval, sign="+"),
        f"{difference.p_value:.3f}",
    )


def _edit_effort_table(report: EvaluationReport) -> TextTable:
    systems = [(report.model, report.effort)]
    if report.comparison:
        systems.append((report.comparison.model, report.comparison.effort))
    return TextTable(
        title="Effort: an annotator's actions to correct the predictions",
        columns=(
            "Model",
            "Actions",
            "Per 100",
            *(action.capitalize() for action in EDIT_ACTIONS),
        ),
        align="l" + "r" * (2 + len(EDIT_ACTIONS)),
        rows=tuple(
            (name, f"{effort.total_actions}", *_per_hundred_cells(effort))
            for name, effort in systems
        ),
        note=(
            "Per 100 gold spans, in total and by kind; annotating from scratch takes 100. "
            "Actions are not minutes: the text must be read in both cases."
        ),
    )


def _per_hundred_cells(effort: EditEffort) -> tuple[str, ...]:
    if not effort.from_scratch:
        return (EMPTY_CELL,) * (1 + len(EDIT_ACTIONS))
    return tuple(f"{effort.per_hundred(action):.1f}" for action in (None, *EDIT_ACTIONS))


def _error_table(report: EvaluationReport) -> TextTable:
    total = sum(entry.count for entry in report.errors_by_type.values())
    return TextTable(
        title="Errors: spans without a strict match, each once",
        columns=("Kind", "Count", "Share", "Most frequent"),
        align="lrrl",
        rows=tuple(
            (kind, f"{entry.count}", f"{entry.count / total:.1%}", _most_frequent_example(entry))
            for kind, entry in report.errors_by_type.items()
            if entry.count
        ),
    )


def _most_frequent_example(errors: ErrorSummary) -> str:
    return describe_error(errors.examples[0]) if errors.examples else ""


def describe_error(example: ErrorExample) -> str:
    """Describe an error in one line: gold, prediction and number of occurrences."""
    quotes = [
        f"{_shorten_quote(text)} [{label}]"
        for label, text in (quote for quote in (example.gold, example.predicted) if quote)
    ]
    times = f", {example.occurrences} times" if example.occurrences > 1 else ""
    return " -> ".join(quotes) + times


def _shorten_quote(text: str) -> str:
    line = to_single_line(text)
    half = MAX_QUOTE_CHARACTERS // 2 - 2
    return line if len(line) <= MAX_QUOTE_CHARACTERS else f"{line[:half]} ... {line[-half:]}"


def _dropped_table(report: EvaluationReport) -> TextTable:
    steps = (
        ("gold, not flat BIO", report.dropped_by_flat_bio),
        ("reading gold", report.dropped_on_import),
        ("predicting", report.dropped_predictions),
    )
    return TextTable(
        title="Dropped annotations",
        columns=("Where", "Why", "Count", "For example"),
        align="llrl",
        rows=tuple(row for step, dropped in steps for row in _dropped_rows(step, dropped)),
        note=(
            "Not flat BIO: still in gold, missed unless predicted. Reading: not in gold. "
            "Predicting: not among the predictions."
        ),
    )


def _dropped_rows(step: str, dropped: DroppedSummary) -> Iterator[tuple[str, ...]]:
    for reason, count in dropped.by_reason.items():
        yield step, reason, f"{count}", _dropped_example(dropped.examples, reason)


def _dropped_example(examples: Iterable[DroppedAnnotation], reason: str) -> str:
    first = next((one for one in examples if one.reason == reason), None)
    return f"{_shorten_quote(first.text)} [{first.label}]" if first else ""


def _reliability_table(calibration: CalibrationMetrics) -> TextTable:
    unscored = f" Without a score: {calibration.unscored}." if calibration.unscored else ""
    return TextTable(
        title="Calibration: predicted spans by score",
        columns=("Score", "Spans", "Mean score", "Correct"),
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
        note=f"Expected calibration error {calibration.ece:.4f}; 0 is best.{unscored}",
    )
