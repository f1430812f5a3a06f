"""Measured speed and cost of tiers, and the recommendations from them."""

import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import OutOfMemoryError, TagalongError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.tiers import TIER_DISPLAY_NAMES
from tagalong.training.benchmark import measure
from tagalong.training.benchmark.advice import (
    ServingRequirements,
    batch_hours,
    deployable_results,
    format_amount,
    format_duration,
    recommend_tiers,
)
from tagalong.training.benchmark.known_scores import (
    VersionScores,
    scores_from_manifest,
    scores_from_report,
)
from tagalong.training.benchmark.measure import (
    BenchmarkConfig,
    BenchmarkResult,
    benchmark_in_subprocess,
    nearest_rank,
    run_benchmark,
)
from tagalong.training.benchmark.report import (
    BenchmarkReport,
    benchmark_tables,
    benchmark_to_html,
    benchmark_to_json,
    benchmark_to_markdown,
)
from tagalong.training.evaluation.evaluate import evaluate
from tagalong.training.evaluation.report import report_to_json
from tests.errors import raises
from tests.forked_process import CONTEXT

FOLDER = ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")
TEXTS = ["Naloxone reverses clonidine.", "Lithium caused acute renal failure in rats."] * 3
ENCODER = BenchmarkResult("small", "openvino", "OpenVINO, int8", 1.0, 0.02, 0.04, 100, 50.0, 2**29)
TORCH = BenchmarkResult("small", "torch", "PyTorch, bf16", 1.0, 0.03, 0.06, 100, 25.0, 2**29)
FP32 = BenchmarkResult("small", "fp32", "PyTorch, fp32", 1.0, 0.04, 0.08, 100, 15.0, 2**29)
LLM = BenchmarkResult("large", "llm", "PyTorch", 60.0, 2.0, 4.0, 20, 0.5, 2**34)
FOUND = VersionScores(
    "test", 500, 0.85, {"1": 0.88, "2": 0.8, "3+": 0.7}, {"1": 99, "2": 80, "3+": 70}
)
BETTER = replace(FOUND, f1=0.88, by_length={"1": 0.89, "2": 0.83, "3+": 0.82})
NEED = ServingRequirements(0.1, 100_000)
LONG_BUDGET = replace(NEED, latency_budget_seconds=5.0)
COMPARE = "`tagalong evaluate large GOLD --against small --report DIR` compares them; then"


def served_version(sentence: str) -> str | None:
    """The version that a recommendation names for interactive use."""
    found = re.search(r"serve the (?:encoder|LLM) (\w+)", sentence)
    return found and found[1]


def report_of(*timings: BenchmarkResult, **changes) -> BenchmarkReport:
    qualities = {"small": FOUND, "large": BETTER}
    known = {
        "requirements": NEED,
        "source": "export.json",
        "documents": 20,
        "words": 4_000,
        "results": timings,
        "scores": qualities,
        "advice": recommend_tiers(timings, qualities, NEED),
        "machine": "2 CPUs",
    }
    return BenchmarkReport(**known | changes)


def test_every_tier_is_compared_with_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "TIERS", ("encoder", "llm", "terms"))
    monkeypatch.setitem(TIER_DISPLAY_NAMES, "terms", "terms")
    terms = replace(ENCODER, version="listed", runtime="terms", documents_per_second=500.0)
    known = {"small": FOUND, "large": BETTER, "listed": BETTER}
    advice = " ".join(recommend_tiers([ENCODER, LLM, terms], known, NEED))
    assert "GOLD --against small" in advice
    for version in ("large", "listed"):
        assert f"`tagalong evaluate {version} GOLD" in advice
    assert "--llm large" in advice
    assert "--llm listed" not in advice
    advice = " ".join(recommend_tiers([ENCODER, terms], known, NEED))
    assert "There is no LLM to compare" in advice


