"""What a tier costs, and what is said of that."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.bundle import BUNDLED
from ner.catalogue import Catalogue
from ner.errors import TagalongError
from ner.manifest import read_manifest
from training.calibrate.advice import Need, Quality, advise, hours, quality_in, quality_of, spoken
from training.calibrate.report import (
    CalibrationReport,
    calibration_tables,
    calibration_to_html,
    calibration_to_json,
    calibration_to_markdown,
)
from training.calibrate.timing import Setting, Timing, measure, measure_apart, nearest_rank

FOLDER = Catalogue(BUNDLED, bundled=BUNDLED).resolve("bundled")
TEXTS = ["Naloxone reverses clonidine.", "Lithium caused acute renal failure in rats."] * 3
ENCODER = Timing("small", "encoder", "OpenVINO, int8", 1.0, 0.02, 0.04, 100, 50.0, 2**29)
LLM = Timing("large", "llm", "PyTorch", 60.0, 2.0, 4.0, 20, 0.5, 2**34)
FOUND = Quality("test", 500, 0.85, {"1": 0.88, "2": 0.8, "3+": 0.7}, {"1": 99, "2": 80, "3+": 70})
BETTER = replace(FOUND, f1=0.88, by_length={"1": 0.89, "2": 0.83, "3+": 0.82})
NEED = Need(0.1, 100_000)


def report_of(*timings: Timing, **changes) -> CalibrationReport:
    qualities = {"small": FOUND, "large": BETTER}
    known = {
        "need": NEED,
        "source": "export.json",
        "documents": 20,
        "words": 4_000,
        "timings": timings,
        "qualities": qualities,
        "advice": advise(timings, qualities, NEED),
        "machine": "2 CPUs",
    }
    return CalibrationReport(**known | changes)


@given(st.lists(st.floats(0, 9), min_size=1), st.floats(0, 1))
def test_a_quantile_is_one_of_the_values_and_not_exceeded(values: list[float], share: float):
    found = nearest_rank(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.usefixtures("own_cache")
def test_what_is_measured_is_what_was_run() -> None:
    timing = measure(Setting("bundled", FOLDER, "fp32"), TEXTS, seconds=0.2)
    assert (timing.tier, timing.runs_on) == ("encoder", "PyTorch, fp32")
    assert 0 < timing.p50 <= timing.p95 < timing.load_seconds
    assert timing.asked >= 5
    assert timing.memory > 100 * 2**20
    assert timing.per_second > 1 / timing.p95 / 4  # many at once are not much slower than one


@pytest.mark.usefixtures("own_cache")
def test_it_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    timing = measure_apart(Setting("bundled", FOLDER, "torch"), TEXTS, seconds=0.1)
    assert timing.runs_on.startswith("PyTorch")
    with pytest.raises(TagalongError, match="is not there"):
        measure_apart(Setting("gone", tmp_path / "gone", "torch"), TEXTS, seconds=0.1)


def test_who_is_fast_enough_and_finds_most_serves() -> None:
    sentence = advise([ENCODER, LLM], {"small": FOUND, "large": BETTER}, NEED)[0]
    assert "serve the encoder small. On OpenVINO, int8 it answers 95 of 100" in sentence
    patient = replace(NEED, budget=5.0)
    sentence = advise([ENCODER, LLM], {"small": FOUND, "large": BETTER}, patient)[0]
    assert "serve the LLM large" in sentence
    assert "5 s are allowed" in sentence
    hasty = replace(NEED, budget=0.03)
    sentence = advise([ENCODER, LLM], {}, hasty)[0]
    assert "nothing here answers 95 of 100 documents within 30 ms" in sentence
    assert "tagalong prelabel" in sentence


def test_the_slower_serves_only_where_it_is_known_to_be_worth_it() -> None:
    patient = replace(NEED, budget=5.0)
    hardly = replace(FOUND, f1=FOUND.f1 + 0.001)
    elsewhere = replace(BETTER, documents=48)
    for known in (
        {"small": FOUND, "large": hardly},
        {"small": FOUND, "large": elsewhere},
        {"large": BETTER},
        {"small": FOUND},
    ):
        assert "serve the encoder small" in advise([ENCODER, LLM], known, patient)[0]


def test_a_batch_is_read_in_the_way_that_reads_most() -> None:
    soon = replace(ENCODER, runs_on="PyTorch", p95=0.01, per_second=5.0)
    said = advise([soon, ENCODER, LLM], {}, NEED)
    assert "On PyTorch it answers" in said[0]
    assert "takes the encoder 33 minutes" in said[1]


def test_batches_go_to_who_is_worth_the_time() -> None:
    known = {"small": FOUND, "large": BETTER}
    _, costs, verdict, cascade = advise([ENCODER, LLM], known, replace(NEED, price=2.0))
    assert "takes the encoder 33 minutes (at a cost of 1.11), and the LLM 2.3 days (at a" in costs
    assert costs.endswith("cost of 111.11), 100 times as long.")
    assert "3.0 points more of strict F1 (1.0 points more at 1 word, " in verdict
    assert "12.0 points more at 3+ words" in verdict
    assert "--tier cascade" in cascade
    *_, verdict = advise([ENCODER, LLM], {"small": BETTER, "large": FOUND}, NEED)
    assert verdict.startswith("For batches, too: the encoder. The LLM has 3.0 points less")


def test_what_is_not_known_is_not_argued_with() -> None:
    *_, said = advise([ENCODER, LLM], {"small": FOUND}, NEED)
    assert "What large finds is not known" in said
    other = replace(BETTER, documents=48)
    said = advise([ENCODER, LLM], {"small": FOUND, "large": other}, NEED)
    assert any("different documents" in sentence for sentence in said)
    few = replace(BETTER, support={"1": 99, "2": 80, "3+": 7})
    text = " ".join(advise([ENCODER, LLM], {"small": FOUND, "large": few}, NEED))
    assert "at 2 words" in text
    assert "3+" not in text
    assert "No LLM is here" in advise([ENCODER], {}, NEED)[-1]
    assert "takes 2.3 days" in " ".join(advise([LLM], {}, NEED))


def test_long_times_are_said_in_words() -> None:
    said = [spoken(seconds) for seconds in (30, 150, 600, 3 * 3600, 86400 * 9, 86400 * 90)]
    assert said == [
        *("30 seconds", "2.5 minutes", "10 minutes", "3.0 hours", "9.0 days", "90 days")
    ]
    assert hours(ENCODER, 180_000) == 1.0


def test_scores_are_read_from_manifests_and_evaluations() -> None:
    manifest = read_manifest(FOLDER, verify=False)
    quality = quality_of(manifest)
    assert quality is not None
    assert (quality.source, quality.documents) == ("dev", 48)
    assert quality.f1 == manifest.scores["dev"]["strict_f1"]
    assert quality_of(replace(manifest, scores={"dev": {"strict_f1": None}})) is None
    with pytest.raises((KeyError, TypeError)):
        quality_in({"model": "x"})


def test_every_form_has_every_figure() -> None:
    report = report_of(ENCODER, LLM, notes=("a <b>note</b>",))
    markdown, page = calibration_to_markdown(report), calibration_to_html(report)
    assert json.loads(json.dumps(calibration_to_json(report)))["timings"][1]["batch_hours"] > 55
    for table in calibration_tables(report):
        assert all(len(row) == len(table.columns) == len(table.align) for row in table.rows)
        assert table.title in markdown
        assert table.title in page
    assert "<b>note</b>" not in page
    for sentence in report.advice:
        for part in sentence.split("`"):
            assert part in page
    HTMLParser().feed(page)
    assert "Too slow" in calibration_to_html(report_of(LLM))
