"""Which tier for which work: what it finds beside what it takes, in plain sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.pages import brief
from ner.manifest import Manifest
from ner.scoring import LENGTHS, Length
from training.calibrate.timing import ENOUGH, Timing

SPLITS = ("test", "held out", "dev")  # whose scores count, the first there is
FASTER = 1.2  # times, from which on another way to serve is worth a switch
FEW_GOLD = 30  # entities of a length, below which its F1 is not argued with
WORTH = 0.005  # of strict F1: less is no reason for a tier that takes many times as long
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Need:
    """What is wanted of a tier.

    Attributes:
        budget: Seconds that an annotator may wait for a document.
        batch: Documents of a batch.
        price: Of an hour of this machine; None where it is not to be reckoned.
    """

    budget: float
    batch: int
    price: float | None = None

    @property
    def allowed(self) -> str:
        """The budget in words, as it was given."""
        return f"{1000 * self.budget:g} ms" if self.budget < 1 else f"{self.budget:g} s"


@dataclass(frozen=True, slots=True)
class Quality:
    """What a version finds.

    Attributes:
        source: Where that was judged: ``test``, ``dev``, or an evaluation's gold.
        documents: How many.
        f1: Strict.
        by_length: Strict F1 by length in words.
        support: Gold entities of each length.
    """

    source: str
    documents: int
    f1: float
    by_length: Mapping[Length, float]
    support: Mapping[Length, int]

    def is_of_same_documents(self, other: "Quality") -> bool:
        """Whether two versions were judged by the same gold, as far as can be told."""
        return (self.documents, dict(self.support)) == (other.documents, dict(other.support))


def quality_of(manifest: Manifest) -> Quality | None:
    """Read what a manifest says a version finds.

    Args:
        manifest: Of the version.

    Returns:
        The scores on test, else on dev; None where it has neither.
    """
    for split in SPLITS:
        scores = manifest.scores.get(split)
        if isinstance(scores, Mapping) and isinstance(scores.get("strict_f1"), float):
            return Quality(
                split,
                int(scores.get("documents", 0)),
                scores["strict_f1"],
                {length: scores.get("by_length", {}).get(length) or 0.0 for length in LENGTHS},
                {length: scores.get("support", {}).get(length, 0) for length in LENGTHS},
            )
    return None


def qualities_in(figures: Mapping[str, Any]) -> dict[str, Quality]:
    """Read what an evaluation found.

    Args:
        figures: The object of its ``report.json``.

    Returns:
        The scores of the version that it judged and, if it compared that with another, of the
        other, by their names.

    Raises:
        KeyError: If it is no such object.
        TypeError: Likewise.
    """
    support = {length: int(figures["by_length"][length]["strict"]["gold"]) for length in LENGTHS}

    def quality(judged: Mapping[str, Any]) -> Quality:
        return Quality(
            str(figures["gold"]),
            int(figures["documents"]),
            float(judged["strict"]["f1"]),
            {length: float(judged["by_length"][length]["strict"]["f1"]) for length in LENGTHS},
            support,
        )

    both = [figures, *([figures["against"]] if figures["against"] else [])]
    return {str(one["model"]): quality(one) for one in both}


def usable(timings: Sequence[Timing]) -> list[Timing]:
    """The ways in which a version can be had: fp32 is there to be compared with, where bf16 is.

    Args:
        timings: Of every way that was measured.

    Returns:
        Those, the way that ``tagalong serve`` takes by itself first.
    """
    return [one for one in timings if one.way != "fp32"] or list(timings)


def hours(timing: Timing, batch: int) -> float:
    """How long a batch takes.

    Args:
        timing: Of what reads it.
        batch: Documents.

    Returns:
        Hours.
    """
    return batch / timing.per_second / HOUR


def spoken(seconds: float) -> str:
    """A long time in words.

    Args:
        seconds: Of it.

    Returns:
        Such as ``40 minutes``, ``3.2 hours`` or ``12 days``.
    """
    for unit, name in ((24 * HOUR, "days"), (HOUR, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.{seconds < 10 * unit:d}f} {name}"
    return f"{seconds:.0f} seconds"


def advise(
    timings: Sequence[Timing], qualities: Mapping[str, Quality], need: Need
) -> tuple[str, ...]:
    """Say which tier to use for which work.

    Args:
        timings: Of every way to serve that was measured, at least one of an encoder or an LLM.
        qualities: Of versions by name, those that are known.
        need: What is wanted.

    Returns:
        Sentences: for real time, for batches, and why.
    """
    timings = usable(timings)
    by_tier = {
        tier: [one for one in timings if one.tier == tier]
        for tier in dict.fromkeys(one.tier for one in timings)
    }
    soonest = [_soonest(ways, need) for ways in by_tier.values()]
    found = [_real_time(soonest, timings, qualities, need)]
    most = {tier: _most(ways) for tier, ways in by_tier.items()}
    encoder, llm = most.get("encoder"), most.get("llm")
    if encoder is None or llm is None:
        only = encoder or llm
        assert only is not None  # noqa: S101 (one at least was measured)
        found.append(f"A batch of {need.batch:,} documents takes {_batch(only, need)}.")
        if llm is None:
            found.append(
                "No LLM is here to compare it with. The study found 2 to 8 points more of F1, most "
                "of it in entities of three words and more, for 40 to 220 times the time: where "
                "that counts, train one with `tagalong train llm`."
            )
        return tuple(found)
    return (*found, *_batches(encoder, llm, qualities, need))


def _soonest(ways: Sequence[Timing], need: Need) -> Timing:
    """The way to serve a tier: as it is served by itself, if that is soon enough."""
    return ways[0] if ways[0].p95 <= need.budget else min(ways, key=lambda one: one.p95)


def _most(ways: Sequence[Timing]) -> Timing:
    """The way to read batches: as they are read by themselves, unless another is much faster."""
    most = max(ways, key=lambda one: one.per_second)
    return most if most.per_second >= FASTER * ways[0].per_second else ways[0]


def _real_time(
    best: Sequence[Timing],
    timings: Sequence[Timing],
    qualities: Mapping[str, Quality],
    need: Need,
) -> str:
    """What to serve while annotators wait."""
    able = sorted((one for one in best if one.p95 <= need.budget), key=lambda one: one.p95)
    if not able:
        fastest = min(best, key=lambda one: one.p95)
        return (
            f"In real time: nothing here answers {_most_of(fastest)} within {need.allowed}. The "
            f"fastest, {fastest.version} on {_runs_on(fastest, timings)}, takes "
            f"{brief(fastest.p95)}: allow that much, or predict before anybody opens a task, with "
            "`tagalong prelabel`."
        )
    chosen = able[0]
    for slower in able[1:]:
        if _is_worth_it(slower, chosen, qualities):
            chosen = slower
    return (
        f"In real time: serve the {_name(chosen)} {chosen.version}. On "
        f"{_runs_on(chosen, timings)} it answers {_most_of(chosen)} within {brief(chosen.p95)}, "
        f"and {need.allowed} are allowed."
    )


def _most_of(timing: Timing) -> str:
    """The documents that were answered within the 95th percentile."""
    few = f"all of the {timing.asked} documents that it was asked"
    return "95 of 100 documents" if timing.asked >= ENOUGH else few


def _runs_on(timing: Timing, timings: Sequence[Timing]) -> str:
    """What runs a version, and how to have that where something else would."""
    has_engine = any(one.way == "engine" and one.version == timing.version for one in timings)
    switch = " (with `TAGALONG_CPU_ENGINE=false`)" if timing.way == "torch" and has_engine else ""
    return timing.runs_on + switch


def _batches(
    encoder: Timing, llm: Timing, qualities: Mapping[str, Quality], need: Need
) -> list[str]:
    """What to read batches with."""
    times = encoder.per_second / llm.per_second
    costs = (
        f"A batch of {need.batch:,} documents takes the encoder {_batch(encoder, need)}, and the "
        f"LLM {_batch(llm, need)}, {_times(times)}."
    )
    ours, theirs = qualities.get(encoder.version), qualities.get(llm.version)
    if ours is None or theirs is None:
        unknown = encoder.version if ours is None else llm.version
        return [
            costs,
            f"What {unknown} finds is not known: {_compare(encoder, llm)}",
        ]
    said = [costs]
    if not ours.is_of_same_documents(theirs):
        said.append(
            "Their scores are of different documents, so what follows is a guess: "
            f"{_compare(encoder, llm)}"
        )
    gain = theirs.f1 - ours.f1
    gains = {
        length: theirs.by_length[length] - ours.by_length[length]
        for length in LENGTHS
        if min(ours.support.get(length, 0), theirs.support.get(length, 0)) >= FEW_GOLD
    }
    if gain < WORTH:
        said.append(
            f"For batches, too: the encoder. The LLM has {_points(gain)} of strict F1"
            f"{_by_length(gains)}{', which its time is not worth' if times > 1 else ''}."
        )
        return said
    weighted = {length: gain * ours.support[length] for length, gain in gains.items()}
    said.append(
        f"For batches that matter: the LLM, with {_points(gain)} of strict F1{_by_length(gains)}."
    )
    if 2 * weighted.get("3+", 0.0) > sum(weighted.values()):
        said.append(
            "Most of that is in long entities: `tagalong prelabel --tier cascade` has the LLM read "
            "only where it pays most, at a share of the time."
        )
    return said


def _compare(encoder: Timing, llm: Timing) -> str:
    """How to find out what both find."""
    return (
        f"`tagalong evaluate {llm.version} GOLD --against {encoder.version} --report DIR` compares "
        "them, and `--evaluation DIR/report.json` tells it here."
    )


def _times(times: float) -> str:
    """How many times as long the LLM takes."""
    if times < 1:
        return f"{1 / times:.2g} times as fast"
    return f"{times:,.0f} times as long" if times >= 10 else f"{times:.2g} times as long"


def _batch(timing: Timing, need: Need) -> str:
    """What a batch takes, in time and money."""
    took = hours(timing, need.batch)
    money = "" if need.price is None else f" (at a cost of {took * need.price:,.2f})"
    return spoken(took * HOUR) + money


def _by_length(gains: Mapping[Length, float]) -> str:
    """What is gained by length, for inside a sentence."""
    parts = [
        f"{_points(gain)} at {length} word{'s' * (length != '1')}" for length, gain in gains.items()
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _points(gain: float) -> str:
    """A difference of F1: ``3.1 points more``."""
    return f"{abs(100 * gain):.1f} points {'more' if gain >= 0 else 'less'}"


def _name(timing: Timing) -> str:
    """A tier, as a sentence has it."""
    return "LLM" if timing.tier == "llm" else timing.tier


def _is_worth_it(slower: Timing, faster: Timing, qualities: Mapping[str, Quality]) -> bool:
    """Whether the slower of two is known to find so much more that its time is worth it."""
    more, less = qualities.get(slower.version), qualities.get(faster.version)
    if more is None or less is None or not more.is_of_same_documents(less):
        return False
    return more.f1 - less.f1 >= WORTH
