"""The HTML report: well-formed, escaped, self-contained, and with the values of the JSON."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tagalong.training.evaluation.calibration import ReliabilityBin
from tagalong.training.evaluation.edit_effort import EDIT_ACTIONS, EditEffort
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.html import (
    describe_difference,
    reliability_points,
    report_to_html,
)
from tagalong.training.evaluation.report import (
    EvaluationReport,
    F1Difference,
    Interval,
    StratumScores,
    report_to_json,
)
from tests.html_page import HOSTILE, LINKS, Page
from tests.training.benchmark.test_benchmark import Cells

TEXT = "Naloxone reverses the effect of clonidine in 😀 hypertension."
OPTIONS = EvaluationOptions(("Chemical", "Disease"), resamples=20)


def make_report(
    text: str = TEXT, name: str = "tagger-1", *, source: str = "gold.jsonl"
) -> EvaluationReport:
    """Two systems and all parts of a report."""
    gold = [
        Document(name, text, (Span(0, 8, "Chemical"), Span(32, 41, "Chemical"))),
        Document("2", TEXT, (Span(47, 59, "Disease"), Span(32, 59, "Disease"))),
    ]
    predicted = [
        Prediction((Span(0, 8, "Chemical", 0.9), Span(28, 41, "Disease", 0.4)), 0.8, name),
        Prediction((), 1.0, name),
    ]
    lost = [DroppedAnnotation("Chemical", text[:5], "outvoted", 0, 5, name)]
    against = [Prediction((), 1.0, f"other {name}")] * 2
    return evaluate(gold, predicted, source=source, against=against, dropped=lost, options=OPTIONS)


def test_page_has_the_values_of_the_json() -> None:
    report = make_report()
    text = Page(report_to_html(report)).text
    figures = report_to_json(report)
    expected = [f"{figures['strict']['f1']:.3f}", f"{figures['strict']['interval'][0]:.3f}"]
    expected += [f"{entry['strict']['f1']:.3f}" for entry in figures["by_length"].values()]
    expected += [f"{entry['strict']['f1']:.3f}" for entry in figures["by_label"].values()]
    expected += [f"{figures['effort']['actions'] * 100 / figures['effort']['from_scratch']:.1f}"]
    expected += ["other tagger-1", "outvoted", "gold.jsonl", "Expected calibration error"]
    for figure in expected:
        assert figure in text, figure
    assert all(warning in text for warning in report.warnings)


def make_comparison(*, with_other: bool = True) -> EvaluationReport:
    """Two systems with different errors on entities of every length."""
    chemicals = (Span(0, 8, "Chemical"), Span(32, 41, "Chemical"))
    rest = (Span(9, 28, "Disease"), Span(42, 59, "Disease"), Span(22, 31, "Disease"))
    gold = [Document("1", TEXT, chemicals), Document("2", TEXT, (*chemicals, *rest[:2]))]
    gold += [Document("3", TEXT, rest), Document("4", TEXT, (*chemicals, *rest))]
    one = [chemicals[:1], (*chemicals, rest[0]), (rest[2], Span(9, 21, "Disease")), rest]
    other = [chemicals, (Span(0, 8, "Disease"), rest[1]), rest[:2], (Span(59, 60, "Disease"),)]
    predicted, against = (
        [Prediction(spans, 1.0, name) for spans in answers]
        for name, answers in (("one", one), ("other", other))
    )
    return evaluate(gold, predicted, against=against if with_other else None, options=OPTIONS)


def strata_of(
    report: EvaluationReport,
) -> list[list[tuple[str, StratumScores, F1Difference | None]]]:
    """Names, values and differences of the rows of both tables, in order."""
    against = report.comparison
    whole = ("All", report.overall, against.overall.strict if against else None)
    lengths = [
        (name, report.by_length[length], against.by_length[length].strict if against else None)
        for length, name in (("1", "1 word"), ("2", "2 words"), ("3+", "3+ words"))
    ]
    labels = [
        (label, figures, against.by_label[label].strict if against else None)
        for label, figures in report.by_label.items()
    ]
    return [[whole, *lengths], [whole, *labels]]


def cells_of(name: str, figures: StratumScores, difference: F1Difference | None) -> list[str]:
    """The expected cells of a row."""
    counts, (low, high) = figures.strict.counts, figures.strict.interval
    if difference is None:
        ratios = [counts.precision, counts.recall]
        shown = [f"{counts.f1:.3f}", f"{low:.3f} to {high:.3f}", *(f"{one:.3f}" for one in ratios)]
    else:
        ends = [f"{end:+.3f}".replace("-", "−") for end in difference.interval]
        other, p = difference.other_f1, difference.p_value
        shown = [f"{counts.f1:.3f}", f"{other:.3f}", " to ".join(ends), f"{p:.3f}"]
    return [name, "", *shown, f"{counts.gold}"]


@pytest.mark.parametrize("with_other", [True, False])
def test_rows_have_the_values_of_their_stratum(with_other: bool) -> None:
    report = make_comparison(with_other=with_other)
    by_length, by_label = strata_of(report)
    expected = [cells_of(*row) for row in (*by_length, *by_label)]
    assert len({tuple(row) for row in expected}) == 6  # only All is in both tables
    scores = report.overall.strict.counts
    assert len({scores.precision, scores.recall, report.overall.relaxed.counts.recall}) == 3
    shown = Cells(report_to_html(report)).rows
    heads = [place for place, row in enumerate(shown) if row[0] == "Entities"]
    first, second = (shown[head + 1 : head + 5] for head in heads)
    assert [*first, *second[:3]] == expected
    columns = ["This", "Other", "Difference, 95 %", "p"]
    columns = columns if with_other else ["F1", "95 %", "Precision", "Recall"]
    assert [shown[head] for head in heads] == [["Entities", "0 to 1", *columns, "Gold"]] * 2


def whisker(f1: float, interval: Interval) -> list[tuple[str, str]]:
    low, high = interval
    width = f"left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%"
    return [("i", width), ("b", f"left: {100 * f1:.2f}%")]


def bars(effort: EditEffort) -> list[tuple[str, str]]:
    return [("i", f"width: {effort.per_hundred(action):.2f}%") for action in EDIT_ACTIONS]


@pytest.mark.parametrize("with_other", [True, False])
def test_charts_are_at_their_values(with_other: bool) -> None:
    report = make_comparison(with_other=with_other)
    expected = []
    for _, figures, difference in (row for rows in strata_of(report) for row in rows):
        if difference is not None:
            expected += whisker(difference.other_f1, difference.other_f1_interval)
        expected += whisker(figures.strict.counts.f1, figures.strict.interval)
    expected += bars(report.effort)
    if report.comparison:
        expected += bars(report.comparison.effort)
    page = report_to_html(report)
    assert Cells(page).marks == expected
    sides = [name for name in Page(page).values("class") if name and name.startswith("range ")]
    assert sides == (["range theirs", "range ours"] if with_other else ["range ours"]) * 7


def test_each_system_has_its_own_effort() -> None:
    report = make_comparison()
    assert report.comparison is not None
    efforts = [("one", report.effort), ("other", report.comparison.effort)]
    assert efforts[0][1].action_counts == {"add": 5, "delete": 0, "relabel": 0, "move an end": 1}
    assert efforts[1][1].action_counts == {"add": 8, "delete": 1, "relabel": 1, "move an end": 0}
    text = Page(report_to_html(report)).text
    for name, effort in efforts:
        shown = ", ".join(f"{action} {effort.per_hundred(action):.1f}" for action in EDIT_ACTIONS)
        assert f" {name}: {effort.per_hundred():.1f} {shown}. The full bar is" in text


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ((0.01, 0.2), "better"),
        ((-0.2, -0.01), "worse"),
        ((-0.1, 0.1), "neither better nor worse beyond noise"),
        ((0.0, 0.2), "neither better nor worse beyond noise"),
        ((-0.2, 0.0), "neither better nor worse beyond noise"),
    ],
)
def test_differences_are_marked_by_their_interval(interval: Interval, sentence: str) -> None:
    report = make_comparison()
    assert report.comparison is not None
    difference = replace(report.comparison.overall.strict, interval=interval)
    assert describe_difference(difference) == sentence
    overall = replace(report.comparison.overall, strict=difference)
    against = replace(report.comparison, overall=overall)
    text = Page(report_to_html(replace(report, comparison=against))).text
    assert f"It is {sentence} {'compared with' if ' ' in sentence else 'than'} other, which" in text


def test_documents_show_gold_and_predictions() -> None:
    page = report_to_html(make_report())
    assert '<span class="piece right">Naloxone</span>' in page
    assert '<span class="piece missed spurious">clonidine</span>' in page
    assert '<span class="piece missed">hypertension</span>' in page


@given(st.text(min_size=60, max_size=80), st.text(min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_outside_strings_are_escaped(text: str, name: str) -> None:
    known = set(Page(report_to_html(make_report())).tags)
    assert set(Page(report_to_html(make_report(text, name))).tags) <= known


def test_page_loads_and_runs_nothing() -> None:
    page = Page(report_to_html(make_report(HOSTILE.ljust(60), HOSTILE, source=HOSTILE)))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert {value for _, name, value in page.attributes if name in LINKS} == {"data:,"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "".join(page.words).count(HOSTILE) >= 3


@pytest.mark.parametrize("predicted", [(), (Span(0, 8, "Chemical"),)])
def test_minimal_report_has_a_page(predicted: tuple[Span, ...]) -> None:
    report = evaluate([Document("1", TEXT)], [Prediction(predicted, 1.0, "v")], options=OPTIONS)
    page = Page(report_to_html(report))
    assert "0.000" in page.text
    alone = replace(report, warnings=(), worst_documents=())
    assert "Limits" not in Page(report_to_html(alone)).text


def test_without_gold_effort_has_no_ratio() -> None:
    predicted = [Prediction((Span(0, 8, "Chemical"), Span(32, 41, "Chemical")), 1.0, "v")]
    report = evaluate([Document("1", TEXT)], predicted, options=OPTIONS)
    text = Page(report_to_html(report)).text
    assert "v: 2 in all" in text
    assert "each action deletes a prediction" in text
    assert "v: 0.0" not in text


def test_chart_marks_are_at_their_values() -> None:
    report = make_report()
    styles = Page(report_to_html(report)).values("style")
    strict = report.overall.strict
    assert f"left: {100 * strict.counts.f1:.2f}%" in styles
    low, high = strict.interval
    assert f"left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%" in styles


def test_reliability_diagram_dots_are_at_their_bins() -> None:
    bins = [
        ReliabilityBin(0.0, 0.1, 0, 0.0, 0.0),
        ReliabilityBin(0.4, 0.5, 25, 0.45, 0.4),
        ReliabilityBin(0.9, 1.0, 100, 0.95, 0.9),
    ]
    assert reliability_points(bins) == [(0.45, 0.4, 2.5), (0.95, 0.9, 5.0)]
    page = Page(report_to_html(make_report()))
    calibration = make_report().calibration
    assert calibration is not None
    drawn = [
        (f"{100 * x:.2f}", f"{100 - 100 * y:.2f}")
        for x, y, _ in reliability_points(calibration.bins)
    ]
    assert list(zip(page.values("cx"), page.values("cy"), strict=True)) == drawn
