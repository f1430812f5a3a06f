"""Evaluation reports as tables of text, for Markdown and the terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.length_buckets import (
    LENGTH_BUCKETS,
    LENGTH_COLUMNS,
    LENGTH_NOTES,
    LengthBucket,
    LengthUnit,
)
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.evaluation.calibration import CalibrationMetrics
from tagalong.training.evaluation.edit_effort import EDIT_ACTIONS, EditEffort
from tagalong.training.evaluation.error_types import ErrorExample
from tagalong.training.evaluation.paper_protocol import MatchCounts, PaperReport
from tagalong.training.evaluation.report import (
    CountsWithInterval,
    DroppedSummary,
    EvaluationReport,
    F1Difference,
    Interval,
    SystemComparison,
)

MAX_QUOTE_CHARACTERS = 40  # of an entity in a table
EMPTY_CELL = "-"  # a score without gold and predicted spans
MATCH_TITLES = {
    "strict": "Strict match: same start, end and label",
    "relaxed": "Relaxed match: same label and any overlap, one to one",
}


@dataclass(frozen=True, slots=True)
class TextTable:
    """A titled table of text cells."""

    title: str
    columns: tuple[str, ...]
    align: str  # one "l" or "r" per column
    rows: tuple[tuple[str, ...], ...]
    note: str = ""  # below the table


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
    rows = [("All", report.overall), *_name_lengths(report.by_length, "words")]
    heads = ("Spans", "Correct", "Wrong", "Missed", "Spurious", "P", "R", "F1")
    align = "l" + "r" * 7
    return [
        TextTable(
            "The paper's strict scores",
            heads,
            align,
            tuple((name, *_match_cells(one.strict, one.strict.incorrect)) for name, one in rows),
            LENGTH_NOTES["words"],
        ),
        TextTable(
            "The paper's relaxed scores (partial credit)",
            ("Spans", "Correct", "Half", *heads[3:]),
            align,
            tuple((name, *_match_cells(one.partial, one.partial.partial)) for name, one in rows),
            "With the paper's artefacts: one-word spans have no partial matches; by length, "
            "each word of a false positive outside gold counts as one span of 1 word. Excluded "
            "because word tags or the label list cannot represent them: "
            f"{report.dropped_gold} gold and "
            f"{pluralize(report.dropped_predicted, 'predicted span')}. "
            f"{LENGTH_NOTES['words']}",
        ),
    ]


def _name_lengths(by_length: Mapping[LengthBucket, Any], unit: LengthUnit) -> list[tuple[str, Any]]:
    return [(LENGTH_COLUMNS[unit][length], by_length[length]) for length in LENGTH_BUCKETS]


def _name_strata(
    results: EvaluationReport | SystemComparison, unit: LengthUnit
) -> list[tuple[str, Any]]:
    """Name of the row and results of every stratum, all spans first."""
    lengths = _name_lengths(results.by_length, unit)
    return [("All", results.overall), *results.by_label.items(), *lengths]


def _match_cells(counts: MatchCounts, third: int) -> tuple[str, ...]:
    numbers = (counts.correct, third, counts.missed, counts.spurious)
    ratios = (counts.precision, counts.recall, counts.f1)
    return (*map(str, numbers), *(f"{ratio:.3f}" for ratio in ratios))


def _score_table(report: EvaluationReport, scheme: str) -> TextTable:
    return TextTable(
        MATCH_TITLES[scheme],
        ("Spans", "Gold", "Pred.", "P", "R", "F1", "95 % interval"),
        "l" + "r" * 6,
        tuple(
            (name, *_score_cells(getattr(scores, scheme)))
            for name, scores in _name_strata(report, report.length_unit)
        ),
        "By length: recall by the length of the gold span, precision by the predicted one's. "
        f"{LENGTH_NOTES[report.length_unit]}",
    )


def _score_cells(scored: CountsWithInterval) -> tuple[str, ...]:
    counts = scored.counts
    support = (f"{counts.gold}", f"{counts.predicted}")
    if counts.is_empty:
        return (*support, *[EMPTY_CELL] * 4)
    ratios = (counts.precision, counts.recall, counts.f1)
    return (*support, *(f"{ratio:.3f}" for ratio in ratios), _format_interval(scored.interval))


def _format_interval(interval: Interval, sign: str = "") -> str:
    low, high = interval
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def _label_by_length_table(report: EvaluationReport) -> TextTable:
    return TextTable(
        "Strict F1 by label and length (gold spans)",
        ("Label", *LENGTH_COLUMNS[report.length_unit].values()),
        "lrrr",
        tuple(
            (label, *(_f1_cell(by_length[length].strict) for length in LENGTH_BUCKETS))
            for label, by_length in report.by_label_and_length.items()
        ),
        LENGTH_NOTES[report.length_unit],
    )


def _f1_cell(scored: CountsWithInterval) -> str:
    counts = scored.counts
    return f"{EMPTY_CELL if counts.is_empty else format(counts.f1, '.3f')} ({counts.gold})"


def _comparison_table(report: EvaluationReport, comparison: SystemComparison) -> TextTable:
    ours, differences = (_name_strata(one, report.length_unit) for one in (report, comparison))
    return TextTable(
        f"F1 against {comparison.model}",
        ("Spans", "Match", "Gold", "This", "Other", "Diff.", "95 % interval", "p"),
        "llrrrrrr",
        tuple(
            (name, scheme, *_difference_cells(getattr(other, scheme), scores.strict.counts.gold))
            for (name, scores), (_, other) in zip(ours, differences, strict=True)
            for scheme in MATCH_TITLES
        ),
        "Paired bootstrap over documents, p two-sided (Berg-Kirkpatrick et al. 2012). "
        f"{LENGTH_NOTES[report.length_unit]}",
    )


def _difference_cells(difference: F1Difference, gold: int) -> tuple[str, ...]:
    if not gold:  # F1 is 0 for both systems, whatever they predict
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
    systems: list[EvaluationReport | SystemComparison] = [report]
    systems += [report.comparison] if report.comparison else []
    return TextTable(
        "Effort: an annotator's actions to correct the predictions",
        ("Model", "Actions", "Per 100", *map(str.capitalize, EDIT_ACTIONS)),
        "l" + "r" * (2 + len(EDIT_ACTIONS)),
        tuple(
            (one.model, f"{one.effort.total_actions}", *_per_hundred_cells(one.effort))
            for one in systems
        ),
        "Per 100 gold spans, in total and by kind; annotating from scratch takes 100. "
        "Actions are not minutes: the text must be read in both cases.",
    )


def _per_hundred_cells(effort: EditEffort) -> tuple[str, ...]:
    if not effort.from_scratch:  # a rate per gold span is undefined without gold
        return (EMPTY_CELL,) * (1 + len(EDIT_ACTIONS))
    return tuple(f"{effort.per_hundred(action):.1f}" for action in (None, *EDIT_ACTIONS))


def _error_table(report: EvaluationReport) -> TextTable:
    total = sum(errors.count for errors in report.errors_by_type.values())
    return TextTable(
        "Errors: spans without a strict match, each once",
        ("Kind", "Count", "Share", "Most frequent"),
        "lrrl",
        tuple(
            (
                error_type,
                f"{errors.count}",
                f"{errors.count / total:.1%}",
                _describe_error(errors.examples[0]) if errors.examples else "",
            )
            for error_type, errors in report.errors_by_type.items()
            if errors.count
        ),
    )


def error_examples(report: EvaluationReport) -> list[tuple[str, str, str, str]]:
    """Error type, one-line description, document id and context of each example."""
    return [
        (error_type, _describe_error(example), example.document, example.context)
        for error_type, errors in report.errors_by_type.items()
        for example in errors.examples
    ]


def _describe_error(example: ErrorExample) -> str:
    """Gold, prediction and number of occurrences, in one line."""
    quotes = [
        _format_quote(quote.label, quote.text)
        for quote in (example.gold, example.predicted)
        if quote
    ]
    times = f", {example.times} times" if example.times > 1 else ""
    return " -> ".join(quotes) + times


def _format_quote(label: str, text: str) -> str:
    line = to_single_line(text)
    if len(line) > MAX_QUOTE_CHARACTERS:
        half = MAX_QUOTE_CHARACTERS // 2 - 2  # both ends tell long entities apart
        line = f"{line[:half]} ... {line[-half:]}"
    return f"{line} [{label}]"


def _dropped_table(report: EvaluationReport) -> TextTable:
    return TextTable(
        "Dropped annotations",
        ("Where", "Why", "Count", "For example"),
        "llrl",
        (
            *_dropped_rows("gold, not flat BIO", report.dropped_by_flat_bio),
            *_dropped_rows("reading gold", report.dropped_on_import),
            *_dropped_rows("predicting", report.dropped_predictions),
        ),
        "Not flat BIO: still in gold, missed unless predicted. Reading: not in gold. "
        "Predicting: not among the predictions.",
    )


def _dropped_rows(step: str, dropped: DroppedSummary) -> Iterator[tuple[str, ...]]:
    first = {one.reason: one for one in reversed(dropped.examples)}
    for reason, count in dropped.by_reason.items():
        example = first.get(reason)  # none with --examples 0
        quote = _format_quote(example.label, example.text) if example else ""
        yield step, reason, f"{count}", quote


def _reliability_table(calibration: CalibrationMetrics) -> TextTable:
    unscored = f" Without a score: {calibration.unscored}." if calibration.unscored else ""
    return TextTable(
        "Calibration: predicted spans by score",
        ("Score", "Spans", "Mean score", "Correct"),
        "lrrr",
        tuple(
            (
                f"{part.low:.1f} to {part.high:.1f}",
                f"{part.spans}",
                f"{part.confidence:.3f}",
                f"{part.accuracy:.3f}",
            )
            for part in calibration.bins
            if part.spans
        ),
        f"Expected calibration error {calibration.ece:.4f}; 0 is best.{unscored}",
    )
