"""Recommendations for each use case, in plain sentences, from scores and speed."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from operator import attrgetter

from tagalong.backend.pages import format_count, format_latency
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LengthBucket
from tagalong.ner.tiers import DEFAULT_TIER, LLM, TIER_DISPLAY_NAMES
from tagalong.training.benchmark.known_scores import MIN_GOLD_ENTITIES, VersionScores
from tagalong.training.benchmark.measure import (
    MIN_DOCUMENTS_FOR_P95,
    BenchmarkConfig,
    BenchmarkResult,
)
from tagalong.training.evaluation.report import Interval

MIN_SPEEDUP = 1.2  # a smaller speedup is not worth a switch of the runtime
MIN_F1_GAIN = 0.005  # a smaller gain is not worth a slower tier
_P95_SECONDS = attrgetter("p95_seconds")


@dataclass(frozen=True, slots=True)
class ServingRequirements:
    """What the user needs."""

    latency_budget_seconds: float  # for one document in interactive use
    batch_documents: int
    cost_per_hour: float | None = None  # price of the machine; None without a cost estimate
    models_dir: str | None = None  # for suggested commands; None for the default folder

    def allows(self, result: BenchmarkResult) -> bool:
        """The 95th percentile of the latency is within the budget."""
        return result.p95_seconds <= self.latency_budget_seconds

    @property
    def latency_budget_text(self) -> str:
        """The budget with its unit."""
        seconds = self.latency_budget_seconds
        return f"{1000 * seconds:g} ms" if seconds < 1 else f"{seconds:g} s"

    @property
    def models_option(self) -> str:
        """Option of suggested commands that selects the folder of versions."""
        return "" if self.models_dir is None else f" --models {shlex.quote(self.models_dir)}"


def deployable_results(results: Sequence[BenchmarkResult]) -> list[BenchmarkResult]:
    """Results without fp32, which is measured only for comparison; default runtime first."""
    return [one for one in results if one.runtime != "fp32"] or list(results)


def batch_hours(result: BenchmarkResult, batch: int) -> float:
    """Hours that a batch of documents takes."""
    return batch / result.documents_per_second / 3600


def format_duration(seconds: float) -> str:
    """Format a duration, such as ``40 minutes``, ``3.2 hours`` or ``12 days``."""
    if seconds < 0.5:
        return "less than a second"
    for unit, name in ((24 * 3600, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:  # "90 minutes" is more exact than "2 hours"
            return f"{seconds / unit:.{seconds < 10 * unit:d}f} {name}"
    return f"{seconds:.0f} second{'s' * (seconds >= 1.5)}"


def format_amount(value: float) -> str:
    """Format hours or money with two decimals; small positive values are ``under 0.01``."""
    return "under 0.01" if 0 < value < 0.005 else f"{value:,.2f}"


def recommend_tiers(
    results: Sequence[BenchmarkResult],
    scores: Mapping[str, VersionScores],
    requirements: ServingRequirements,
    *,
    failed: Sequence[BenchmarkConfig] = (),
) -> tuple[str, ...]:
    """Recommend tiers for interactive use and for batches, one sentence each, with reasons.

    There is at least one result, and `scores` are by version.
    """
    results = deployable_results(results)
    by_tier: defaultdict[str, list[BenchmarkResult]] = defaultdict(list)
    for result in results:
        by_tier[result.tier].append(result)
    fastest = [_lowest_latency_result(of_tier, requirements) for of_tier in by_tier.values()]
    best = {tier: _highest_throughput_result(of_tier) for tier, of_tier in by_tier.items()}
    others = dict(best)
    default = others.pop(DEFAULT_TIER, None)
    batch = format_count(requirements.batch_documents, "document")
    sentences = [_recommend_real_time(fastest, results, scores, requirements)]
    pairs = [(default, other) for other in others.values()] if default is not None else []
    for default, other in pairs:
        ratio = _format_speed_ratio(default.documents_per_second / other.documents_per_second)
        sentences.append(
            f"A batch of {batch} takes the {_tier_name(default)} "
            f"{_format_batch_cost(default, requirements)} on "
            f"{_describe_runtime(default, results)}, and the {_tier_name(other)} "
            f"{_format_batch_cost(other, requirements)}, {ratio}."
        )
        sentences += _recommend_batches(default, other, scores, requirements)
    if not pairs:
        only = next(iter(best.values()))  # one tier at least was measured
        sentences.append(
            f"A batch of {batch} takes {_format_batch_cost(only, requirements)} on "
            f"{_describe_runtime(only, results)}."
        )
    unmeasured = next((config for config in failed if config.tier not in best), None)
    if unmeasured is not None:
        sentences.append(
            f"The {_tier_name(unmeasured)} {unmeasured.version} could not be measured: "
            "see the note."
        )
    elif LLM not in best:
        sentences.append(
            "There is no LLM to compare. The paper measured 2 to 8 points more F1 at 40 to 220 "
            "times the cost, mostly for entities of three words or more: where that counts, "
            f"train one with `tagalong train llm{requirements.models_option}`."
        )
    return tuple(sentences)


def _lowest_latency_result(
    tier_results: Sequence[BenchmarkResult], requirements: ServingRequirements
) -> BenchmarkResult:
    """The default runtime of a tier if it is within the budget, else the fastest."""
    default = tier_results[0]
    return default if requirements.allows(default) else min(tier_results, key=_P95_SECONDS)


def _highest_throughput_result(tier_results: Sequence[BenchmarkResult]) -> BenchmarkResult:
    """The default runtime of a tier, unless another is much faster."""
    default, fastest = tier_results[0], max(tier_results, key=attrgetter("documents_per_second"))
    speedup = fastest.documents_per_second / default.documents_per_second
    return fastest if speedup >= MIN_SPEEDUP else default


def _recommend_real_time(
    best: Sequence[BenchmarkResult],
    results: Sequence[BenchmarkResult],
    scores: Mapping[str, VersionScores],
    requirements: ServingRequirements,
) -> str:
    chosen, *slower = sorted(best, key=_P95_SECONDS)
    if not requirements.allows(chosen):
        return (
            f"In real time: nothing here answers {describe_p95_share(chosen)} within "
            f"{requirements.latency_budget_text}. The fastest, {chosen.version} on "
            f"{_describe_runtime(chosen, results)}, takes "
            f"{_format_rounded_up(chosen.p95_seconds)}: allow that much, or predict in advance "
            f"with `tagalong prelabel{requirements.models_option}`."
        )
    for one in filter(requirements.allows, slower):
        if _is_gain_worth_latency(one, chosen, scores):
            chosen = one
    return (
        f"In real time: serve the {_tier_name(chosen)} {chosen.version}. On "
        f"{_describe_runtime(chosen, results)} it answers {describe_p95_share(chosen)} within "
        f"{format_latency(chosen.p95_seconds)}, and {requirements.latency_budget_text} are allowed."
    )


def describe_p95_share(result: BenchmarkResult) -> str:
    """Describe the documents answered within the 95th percentile."""
    few = f"all {result.timed_documents} measured documents"
    return "95 of 100 documents" if result.timed_documents >= MIN_DOCUMENTS_FOR_P95 else few


def _format_rounded_up(seconds: float) -> str:
    """Format a latency rounded up, so that it is a sufficient budget."""
    milliseconds = ceil(1000 * seconds)
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{ceil(100 * seconds) / 100:.2f} s"


def _describe_runtime(result: BenchmarkResult, results: Sequence[BenchmarkResult]) -> str:
    has_openvino = any(
        one.runtime == "openvino" and one.version == result.version for one in results
    )
    switch = (
        " (with `TAGALONG_OPENVINO=false`)" if result.runtime == "torch" and has_openvino else ""
    )
    return result.runtime_name + switch


def _recommend_batches(
    default: BenchmarkResult,
    other: BenchmarkResult,
    scores: Mapping[str, VersionScores],
    requirements: ServingRequirements,
) -> list[str]:
    default_scores, other_scores = scores.get(default.version), scores.get(other.version)
    compare = (
        f"`tagalong evaluate {other.version} GOLD --against {default.version} --report DIR"
        f"{requirements.models_option}` compares them; then give its result with "
        "`--evaluation DIR/report.json`."
    )
    if default_scores is None or other_scores is None:
        unknown = default.version if default_scores is None else other.version
        return [f"The scores of {unknown} are unknown: {compare}"]
    if min(default_scores.gold_entities, other_scores.gold_entities) < MIN_GOLD_ENTITIES:
        return [
            f"Scores on fewer than {MIN_GOLD_ENTITIES} gold entities are too uncertain: with more "
            f"of them, {compare}"
        ]
    sentences = []
    has_other_gold = not default_scores.has_same_gold(other_scores)
    if has_other_gold:
        sentences.append(f"The scores are of different documents, so this is a guess: {compare}")
    gain = other_scores.f1 - default_scores.f1
    by_length = [
        f"{_format_f1_points(length_gain)} at {length} word{'s' * (length != '1')}"
        for length, length_gain in _known_gains(default_scores, other_scores).items()
    ]
    points = f"{_format_f1_points(gain)} of strict F1"
    points += f" ({', '.join(by_length)})" if by_length else ""
    stay = f"For batches, too: the {_tier_name(default)}. The {_tier_name(other)} has {points}"
    if gain < MIN_F1_GAIN:
        is_slower = other.documents_per_second < default.documents_per_second
        cost = ", which its time is not worth" if is_slower else ""
        return [*sentences, f"{stay}{cost}."]
    interval = _paired_interval(other, default, scores)
    if interval is not None and interval[0] <= 0:
        low, high = (f"{100 * end:+.1f}" for end in interval)
        documents = format_count(default_scores.documents, "document")
        sentences.append(
            f"{stay}, which is no more than noise on {documents} "
            f"({low} to {high} points at 95 %): evaluate more documents. {compare}"
        )
        return sentences
    is_noise_unknown = interval is None and not has_other_gold
    noise = f" Whether that is more than noise is unknown: {compare}" if is_noise_unknown else ""
    sentences.append(f"For batches that matter: the {_tier_name(other)}, with {points}.{noise}")
    if other.tier == LLM and _is_gain_mostly_long(default_scores, other_scores):
        sentences.append(
            "Most of that is in long entities: `tagalong prelabel --tier cascade --encoder "
            f"{default.version} --llm {other.version}{requirements.models_option}` uses the "
            f"{_tier_name(other)} only for the documents with most expected errors, in a fraction "
            "of the time."
        )
    return sentences


def _known_gains(
    default_scores: VersionScores, other_scores: VersionScores
) -> dict[LengthBucket, float]:
    """Gain in F1 at the lengths with enough gold entities."""
    return {
        length: other_scores.by_length[length] - default_scores.by_length[length]
        for length in LENGTH_BUCKETS
        if min(default_scores.support.get(length, 0), other_scores.support.get(length, 0))
        >= MIN_GOLD_ENTITIES
    }


def _is_gain_mostly_long(default_scores: VersionScores, other_scores: VersionScores) -> bool:
    """Most of the gain is in long entities, with enough gold to know."""
    weighted = {
        length: (other_scores.by_length[length] - default_scores.by_length[length])
        * default_scores.support.get(length, 0)
        for length in LENGTH_BUCKETS  # including lengths with little gold
    }
    is_known = "3+" in _known_gains(default_scores, other_scores)
    return is_known and weighted["3+"] > 0 and 2 * weighted["3+"] > sum(weighted.values())


def _format_speed_ratio(times: float) -> str:
    factor = max(times, 1 / times)
    shown = f"{factor:,.0f}" if factor >= 10 else f"{factor:.2g}"
    if shown == "1":
        return "about as long"
    return f"{shown} times as {'long' if times > 1 else 'fast'}"


def _format_batch_cost(result: BenchmarkResult, requirements: ServingRequirements) -> str:
    hours = batch_hours(result, requirements.batch_documents)
    price = requirements.cost_per_hour
    money = "" if price is None else f" (at a cost of {format_amount(hours * price)})"
    return format_duration(hours * 3600) + money


def _format_f1_points(gain: float) -> str:
    return f"{abs(100 * gain):.1f} points {'more' if gain >= 0 else 'less'}"


def _tier_name(one: BenchmarkResult | BenchmarkConfig) -> str:
    return TIER_DISPLAY_NAMES[one.tier]


def _is_gain_worth_latency(
    slower: BenchmarkResult, faster: BenchmarkResult, scores: Mapping[str, VersionScores]
) -> bool:
    """The slower version is known to have a higher F1, beyond noise."""
    more, less = scores.get(slower.version), scores.get(faster.version)
    if more is None or less is None or not more.has_same_gold(less):
        return False
    interval = _paired_interval(slower, faster, scores)
    return (
        more.gold_entities >= MIN_GOLD_ENTITIES
        and more.f1 - less.f1 >= MIN_F1_GAIN
        and (interval is None or interval[0] > 0)
    )


def _paired_interval(
    one: BenchmarkResult, other: BenchmarkResult, scores: Mapping[str, VersionScores]
) -> Interval | None:
    """Interval of the F1 difference of two versions; None if no evaluation compares them."""
    scores_of_one, scores_of_other = scores[one.version], scores[other.version]
    if not scores_of_one.has_same_gold(scores_of_other):
        return None
    if interval := scores_of_one.paired_intervals.get(other.version):
        return interval
    if interval := scores_of_other.paired_intervals.get(one.version):
        return -interval[1], -interval[0]  # the difference in the other direction
    return None