@given(st.lists(st.floats(0, 9), min_size=1), st.floats(0, 1))
def test_quantile_is_nearest_rank(values: list[float], share: float):
    found = nearest_rank(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.usefixtures("own_cache")
def test_benchmark_measures_latency_memory_and_throughput() -> None:
    found = run_benchmark(BenchmarkConfig("bundled", FOLDER, "fp32"), TEXTS, seconds=0.2)
    assert (found.tier, found.runtime_name) == ("encoder", "PyTorch, fp32")
    assert 0 < found.p50_seconds <= found.p95_seconds < found.load_seconds
    assert found.timed_documents >= 5
    assert found.peak_memory_bytes > 100 * 2**20
    assert (
        found.documents_per_second > 1 / found.p95_seconds / 4
    )  # a batch is not much slower than single documents


def _elsewhere() -> None:
    """Calling this in the parent process must not affect the measurement."""
    measure.MAX_TIMED_DOCUMENTS = 6


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_tiers_are_measured_in_a_child_process(tmp_path: Path) -> None:
    setting = BenchmarkConfig("bundled", FOLDER, "torch")
    found = benchmark_in_subprocess(setting, TEXTS, seconds=0.1, initializer=_elsewhere)
    assert found.runtime_name.startswith("PyTorch")
    assert found.timed_documents <= 6
    assert measure.MAX_TIMED_DOCUMENTS > 6


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in forked processes, which have torch imported."""
    monkeypatch.setattr(measure, "get_context", lambda _: CONTEXT)


@pytest.mark.slow
@pytest.mark.usefixtures("forked", "own_cache")
def test_error_of_the_child_process_is_raised(tmp_path: Path) -> None:
    with pytest.raises(TagalongError, match="there is no folder"):
        benchmark_in_subprocess(
            BenchmarkConfig("gone", tmp_path / "gone", "torch"), TEXTS, seconds=0.1
        )


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_killed_child_process_is_reported() -> None:
    with raises(OutOfMemoryError, "out-of-memory"):
        benchmark_in_subprocess(
            BenchmarkConfig("x", FOLDER, "torch"), TEXTS, seconds=0.1, initializer=_die
        )


def test_out_of_memory_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(measure, "load_tagger", load)
    with pytest.raises(OutOfMemoryError):
        run_benchmark(BenchmarkConfig("x", FOLDER, "llm"), TEXTS, seconds=0.1)


class TaggerWithClock(DocumentTagger):
    """Takes one millisecond per word, by its own clock."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._now = 0.0

    def perf_counter(self) -> float:
        return self._now

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        self.asked += [document.text for document in documents]
        self._now += sum(len(document.text.split()) for document in documents) / 1000
        return [Prediction((), 1.0, "x")] * len(documents)


@pytest.mark.parametrize("seconds", [0.02, 1.0])
def test_sample_size_does_not_depend_on_the_first_documents(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*["a"] * 30, *["a " * 100] * 30]
    tagger = TaggerWithClock()
    monkeypatch.setattr(measure, "load_tagger", lambda *_, **__: tagger)
    monkeypatch.setattr(measure, "time", tagger)
    found = run_benchmark(BenchmarkConfig("x", FOLDER, "llm"), texts, seconds=seconds)
    assert len(set(tagger.asked[:6])) == 2  # short and long documents among the first
    assert found.documents_per_second == pytest.approx(1000 / 50.5)


def test_median_and_95th_percentile_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tagger = TaggerWithClock()
    monkeypatch.setattr(measure, "load_tagger", lambda *_, **__: tagger)
    monkeypatch.setattr(measure, "time", tagger)
    monkeypatch.setattr(measure, "MAX_TIMED_DOCUMENTS", 100)
    texts = ["a " * words for words in range(1, 21)]  # each is predicted five times
    found = run_benchmark(BenchmarkConfig("x", FOLDER, "llm"), texts, seconds=9.0)
    assert found.timed_documents == 100
    assert (found.p50_seconds, found.p95_seconds) == pytest.approx((0.010, 0.019))
    assert found.documents_per_second == pytest.approx(1000 / 10.5)


@pytest.mark.parametrize(
    ("setting", "loaded"),
    [
        (BenchmarkConfig("x", Path("x"), "openvino"), [("x", {"use_openvino": True})]),
        (BenchmarkConfig("x", Path("x"), "torch"), [("x", {"use_openvino": False})]),
        (BenchmarkConfig("y", Path("y"), "llm"), [("y", {})]),
        (
            BenchmarkConfig("y", Path("y"), "llm", Path("x")),
            [("x", {"use_openvino": True}), ("y", {"drafter": "predict"})],
        ),
        (
            BenchmarkConfig("y", Path("y"), "llm", Path("x"), use_openvino=False),
            [("x", {"use_openvino": False}), ("y", {"drafter": "predict"})],
        ),
    ],
)
def test_tagger_is_loaded_with_the_measured_options(
    setting: BenchmarkConfig, loaded: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[object] = []

    def load(folder: Path, **options: object) -> TaggerWithClock:
        if "drafter" in options:
            options["drafter"] = getattr(options["drafter"], "__name__", None)
        found.append(
            (str(folder), {key: value for key, value in options.items() if value is not None})
        )
        return TaggerWithClock()

    monkeypatch.setattr(measure, "load_tagger", load)
    run_benchmark(setting, TEXTS, seconds=0.0)
    assert found == loaded


def test_best_tier_within_the_latency_budget_is_recommended() -> None:
    sentence = recommend_tiers([ENCODER, LLM], {"small": FOUND, "large": BETTER}, NEED)[0]
    assert served_version(sentence) == "small"
    assert "OpenVINO" in sentence
    patient = replace(NEED, latency_budget_seconds=5.0)
    sentence = recommend_tiers([ENCODER, LLM], {"small": FOUND, "large": BETTER}, patient)[0]
    assert served_version(sentence) == "large"
    assert re.search(r"\b5 s\b", sentence)
    hasty = replace(NEED, latency_budget_seconds=0.03)
    sentence = recommend_tiers([ENCODER, LLM], {}, hasty)[0]
    assert served_version(sentence) is None
    assert re.search(r"\b30 ms\b.*`tagalong prelabel`", sentence)


def test_slower_tier_needs_a_significant_gain() -> None:
    patient = replace(NEED, latency_budget_seconds=5.0)
    hardly = replace(FOUND, f1=FOUND.f1 + 0.001)
    elsewhere = replace(BETTER, documents=48)
    few = {"1": 9, "2": 8, "3+": 12}
    for known in (
        {"small": FOUND, "large": hardly},
        {"small": FOUND, "large": elsewhere},
        {"small": FOUND, "large": replace(BETTER, paired_intervals={"small": (-0.01, 0.07)})},
        {"small": replace(FOUND, paired_intervals={"large": (-0.07, 0.01)}), "large": BETTER},
        {"small": replace(FOUND, support=few), "large": replace(BETTER, support=few)},
        {"large": BETTER},
        {"small": FOUND},
    ):
        sentence = recommend_tiers([ENCODER, LLM], known, patient)[0]
        assert served_version(sentence) == "small"


PAIRS = [
    ({}, {"small": (0.01, 0.05)}, True),
    ({}, {"small": (-0.01, 0.07)}, False),
    ({"large": (-0.05, -0.01)}, {}, True),
    ({"large": (-0.07, 0.01)}, {}, False),
]


@pytest.mark.parametrize(("ours", "theirs", "is_sure"), PAIRS)
def test_insignificant_gain_is_no_gain(
    ours: dict[str, tuple[float, float]], theirs: dict[str, tuple[float, float]], is_sure: bool
) -> None:
    known = {
        "small": replace(FOUND, paired_intervals=ours),
        "large": replace(BETTER, paired_intervals=theirs),
    }
    real_time, _, verdict, *cascade = recommend_tiers([ENCODER, LLM], known, LONG_BUDGET)
    assert ("serve the LLM large" in real_time) == is_sure
    assert bool(cascade) == is_sure
    if is_sure:
        assert verdict.startswith("For batches that matter: the LLM, with 3.0 points more")
        assert "noise" not in verdict
    else:
        assert verdict.startswith("For batches, too: the encoder. The LLM has 3.0 points more")
        assert re.search(r"\b500 .*-1\.0 to \+7\.0", verdict)
        assert f"evaluate more documents. {COMPARE}" in verdict


def test_no_significance_without_paired_interval() -> None:
    *_, verdict, _ = recommend_tiers([ENCODER, LLM], {"small": FOUND, "large": BETTER}, NEED)
    assert f"Whether that is more than noise is unknown: {COMPARE}" in verdict
    paired = {"other": (0.01, 0.05)}  # with another version
    known = {"small": FOUND, "large": replace(BETTER, paired_intervals=paired)}
    assert "unknown" in recommend_tiers([ENCODER, LLM], known, NEED)[2]
    # An interval on other documents than the scores is not used.
    elsewhere = replace(BETTER, documents=48, paired_intervals={"small": (-0.01, 0.07)})
    advice = recommend_tiers([ENCODER, LLM], {"small": FOUND, "large": elsewhere}, NEED)
    assert "guess" in advice[2]
    assert "noise" not in " ".join(advice)


@pytest.mark.parametrize(("gold", "is_used"), [(29, False), (30, True)])
def test_few_gold_entities_are_ignored(gold: int, is_used: bool) -> None:
    few = {"1": gold, "2": 0, "3+": 0}
    paired = {"small": (0.2, 0.4)}
    known = {
        "small": replace(FOUND, documents=2, support=few),
        "large": replace(BETTER, documents=2, support=few, paired_intervals=paired),
    }
    advice = recommend_tiers([ENCODER, LLM], known, LONG_BUDGET)
    assert ("serve the LLM" in advice[0]) == is_used
    assert ("For batches that matter: the LLM" in advice[2]) == is_used
    if not is_used:
        assert advice[2] == (
            "Scores on fewer than 30 gold entities are too uncertain: with more of "
            f"them, {COMPARE} give its result with `--evaluation DIR/report.json`."
        )


def test_failed_measurement_is_not_reported_as_missing() -> None:
    failed = [BenchmarkConfig("large", FOLDER, "llm")]
    *_, advice = recommend_tiers([ENCODER], {}, NEED, failed=failed)
    assert advice == "The LLM large could not be measured: see the note."
    failed = [
        BenchmarkConfig("small", FOLDER, "openvino"),
        BenchmarkConfig("small", FOLDER, "torch"),
    ]
    *_, advice = recommend_tiers([LLM], {}, NEED, failed=failed)
    assert advice == "The encoder small could not be measured: see the note."
    *_, advice = recommend_tiers([TORCH], {}, NEED, failed=failed[:1])  # one of two runtimes
    assert advice.startswith("There is no LLM")


def test_recommended_commands_use_the_models_folder() -> None:
    need = replace(NEED, models_dir="my models")
    known = {"small": FOUND, "large": BETTER}
    advice = [
        *recommend_tiers([ENCODER, LLM], known, need),
        *recommend_tiers([ENCODER, LLM], {}, need),
        *recommend_tiers([ENCODER], {}, replace(need, latency_budget_seconds=0.01)),
    ]
    quoted = [part for sentence in advice for part in sentence.split("`")[1::2]]
    commands = [part for part in quoted if part.startswith("tagalong ")]
    assert {command.split()[1] for command in commands} == {"evaluate", "prelabel", "train"}
    assert [command for command in commands if "cascade" in command]
    assert [command for command in commands if not command.endswith(" --models 'my models'")] == []
    assert "--models" not in " ".join(recommend_tiers([ENCODER, LLM], known, NEED))


def test_unavailable_runtimes_are_not_recommended() -> None:
    fast = replace(FP32, p95_seconds=0.01, documents_per_second=500.0)
    assert deployable_results([TORCH, fast]) == [TORCH]
    advice = " ".join(recommend_tiers([TORCH, fast, LLM], {}, NEED))
    assert "fp32" not in advice
    assert "bf16" in advice
    hasty = replace(NEED, latency_budget_seconds=0.03)
    assert served_version(recommend_tiers([TORCH, fast, LLM], {}, hasty)[0]) is None


def test_default_runtime_is_recommended_if_fast_enough() -> None:
    fast = replace(TORCH, p95_seconds=0.03)
    assert "OpenVINO" in recommend_tiers([ENCODER, fast], {}, NEED)[0]
    hasty = replace(NEED, latency_budget_seconds=0.035)
    advice = recommend_tiers([ENCODER, fast], {}, hasty)[0]
    assert "`TAGALONG_OPENVINO=false`" in advice
    assert "TAGALONG_OPENVINO" not in recommend_tiers([fast], {}, hasty)[0]


def test_batch_runtime_differs_only_if_much_faster() -> None:
    for per_second, took in (
        (51.0, "33 minutes on OpenVINO, int8"),
        (500.0, "3.3 minutes on PyTorch, bf16 (with `TAGALONG_OPENVINO=false`)"),
    ):
        fast = replace(TORCH, documents_per_second=per_second)
        advice = recommend_tiers([ENCODER, fast, LLM], {}, NEED)
        assert f"documents takes the encoder {took}, and the LLM 2.3 days, " in advice[1]
        assert recommend_tiers([ENCODER, fast], {}, NEED)[1].endswith(f"documents takes {took}.")


def test_few_documents_are_noted() -> None:
    advice = recommend_tiers([replace(ENCODER, timed_documents=7)], {}, NEED)[0]
    assert re.search(r"\b7 .*\b40 ms", advice)
    for asked in (7, 100):
        report = report_of(replace(ENCODER, timed_documents=asked))
        page = " ".join(benchmark_to_html(report).split())
        few = "all 7 measured documents"
        who = few if asked == 7 else "95 of 100 documents"
        assert f"is the maximum latency of {who} with the fastest runtime; 100 ms" in page
        late = benchmark_to_html(
            report_of(replace(ENCODER, timed_documents=asked, p95_seconds=0.2))
        )
        assert f"No runtime answers {who} within 100 ms." in " ".join(late.split())
        note = benchmark_tables(report)[0].note
        assert ("p95" in note) == (asked == 7)
        assert ("95 of 100" in page) == (asked == 100)


@pytest.mark.parametrize(
    ("p95", "least"), [(0.1004, "101 ms"), (0.9999, "1.00 s"), (4.0, "4.00 s"), (4.001, "4.01 s")]
)
def test_suggested_latency_budget_suffices(p95: float, least: str) -> None:
    advice = recommend_tiers([replace(ENCODER, p95_seconds=p95)], {}, NEED)[0]
    assert f"takes {least}: allow that much" in advice
    number, unit = least.split()
    assert float(number) / (1000 if unit == "ms" else 1) >= p95


def test_short_batch_has_no_zero_duration() -> None:
    need = replace(NEED, batch_documents=1, cost_per_hour=0.8)
    advice = recommend_tiers([ENCODER], {}, need)[1]
    assert advice.startswith("A batch of 1 document takes less than a second (at a cost of under ")
    (_, _, batch, *_) = benchmark_tables(report_of(ENCODER, requirements=need))
    assert batch.title == "A batch of 1 document"
    assert batch.rows == (("encoder", "OpenVINO, int8", "under 0.01", "under 0.01"),)
    assert [format_amount(value) for value in (0, 0.004, 0.005, 1234.5)] == [
        *("0.00", "under 0.01", "0.01", "1,234.50")
    ]
    assert (
        "takes 1 second on" in recommend_tiers([ENCODER], {}, replace(NEED, batch_documents=50))[1]
    )


@pytest.mark.parametrize(
    ("per_second", "words"),
    [
        (0.5, ", 100 times as long"),
        (0.005, ", 10,000 times as long"),
        (35.0, ", 1.4 times as long"),
        (49.0, ", about as long"),
        (50.0, ", about as long"),
        (51.0, ", about as long"),
        (100.0, ", 2 times as fast"),
        (10_000.0, ", 200 times as fast"),
    ],
)
def test_speed_ratio_in_words(per_second: float, words: str) -> None:
    advice = recommend_tiers([ENCODER, replace(LLM, documents_per_second=per_second)], {}, NEED)[1]
    assert advice.endswith(f"{words}.")


def test_no_cascade_if_long_entities_are_a_small_part_of_the_gain() -> None:
    evenly = {length: f1 + 0.03 for length, f1 in FOUND.by_length.items()}
    few_long = replace(FOUND, support={"1": 900, "2": 80, "3+": 40})
    better = replace(few_long, f1=0.88, by_length=evenly | {"3+": FOUND.by_length["3+"] + 0.031})
    assert "cascade" not in " ".join(
        recommend_tiers([ENCODER, LLM], {"small": few_long, "large": better}, NEED)
    )


@pytest.mark.parametrize(
    ("support", "gains", "is_long"),
    [
        ((99, 80, 70), (0.01, 0.03, 0.12), True),
        ((29, 29, 30), (0.11, 0.10, 0.01), False),  # the gain is in strata with few entities
        ((20, 80, 70), (0.01, -0.05, -0.02), False),
        ((99, 80, 70), (-0.01, -0.01, 0.12), True),
        ((99, 80, 29), (0.01, 0.01, 0.12), False),  # too few entities
    ],
)
def test_cascade_is_recommended_for_gains_in_long_entities(
    support: tuple[int, ...], gains: tuple[float, ...], is_long: bool
) -> None:
    lengths = list(FOUND.support)
    few = replace(FOUND, support=dict(zip(lengths, support, strict=True)))
    more = {name: few.by_length[name] + gain for name, gain in zip(lengths, gains, strict=True)}
    better = replace(few, f1=0.88, by_length=more)
    advice = " ".join(recommend_tiers([ENCODER, LLM], {"small": few, "large": better}, NEED))
    assert "For batches that matter: the LLM" in advice
    assert ("Most of that is in long entities" in advice) == is_long
    assert ("--tier cascade" in advice) == is_long


def test_batch_recommendation_weighs_gain_and_time() -> None:
    known = {"small": FOUND, "large": BETTER}
    _, costs, verdict, cascade = recommend_tiers(
        [ENCODER, LLM], known, replace(NEED, cost_per_hour=2.0)
    )
    took = "33 minutes (at a cost of 1.11) on OpenVINO, int8"
    assert f"takes the encoder {took}, and the LLM 2.3 days (at a" in costs
    assert costs.endswith("cost of 111.11), 100 times as long.")
    assert re.search(r"3\.0 points .*1\.0 points .* 1 word, .*12\.0 points .* 3\+ words", verdict)
    assert "`tagalong prelabel --tier cascade --encoder small --llm large`" in cascade
    *_, verdict = recommend_tiers([ENCODER, LLM], {"small": BETTER, "large": FOUND}, NEED)
    assert verdict.startswith("For batches, too: the encoder. The LLM has 3.0 points less")


def test_unknown_scores_are_not_used_as_reasons() -> None:
    *_, advice = recommend_tiers([ENCODER, LLM], {"small": FOUND}, NEED)
    assert "unknown" in advice
    other = replace(BETTER, documents=48)
    advice = recommend_tiers([ENCODER, LLM], {"small": FOUND, "large": other}, NEED)
    assert any("different documents" in sentence for sentence in advice)
    few = replace(BETTER, support={"1": 99, "2": 80, "3+": 7})
    text = " ".join(recommend_tiers([ENCODER, LLM], {"small": FOUND, "large": few}, NEED))
    assert "at 2 words" in text
    assert "3+" not in text
    assert "There is no LLM" in recommend_tiers([ENCODER], {}, NEED)[-1]
    assert "takes 2.3 days" in " ".join(recommend_tiers([LLM], {}, NEED))


def test_long_durations_in_words() -> None:
    formatted = [format_duration(seconds) for seconds in (0.4, 0.6, 1.4, 1.6)]
    assert formatted == ["less than a second", "1 second", "1 second", "2 seconds"]
    formatted = [
        format_duration(seconds) for seconds in (30, 150, 600, 3 * 3600, 86400 * 9, 86400 * 90)
    ]
    assert formatted == [
        *("30 seconds", "2.5 minutes", "10 minutes", "3.0 hours", "9.0 days", "90 days")
    ]
    assert batch_hours(ENCODER, 180_000) == 1.0


def test_scores_are_read_from_manifests_and_evaluations() -> None:
    manifest = read_manifest(FOLDER, verify=False)
    quality = scores_from_manifest(manifest)
    assert quality is not None
    assert (quality.source, quality.documents) == ("dev", 48)
    assert quality.f1 == manifest.scores["dev"]["strict_f1"]
    assert scores_from_manifest(replace(manifest, scores={"dev": {"strict_f1": None}})) is None
    held_out = replace(manifest, scores={"held out": manifest.scores["dev"]} | manifest.scores)
    assert getattr(scores_from_manifest(held_out), "source", "") == "held out"
    with pytest.raises((KeyError, TypeError)):
        scores_from_report({"model": "x"})


def test_evaluation_has_scores_of_both_systems() -> None:
    gold = [Document(str(n), TEXTS[0], (Span(0, 8, "Chemical"),)) for n in range(3)]
    predictions = [Prediction((Span(0, 8, "Chemical"),), 1.0, "good")] * 3
    silent = [Prediction((), 1.0, "bad")] * 3
    figures = report_to_json(evaluate(gold, predictions, source="gold", against=silent))
    found = scores_from_report(json.loads(json.dumps(figures)))
    assert (found["good"].f1, found["bad"].f1) == (1.0, 0.0)
    assert found["good"].by_length["1"] == 1.0
    assert found["good"].has_same_gold(found["bad"])
    assert (found["good"].paired_intervals, found["bad"].paired_intervals) == (
        {"bad": (1, 1)},
        {"good": (-1, -1)},
    )
    half = [*silent[:1], *predictions[1:]]
    figures = report_to_json(
        evaluate(gold, predictions, against=[replace(p, version="half") for p in half])
    )
    found = scores_from_report(json.loads(json.dumps(figures)))
    low, high = figures["against"]["strict"]["interval"]
    assert 0 <= low < high
    assert (found["good"].paired_intervals, found["half"].paired_intervals) == (
        {"half": (low, high)},
        {"good": (-high, -low)},
    )
    alone = scores_from_report(report_to_json(evaluate(gold, predictions)))
    assert alone.keys() == {"good"}
    assert alone["good"].paired_intervals == {}


class Cells(HTMLParser):
    """The rows of the tables, and the positions of the chart's marks."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_in_cell = False
        self.marks: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._is_in_cell = True
        style = dict(attrs).get("style")
        if style and tag in "ibu":
            self.marks.append((tag, style))

    def handle_endtag(self, tag: str) -> None:
        self._is_in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()


def test_every_output_format_has_every_value() -> None:
    report = report_of(ENCODER, LLM, notes=("a <b>note</b>",))
    markdown, page = benchmark_to_markdown(report), benchmark_to_html(report)
    first, second = json.loads(json.dumps(benchmark_to_json(report)))["timings"]
    assert (first["tier"], first["within_budget"]) == ("encoder", True)
    assert (second["tier"], second["within_budget"]) == ("llm", False)
    assert second["batch_hours"] == pytest.approx(100_000 / 0.5 / 3600)
    rows = [
        ["encoder", "OpenVINO, int8", "100", "20 ms", "40 ms", "yes", "1"],
        ["llm", "PyTorch", "20", "2.00 s", "4.00 s", "no", "100"],
        ["encoder", "OpenVINO, int8", "50", "512 MiB", "1.00 s"],
        ["llm", "PyTorch", "0.5", "16,384 MiB", "60 s"],
        ["encoder", "OpenVINO, int8", "0.56"],
        ["llm", "PyTorch", "55.56"],
        ["small", "test, 500 documents", "0.850", "0.880 (99)", "0.800 (80)", "0.700 (70)"],
        ["large", "test, 500 documents", "0.880", "0.890 (99)", "0.830 (80)", "0.820 (70)"],
    ]
    assert [list(row) for table in benchmark_tables(report) for row in table.rows] == rows
    shown = Cells(page)
    for row in rows:
        assert row in shown.rows
        assert f"| {' | '.join(row)} |" in markdown
    assert shown.marks == [
        *(("i", "width: 1.00%"), ("b", "left: 0.50%"), ("u", "left: 2.50%")),
        *(("i", "width: 100.00%"), ("b", "left: 50.00%"), ("u", "left: 2.50%")),
    ]
    for table in benchmark_tables(report):
        assert all(len(row) == len(table.columns) == len(table.align) for row in table.rows)
        assert table.title in markdown
        assert table.title in page
    assert "<b>note</b>" not in page
    for sentence in report.advice:
        for part in sentence.split("`"):
            assert part in page
    assert "Too slow" in benchmark_to_html(report_of(LLM))


def test_latency_budget_is_met_by_the_95th_percentile() -> None:
    report = report_of(
        replace(ENCODER, p50_seconds=0.09, p95_seconds=0.11),
        replace(ENCODER, p50_seconds=0.1, p95_seconds=0.1),
    )
    assert [row[5] for row in benchmark_tables(report)[0].rows] == ["no", "yes"]
    found = [one["within_budget"] for one in benchmark_to_json(report)["timings"]]
    assert found == [False, True]


def test_cost_per_hour() -> None:
    report = report_of(ENCODER, LLM, requirements=replace(NEED, cost_per_hour=2.0))
    batch = benchmark_tables(report)[2]
    assert batch.columns[-1] == "Cost"
    assert [row[2:] for row in batch.rows] == [("0.56", "1.11"), ("55.56", "111.11")]
    assert batch.note == "Price of this machine: 2.00 per hour."
    assert "| llm | PyTorch | 55.56 | 111.11 |" in benchmark_to_markdown(report)
    assert ["llm", "PyTorch", "55.56", "111.11"] in Cells(benchmark_to_html(report)).rows


def test_gpu_memory_is_reported() -> None:
    (_, many, *_) = benchmark_tables(report_of(replace(LLM, peak_gpu_memory_bytes=2**33)))
    assert many.columns[3:5] == ("Memory", "GPU memory")
    assert many.rows[0][3:5] == ("16,384 MiB", "8,192 MiB")


def test_lengths_without_gold_are_not_shown() -> None:
    none = replace(FOUND, support=FOUND.support | {"3+": 0})
    table = benchmark_tables(report_of(ENCODER, scores={"small": none}))[-1]
    assert table.rows[0][-1] == "-"
