"""Which tier for which work: what it finds beside what it takes, in plain sentences."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from tagalong.backend.pages import format_count, format_latency
from tagalong.ner.model_registry import ENCODER, LLM, TIER_NAMES
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.training.benchmark.known_scores import MIN_GOLD_ENTITIES, VersionScores
from tagalong.training.benchmark.measure import (
    MIN_DOCUMENTS_FOR_P95,
    BenchmarkConfig,
    BenchmarkResult,
)
from tagalong.training.evaluation.report import Interval

MIN_SPEEDUP = 1.2  # times, from which on another way to serve is worth a switch
MIN_F1_GAIN = 0.005  # of strict F1: less is no reason for a tier that takes many times as long
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class ServingRequirements:
    """What is wanted of a tier.

    Attributes:
        latency_budget_seconds: Seconds that an annotator may wait for a document.
        batch_documents: Documents of a batch.
        cost_per_hour: Of an hour of this machine; None where it is not to be reckoned.
        models_dir: Folder of the versions, for the commands that are named; None for the default.
    """

    latency_budget_seconds: float
    batch_documents: int
    cost_per_hour: float | None = None
    models_dir: str | None = None

    @property
    def latency_budget_text(self) -> str:
        """The budget in words, as it was given."""
        return (
            f"{1000 * self.latency_budget_seconds:g} ms"
            if self.latency_budget_seconds < 1
            else f"{self.latency_budget_seconds:g} s"
        )

    @property
    def models_option(self) -> str:
        """What a command needs to find the versions, for its end."""
        return "" if self.models_dir is None else f" --models {shlex.quote(self.models_dir)}"


def deployable_results(results: Sequence[BenchmarkResult]) -> list[BenchmarkResult]:
    """The ways in which a version can be had: fp32 is there to be compared with, where bf16 is.

    Args:
        results: Of every way that was measured.

    Returns:
        Those, the way that ``tagalong serve`` takes by itself first.
    """
    return [one for one in results if one.runtime != "fp32"] or list(results)


def batch_hours(result: BenchmarkResult, batch: int) -> float:
    """How long a batch takes.

    Args:
        result: Of what reads it.
        batch_documents: Documents.

    Returns:
        Hours.
    """
    return batch / result.documents_per_second / SECONDS_PER_HOUR


def format_duration(seconds: float) -> str:
    """A long time in words.

    Args:
        seconds: Of it.

    Returns:
        Such as ``40 minutes``, ``3.2 hours`` or ``12 days``.
    """
    if seconds < 0.5:
        return "less than a second"
    for unit, name in (
        (24 * SECONDS_PER_HOUR, "days"),
        (SECONDS_PER_HOUR, "hours"),
        (60, "minutes"),
    ):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.{seconds < 10 * unit:d}f} {name}"
    return f"{seconds:.0f} second{'s' * (seconds >= 1.5)}"


def format_amount(value: float) -> str:
    """Hours or money in hundredths, with what is less not called nothing.

    Args:
        value: From 0.

    Returns:
        Such as ``1,234.50``.
    """
    return "under 0.01" if 0 < value < 0.005 else f"{value:,.2f}"


def recommend_tiers(
    results: Sequence[BenchmarkResult],
    scores: Mapping[str, VersionScores],
    requirements: ServingRequirements,
    *,
    failed: Sequence[BenchmarkConfig] = (),
) -> tuple[str, ...]:
    """Say which tier to use for which work.

    Args:
        results: Of every way to serve that was measured, at least one of an encoder or an LLM.
        scores: Of versions by name, those that are known.
        requirements: What is wanted.
        failed: Ways to serve that could not be measured.

    Returns:
        Sentences: for real time, for batches, and why.
    """
    results = deployable_results(results)
    by_tier = {
        tier: [one for one in results if one.tier == tier]
        for tier in dict.fromkeys(one.tier for one in results)
    }
    soonest = [_lowest_latency_result(ways, requirements) for ways in by_tier.values()]
    found = [_recommend_real_time(soonest, results, scores, requirements)]
    most = {tier: _highest_throughput_result(ways) for tier, ways in by_tier.items()}
    encoder, llm = most.get(ENCODER), most.get(LLM)
    if encoder is None or llm is None:
        only = encoder or llm
        assert only is not None  # noqa: S101 (one at least was measured)
        found.append(
            f"A batch of {format_count(requirements.batch_documents, 'document')} takes {_format_batch_cost(only, requirements)} on "
            f"{_describe_runtime(only, results)}."
        )
        missed = next((one for one in failed if one.tier not in most), None)
        if missed is not None:
            found.append(
                f"The {_tier_name(missed)} {missed.version} could not be measured: see the note."
            )
        elif llm is None:
            found.append(
                "No LLM is here to compare it with. The study found 2 to 8 points more of F1, most "
                "of it in entities of three words and more, for 40 to 220 times the time: where "
                f"that counts, train one with `tagalong train llm{requirements.models_option}`."
            )
        return tuple(found)
    times = _format_speed_ratio(encoder.documents_per_second / llm.documents_per_second)
    found.append(
        f"A batch of {format_count(requirements.batch_documents, 'document')} takes the encoder {_format_batch_cost(encoder, requirements)} "
        f"on {_describe_runtime(encoder, results)}, and the LLM {_format_batch_cost(llm, requirements)}, {times}."
    )
    return (*found, *_recommend_batches(encoder, llm, scores, requirements))


def _lowest_latency_result(
    ways: Sequence[BenchmarkResult], need: ServingRequirements
) -> BenchmarkResult:
    """The way to serve a tier: as it is served by itself, if that is soon enough."""
    return (
        ways[0]
        if ways[0].p95_seconds <= need.latency_budget_seconds
        else min(ways, key=lambda one: one.p95_seconds)
    )


def _highest_throughput_result(ways: Sequence[BenchmarkResult]) -> BenchmarkResult:
    """The way to read batches: as they are read by themselves, unless another is much faster."""
    most = max(ways, key=lambda one: one.documents_per_second)
    return (
        most if most.documents_per_second >= MIN_SPEEDUP * ways[0].documents_per_second else ways[0]
    )


def _recommend_real_time(
    best: Sequence[BenchmarkResult],
    timings: Sequence[BenchmarkResult],
    qualities: Mapping[str, VersionScores],
    need: ServingRequirements,
) -> str:
    """What to serve while annotators wait."""
    able = sorted(
        (one for one in best if one.p95_seconds <= need.latency_budget_seconds),
        key=lambda one: one.p95_seconds,
    )
    if not able:
        fastest = min(best, key=lambda one: one.p95_seconds)
        return (
            f"In real time: nothing here answers {describe_p95_share(fastest)} within {need.latency_budget_text}. The "
            f"fastest, {fastest.version} on {_describe_runtime(fastest, timings)}, takes "
            f"{_format_rounded_up(fastest.p95_seconds)}: allow that much, or predict before anybody opens a task, "
            f"with `tagalong prelabel{need.models_option}`."
        )
    chosen = able[0]
    for slower in able[1:]:
        if _is_gain_worth_latency(slower, chosen, qualities):
            chosen = slower
    return (
        f"In real time: serve the {_tier_name(chosen)} {chosen.version}. On "
        f"{_describe_runtime(chosen, timings)} it answers {describe_p95_share(chosen)} within {format_latency(chosen.p95_seconds)}, "
        f"and {need.latency_budget_text} are allowed."
    )


def describe_p95_share(result: BenchmarkResult) -> str:
    """The documents that were answered within the 95th percentile.

    Args:
        result: Of what answered them.

    Returns:
        Words for the middle of a sentence.
    """
    few = f"all of the {result.timed_documents} documents that it was asked"
    return "95 of 100 documents" if result.timed_documents >= MIN_DOCUMENTS_FOR_P95 else few


def _format_rounded_up(seconds: float) -> str:
    """A time that suffices, where `format_latency` says a little less than it took."""
    milliseconds = ceil(1000 * seconds)
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{ceil(100 * seconds) / 100:.2f} s"


def _describe_runtime(timing: BenchmarkResult, timings: Sequence[BenchmarkResult]) -> str:
    """What runs a version, and how to have that where something else would."""
    has_engine = any(one.runtime == "engine" and one.version == timing.version for one in timings)
    switch = (
        " (with `TAGALONG_OPENVINO=false`)" if timing.runtime == "torch" and has_engine else ""
    )
    return timing.runtime_name + switch


def _recommend_batches(
    encoder: BenchmarkResult,
    llm: BenchmarkResult,
    qualities: Mapping[str, VersionScores],
    need: ServingRequirements,
) -> list[str]:
    """What to read batches with."""
    ours, theirs = qualities.get(encoder.version), qualities.get(llm.version)
    compare = (
        f"`tagalong evaluate {llm.version} GOLD --against {encoder.version} --report DIR"
        f"{need.models_option}` compares them, and `--evaluation DIR/report.json` tells it here."
    )
    if ours is None or theirs is None:
        unknown = encoder.version if ours is None else llm.version
        return [f"What {unknown} finds is not known: {compare}"]
    if min(ours.gold_entities, theirs.gold_entities) < MIN_GOLD_ENTITIES:
        return [
            f"Scores of fewer than {MIN_GOLD_ENTITIES} gold entities do not tell which finds more: with "
            f"more of them, {compare}"
        ]
    said = []
    is_guess = not ours.has_same_gold(theirs)
    if is_guess:
        said.append(
            f"Their scores are of different documents, so what follows is a guess: {compare}"
        )
    gain, gains = theirs.f1 - ours.f1, _gains_by_length(ours, theirs)
    found = f"{_format_f1_points(gain)} of strict F1{_format_gains_by_length(gains)}"
    if gain < MIN_F1_GAIN:
        slower = llm.documents_per_second < encoder.documents_per_second
        costs = ", which its time is not worth" if slower else ""
        return [*said, f"For batches, too: the encoder. The LLM has {found}{costs}."]
    interval = _paired_interval(llm, encoder, qualities)
    if interval is not None and interval[0] <= 0:
        low, high = (f"{100 * end:+.1f}" for end in interval)
        said.append(
            f"For batches, too: the encoder. The LLM has {found}, which is no more than noise on "
            f"{format_count(ours.documents, 'document')} ({low} to {high} points at 95 %): judge more "
            f"documents. {compare}"
        )
        return said
    is_open = interval is None and not is_guess
    noise = f" Whether that is more than noise is not known: {compare}" if is_open else ""
    said.append(f"For batches that matter: the LLM, with {found}.{noise}")
    if _is_gain_mostly_long(ours, theirs):
        said.append(
            "Most of that is in long entities: `tagalong prelabel --tier cascade --encoder "
            f"{encoder.version} --llm {llm.version}{need.models_option}` has the LLM read only where it "
            "pays most, at a share of the time."
        )
    return said


def _gains_by_length(ours: VersionScores, theirs: VersionScores) -> dict[LengthBucket, float]:
    """What the other finds more by length, where there is enough gold to say so."""
    return {
        length: theirs.by_length[length] - ours.by_length[length]
        for length in LENGTH_BUCKETS
        if min(ours.support.get(length, 0), theirs.support.get(length, 0)) >= MIN_GOLD_ENTITIES
    }


def _is_gain_mostly_long(ours: VersionScores, theirs: VersionScores) -> bool:
    """Whether most of what the other finds more is known to be in long entities."""
    weighted = {
        length: (theirs.by_length[length] - ours.by_length[length]) * ours.support.get(length, 0)
        for length in LENGTH_BUCKETS  # those of little gold as well: they may be where the gain is
    }
    is_known = "3+" in _gains_by_length(ours, theirs)
    return is_known and weighted["3+"] > 0 and 2 * weighted["3+"] > sum(weighted.values())


def _format_speed_ratio(times: float) -> str:
    """How many times as long the LLM takes."""
    more = max(times, 1 / times)
    said = f"{more:,.0f}" if more >= 10 else f"{more:.2g}"
    if said == "1":
        return "about as long"
    return f"{said} times as {'long' if times > 1 else 'fast'}"


def _format_batch_cost(timing: BenchmarkResult, need: ServingRequirements) -> str:
    """What a batch takes, in time and money."""
    took = batch_hours(timing, need.batch_documents)
    money = (
        ""
        if need.cost_per_hour is None
        else f" (at a cost of {format_amount(took * need.cost_per_hour)})"
    )
    return format_duration(took * SECONDS_PER_HOUR) + money


def _format_gains_by_length(gains: Mapping[LengthBucket, float]) -> str:
    """What is gained by length, for inside a sentence."""
    parts = [
        f"{_format_f1_points(gain)} at {length} word{'s' * (length != '1')}"
        for length, gain in gains.items()
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _format_f1_points(gain: float) -> str:
    """A difference of F1: ``3.1 points more``."""
    return f"{abs(100 * gain):.1f} points {'more' if gain >= 0 else 'less'}"


def _tier_name(one: BenchmarkResult | BenchmarkConfig) -> str:
    """A tier, as a sentence has it."""
    return TIER_NAMES[one.tier]


def _is_gain_worth_latency(
    slower: BenchmarkResult, faster: BenchmarkResult, qualities: Mapping[str, VersionScores]
) -> bool:
    """Whether the slower of two is known to find so much more that its time is worth it."""
    more, less = qualities.get(slower.version), qualities.get(faster.version)
    if more is None or less is None or not more.has_same_gold(less):
        return False
    interval = _paired_interval(slower, faster, qualities)
    return (
        more.gold_entities >= MIN_GOLD_ENTITIES
        and more.f1 - less.f1 >= MIN_F1_GAIN
        and (interval is None or interval[0] > 0)
    )


def _paired_interval(
    one: BenchmarkResult, other: BenchmarkResult, qualities: Mapping[str, VersionScores]
) -> Interval | None:
    """The interval of what one finds more than the other; None where nothing has compared them."""
    ours, theirs = qualities[one.version], qualities[other.version]
    if not ours.has_same_gold(theirs):
        return None
    if other.version in ours.paired_intervals:
        return ours.paired_intervals[other.version]
    if one.version in theirs.paired_intervals:
        low, high = theirs.paired_intervals[one.version]
        return -high, -low
    return None
