"""The page of a report: whole, escaped, loading nothing, and with the figures of the JSON."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.document import Document, Lost, Prediction, Span
from tests.page import HOSTILE, LINKS, Page
from training.calibration import Bin
from training.evaluate import Options, evaluate
from training.report import Report, report_to_json
from training.report_page import points, report_to_html

TEXT = "Naloxone reverses the effect of clonidine in 😀 hypertension."
OPTIONS = Options(("Chemical", "Disease"), resamples=20)


def judged(text: str = TEXT, name: str = "tagger-1", *, source: str = "gold.jsonl") -> Report:
    """Two systems and everything that a report can have."""
    gold = [
        Document(name, text, (Span(0, 8, "Chemical"), Span(32, 41, "Chemical"))),
        Document("2", TEXT, (Span(47, 59, "Disease"), Span(32, 59, "Disease"))),
    ]
    said = [
        Prediction((Span(0, 8, "Chemical", 0.9), Span(28, 41, "Disease", 0.4)), 0.8, name),
        Prediction((), 1.0, name),
    ]
    lost = [Lost("Chemical", text[:5], "outvoted", 0, 5, name)]
    against = [Prediction((), 1.0, f"other {name}")] * 2
    return evaluate(gold, said, source=source, against=against, lost=lost, options=OPTIONS)


def test_it_holds_the_figures_of_the_json() -> None:
    report = judged()
    text = Page(report_to_html(report)).text
    figures = report_to_json(report)
    expected = [f"{figures['strict']['f1']:.3f}", f"{figures['strict']['interval'][0]:.3f}"]
    expected += [f"{entry['strict']['f1']:.3f}" for entry in figures["by_length"].values()]
    expected += [f"{entry['strict']['f1']:.3f}" for entry in figures["by_label"].values()]
    expected += [f"{figures['effort']['actions'] * 100 / figures['effort']['from_nothing']:.1f}"]
    expected += ["other tagger-1", "outvoted", "gold.jsonl", "Expected calibration error"]
    for figure in expected:
        assert figure in text, figure
    assert "Intervals are rough" in text  # the warnings come with it


def test_documents_are_drawn_with_both_sides() -> None:
    page = report_to_html(judged())
    assert '<span class="piece right">Naloxone</span>' in page
    assert '<span class="piece missed spurious">clonidine</span>' in page
    assert '<span class="piece missed">hypertension</span>' in page


@given(st.text(min_size=60, max_size=80), st.text(min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_whatever_comes_from_outside_nothing_of_it_is_markup(text: str, name: str) -> None:
    known = set(Page(report_to_html(judged())).tags)
    assert set(Page(report_to_html(judged(text, name))).tags) <= known


def test_it_loads_nothing_and_runs_nothing() -> None:
    page = Page(report_to_html(judged(HOSTILE.ljust(60), HOSTILE, source=HOSTILE)))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert {value for _, name, value in page.attributes if name in LINKS} == {"data:,"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "".join(page.words).count(HOSTILE) >= 3


@pytest.mark.parametrize("said", [(), (Span(0, 8, "Chemical"),)])
def test_a_report_of_next_to_nothing_is_a_page_too(said: tuple[Span, ...]) -> None:
    report = evaluate([Document("1", TEXT)], [Prediction(said, 1.0, "v")], options=OPTIONS)
    page = Page(report_to_html(report))
    assert "0.000" in page.text
    alone = replace(report, warnings=(), worst=())
    assert "To know first" not in Page(report_to_html(alone)).text


def test_without_gold_the_effort_is_counted_and_not_set_against_nothing() -> None:
    said = [Prediction((Span(0, 8, "Chemical"), Span(32, 41, "Chemical")), 1.0, "v")]
    report = evaluate([Document("1", TEXT)], said, options=OPTIONS)
    text = Page(report_to_html(report)).text
    assert "v: 2 in all" in text
    assert "each of them deletes what was said" in text
    assert "v: 0.0" not in text


def test_the_chart_is_drawn_where_the_figures_are() -> None:
    report = judged()
    styles = Page(report_to_html(report)).values("style")
    strict = report.overall.strict
    assert f"left: {100 * strict.counts.f1:.2f}%" in styles
    low, high = strict.interval
    assert f"left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%" in styles


def test_dots_of_the_reliability_diagram_are_where_their_bins_are() -> None:
    bins = [Bin(0.0, 0.1, 0, 0.0, 0.0), Bin(0.4, 0.5, 25, 0.45, 0.4), Bin(0.9, 1.0, 100, 0.95, 0.9)]
    assert points(bins) == [(0.45, 0.4, 2.5), (0.95, 0.9, 5.0)]
    page = Page(report_to_html(judged()))
    calibration = judged().calibration
    assert calibration is not None
    drawn = [(f"{100 * x:.2f}", f"{100 - 100 * y:.2f}") for x, y, _ in points(calibration.bins)]
    assert list(zip(page.values("cx"), page.values("cy"), strict=True)) == drawn
