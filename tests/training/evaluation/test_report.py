"""Reports as JSON, Markdown and files."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tagalong.ner.document import Document, DroppedAnnotation, Prediction, Span
from tagalong.ner.errors import OutputError
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.markdown import paper_report_to_markdown, report_to_markdown
from tagalong.training.evaluation.paper_protocol import evaluate_as_paper
from tagalong.training.evaluation.report import (
    check_report_dir,
    report_to_json,
    summarize_dropped,
    write_report,
)
from tagalong.training.evaluation.tables import report_tables
from tagalong.training.jobs.publish import summarize_report
from tests.errors import raises

# BC5CDR, test, document 8701013 (public domain).
TEXT = (
    "Famotidine-associated delirium. A series of six cases. Famotidine is a histamine H2-receptor"
)
GOLD = [
    Document("8701013", TEXT, (Span(0, 10, "Chemical"), Span(22, 30, "Disease"))),
    Document("2", TEXT, (Span(55, 65, "Chemical"), Span(71, 92, "Chemical"))),
]
SAID = [
    Prediction((Span(0, 10, "Chemical", 0.9), Span(0, 30, "Disease", 0.4)), 0.8, "tagger-1"),
    Prediction((Span(55, 65, "Disease", 0.7), Span(71, 80, "Chemical", 0.6)), 0.8, "tagger-1"),
]
NOTHING = [Prediction((), 1.0, "silent")] * 2


@pytest.fixture
def report():
    lost = [DroppedAnnotation("Chemical", "H2", "outvoted", 81, 83, "2")]
    options = EvaluationOptions(("Chemical", "Disease"), resamples=20)
    return evaluate(GOLD, SAID, source="gold.json", against=NOTHING, dropped=lost, options=options)


def figures_in(written):
    """All M of a JSON object."""
    if isinstance(written, dict):
        if "tp" in written:
            yield written
        for value in written.values():
            yield from figures_in(value)


def test_json_has_the_documented_keys(report):
    written = report_to_json(report)
    assert {"documents", "strict", "relaxed", "by_label", "by_length", "lost"} <= written.keys()
    assert (written["documents"], written["model"], written["gold"]) == (2, "tagger-1", "gold.json")
    assert list(written["by_length"]) == ["1", "2", "3+"]
    assert list(written["by_label"]) == ["Chemical", "Disease"]
    assert written["against"]["model"] == "silent"
    assert written["against"]["strict"].keys() == {
        *("f1", "f1_interval", "difference", "interval", "p_value")
    }
    assert written["against"]["effort"]["actions"] == written["against"]["effort"]["from_scratch"]
    assert [one["document"] for one in written["worst"]] == ["2", "8701013"]
    for figure in figures_in(written):
        counts = {"tp", "tp_predicted", "fp", "fn", "gold", "predicted"}
        assert figure.keys() == counts | {"precision", "recall", "f1", "interval"}
        assert len(figure["interval"]) == 2


def test_json_values_match_the_spans(report):
    written = report_to_json(report)
    strict, relaxed = written["strict"], written["relaxed"]
    assert [strict[key] for key in ("tp", "fp", "fn", "gold", "predicted")] == [1, 3, 3, 4, 4]
    assert (strict["precision"], strict["recall"], strict["f1"]) == (0.25, 0.25, 0.25)
    assert (relaxed["tp"], relaxed["f1"]) == (3, 0.75)
    # "histamine H2-receptor" is long, "histamine" is short: each counts in its own stratum.
    chemical = written["by_label_and_length"]["Chemical"]
    assert (chemical["1"]["relaxed"]["tp"], chemical["1"]["relaxed"]["tp_predicted"]) == (1, 2)
    assert (chemical["3+"]["relaxed"]["tp"], chemical["3+"]["relaxed"]["tp_predicted"]) == (1, 0)
    assert strict["tp_predicted"] == strict["tp"]


def test_json_round_trip(report):
    written = json.dumps(report_to_json(report), allow_nan=False)
    assert json.dumps(json.loads(written)) == written


def test_json_counts_dropped_spans_and_errors(report):
    written = report_to_json(report)
    assert written["lost"]["import"]["by_reason"] == {"outvoted": 1}
    assert written["lost"]["flat_bio"]["total"] == 0
    counts = {kind: entry["count"] for kind, entry in written["errors"].items() if entry["count"]}
    assert counts == {"boundary long": 1, "type": 1, "boundary short": 1}
    (example,) = written["errors"]["type"]["examples"]
    assert example["gold"] == {"label": "Chemical", "text": "Famotidine"}
    assert example["predicted"] == {"label": "Disease", "text": "Famotidine"}
    assert example["document"] == "2"
    assert written["calibration"]["spans"] == 4


def test_every_table_is_rectangular(report):
    for table in report_tables(report):
        assert {len(row) for row in table.rows} == {len(table.columns)} == {len(table.align)}


def test_markdown_shows_every_table_with_its_cells(report):
    markdown = report_to_markdown(report)
    assert markdown.startswith("# Evaluation of tagger-1\n")
    for table in report_tables(report):
        assert f"## {table.title}" in markdown
    assert "| All | 4 | 4 | 0.250 | 0.250 | 0.250 |" in markdown
    assert all(f"> {warning}" in markdown for warning in report.warnings)
    assert "histamine H2-receptor" in markdown


def table_of(report, title):
    (table,) = [table for table in report_tables(report) if title in table.title]
    return {row[:2] if "against" in title else row[0]: row for row in table.rows}


def test_undefined_values_are_dashes():
    short = [replace(document, spans=document.spans[:1]) for document in GOLD]
    predicted = [replace(SAID[0], spans=SAID[0].spans[:1]), NOTHING[1]]
    options = EvaluationOptions(("Chemical", "Disease"), resamples=5)
    report = evaluate(short, predicted, against=NOTHING, options=options)
    strict = table_of(report, "Strict match")
    assert strict["2 words"] == ("2 words", "0", "0", "-", "-", "-", "-")
    assert strict["1 word"][1:3] == ("2", "1")
    assert "-" not in strict["1 word"]
    assert table_of(report, "by label and length")["Chemical"][2] == "- (0)"
    against = table_of(report, "against")
    assert against["2 words", "strict"][2:] == ("0", "-", "-", "-", "-", "-")
    assert against["1 word", "strict"][2:5] == ("2", "0.667", "0.000")
    figures = summarize_report(report)
    assert (figures["by_length"]["2"], figures["by_length"]["1"]) == (None, 0.6667)
    assert figures["support"] == {"1": 2, "2": 0, "3+": 0}


def test_markdown_tables_compare_systems_like_the_page(report):
    against = table_of(report, "against")
    assert list(dict.fromkeys(name for name, _ in against)) == [
        *("All", "Chemical", "Disease", "1 word", "2 words", "3+ words")
    ]
    for label in ("Chemical", "Disease"):
        for match in ("strict", "relaxed"):
            ours = getattr(report.by_label[label], match)
            other = getattr(report.comparison.by_label[label], match)
            low, high = other.interval
            assert against[label, match][2:] == (
                f"{ours.counts.gold}",
                *(f"{ours.counts.f1:.3f}", f"{other.other_f1:.3f}", f"{other.difference:+.3f}"),
                *(f"{low:+.3f} to {high:+.3f}", f"{other.p_value:.3f}"),
            )
    (effort,) = [table for table in report_tables(report) if table.title.startswith("Effort: ")]
    columns = ("Model", "Actions", "Per 100", "Add", "Delete", "Relabel", "Move an end")
    assert effort.columns == columns
    assert effort.rows == (
        ("tagger-1", "3", "75.0", "0.0", "0.0", "25.0", "50.0"),
        ("silent", "4", "100.0", "100.0", "0.0", "0.0", "0.0"),
    )


def test_effort_without_gold_has_no_ratio():
    bare = [replace(document, spans=()) for document in GOLD]
    report = evaluate(bare, SAID, options=EvaluationOptions(resamples=5))
    assert table_of(report, "Effort")["tagger-1"][1:] == ("4", "-", "-", "-", "-", "-")


def test_predictions_without_gold_are_false_positives():
    bare = [replace(document, spans=()) for document in GOLD]
    report = evaluate(bare, SAID, options=EvaluationOptions(resamples=5))
    assert summarize_report(report)["strict_f1"] == 0.0
    assert table_of(report, "Strict match")["All"][5] == "0.000"
    nothing = evaluate(bare, NOTHING, options=EvaluationOptions(resamples=5))
    assert summarize_report(nothing)["strict_f1"] is None


def test_markdown_tables_escape_any_text():
    text = "a|b `c` *d*\n<e>"
    document = Document("x|y", text, (Span(0, len(text), "La|bel"),))
    markdown = report_to_markdown(
        evaluate([document], NOTHING[:1], options=EvaluationOptions(resamples=5))
    )
    assert "a\\|b \\`c\\` \\*d\\* \\<e\\> \\[La\\|bel\\]" in markdown
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(bars) == 1


def test_report_without_scores_or_errors_omits_their_tables():
    perfect = [Prediction(document.spans, 1.0, "v") for document in GOLD]
    report = evaluate(GOLD, perfect, options=EvaluationOptions(resamples=5))
    titles = [table.title for table in report_tables(report)]
    assert not any(re.search("Errors|Dropped|Calibration|against", title) for title in titles)
    assert report_to_json(report)["calibration"] is None
    assert "Examples" not in report_to_markdown(report)


def test_paper_protocol_report_names_the_protocol():
    markdown = paper_report_to_markdown(evaluate_as_paper(GOLD, SAID, source="gold.json"))
    assert "## The paper's strict scores" in markdown
    # Wrong: the type error. The longer of two overlapping predictions stays, and no single word
    # matches a longer span, so the other three gold spans are missed.
    assert "| All | 0 | 1 | 3 | 2 |" in markdown


def test_dropped_spans_are_counted_by_reason_most_frequent_first():
    lost = [
        DroppedAnnotation("x", f"{i}", reason, i, i + 1) for i, reason in enumerate(["overlap"] * 3)
    ]
    lost.insert(0, DroppedAnnotation("x", "first", "outvoted", 0, 1))
    losses = summarize_dropped(lost, examples=2)
    assert (losses.total, list(losses.by_reason.items())) == (4, [("overlap", 3), ("outvoted", 1)])
    assert [one.text for one in losses.examples] == ["0", "1", "first"]


def test_only_two_files_are_written(tmp_path, report):
    folder = tmp_path / "deep" / "report"
    for _ in range(2):  # a second report replaces the first
        write_report(folder, report_json=report_to_json(report), markdown="# µ-opioid\n")
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]
    assert (folder / "report.md").read_text(encoding="utf-8") == "# µ-opioid\n"
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["documents"] == 2


def test_failed_write_keeps_the_old_report(tmp_path, report):
    write_report(tmp_path, report_json=report_to_json(report), markdown="old")
    with pytest.raises(TypeError):
        write_report(tmp_path, report_json={"not json": object()}, markdown="new")
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_folder_that_cannot_be_created_is_refused(tmp_path, report):
    (tmp_path / "taken").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(OutputError):
        write_report(tmp_path / "taken" / "report", report_json={}, markdown="")


def blocked(folder):
    """Ways to make a folder unwritable."""
    (folder / "file").write_text("")
    (folder / "taken" / "report.md").mkdir(parents=True)
    return [folder / "file" / "report", folder / "taken", Path("/proc/nowhere/report")]


def test_unwritable_folder_is_reported_in_advance(tmp_path):
    for folder in blocked(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with raises(OutputError, "report-folder-unusable"):
            check_report_dir(folder)
        assert sorted(tmp_path.rglob("*")) == before
    check_report_dir(tmp_path / "some" / "where")
    assert not (tmp_path / "some").exists()


def test_page_of_an_earlier_report_is_removed(tmp_path):
    write_report(tmp_path, report_json={"a": 1}, markdown="a", html="a")
    write_report(tmp_path, report_json={"b": 1}, markdown="b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
