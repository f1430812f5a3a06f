"""Which tier for which work: what it finds beside what it takes, in plain sentences."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from backend.pages import brief, counted
from ner.scoring import LENGTHS, Length
from training.calibrate.quality import FEW_GOLD, Quality
from training.calibrate.timing import ENOUGH, Setting, Timing
from training.report import Interval

FASTER = 1.2  # times, from which on another way to serve is worth a switch
WORTH = 0.005  # of strict F1: less is no reason for a tier that takes many times as long
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Need:
    """What is wanted of a tier.

    Attributes:
        budget: Seconds that an annotator may wait for a document.
        batch: Documents of a batch.
        price: Of an hour of this machine; None where it is not to be reckoned.
        models: Folder of the versions, for the commands that are named; None for the default.
    """

    budget: float
    batch: int
    price: float | None = None
    models: str | None = None

    @property
    def allowed(self) -> str:
        """The budget in words, as it was given."""
        return f"{1000 * self.budget:g} ms" if self.budget < 1 else f"{self.budget:g} s"

    @property
    def where(self) -> str:
        """What a command needs to find the versions, for its end."""
        return "" if self.models is None else f" --models {shlex.quote(self.models)}"


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
    if seconds < 0.5:
        return "less than a second"
    for unit, name in ((24 * HOUR, "days"), (HOUR, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.{seconds < 10 * unit:d}f} {name}"
    return f"{seconds:.0f} second{'s' * (seconds >= 1.5)}"


def amount(value: float) -> str:
    """Hours or money in hundredths, with what is less not called nothing.

    Args:
        value: From 0.

    Returns:
        Such as ``1,234.50``.
    """
    return "under 0.01" if 0 < value < 0.005 else f"{value:,.2f}"


def advise(
    timings: Sequence[Timing],
    qualities: Mapping[str, Quality],
    need: Need,
    *,
    failed: Sequence[Setting] = (),
) -> tuple[str, ...]:
    """Say which tier to use for which work.

    Args:
        timings: Of every way to serve that was measured, at least one of an encoder or an LLM.
        qualities: Of versions by name, those that are known.
        need: What is wanted.
        failed: Ways to serve that could not be measured.

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
        found.append(
            f"A batch of {counted(need.batch, 'document')} takes {_batch(only, need)} on "
            f"{_runs_on(only, timings)}."
        )
        missed = next((one for one in failed if one.tier not in most), None)
        if missed is not None:
            found.append(
                f"The {_name(missed)} {missed.version} could not be measured: see the note."
            )
        elif llm is None:
            found.append(
                "No LLM is here to compare it with. The study found 2 to 8 points more of F1, most "
                "of it in entities of three words and more, for 40 to 220 times the time: where "
                f"that counts, train one with `tagalong train llm{need.where}`."
            )
        return tuple(found)
    times = _times(encoder.per_second / llm.per_second)
    found.append(
        f"A batch of {counted(need.batch, 'document')} takes the encoder {_batch(encoder, need)} "
        f"on {_runs_on(encoder, timings)}, and the LLM {_batch(llm, need)}, {times}."
    )
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
            f"In real time: nothing here answers {most_of(fastest)} within {need.allowed}. The "
            f"fastest, {fastest.version} on {_runs_on(fastest, timings)}, takes "
            f"{_rounded_up(fastest.p95)}: allow that much, or predict before anybody opens a task, "
            f"with `tagalong prelabel{need.where}`."
        )
    chosen = able[0]
    for slower in able[1:]:
        if _is_worth_it(slower, chosen, qualities):
            chosen = slower
    return (
        f"In real time: serve the {_name(chosen)} {chosen.version}. On "
        f"{_runs_on(chosen, timings)} it answers {most_of(chosen)} within {brief(chosen.p95)}, "
        f"and {need.allowed} are allowed."
    )


def most_of(timing: Timing) -> str:
    """The documents that were answered within the 95th percentile.

    Args:
        timing: Of what answered them.

    Returns:
        Words for the middle of a sentence.
    """
    few = f"all of the {timing.asked} documents that it was asked"
    return "95 of 100 documents" if timing.asked >= ENOUGH else few


def _rounded_up(seconds: float) -> str:
    """A time that suffices, where `brief` says a little less than it took."""
    milliseconds = ceil(1000 * seconds)
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{ceil(100 * seconds) / 100:.2f} s"


def _runs_on(timing: Timing, timings: Sequence[Timing]) -> str:
    """What runs a version, and how to have that where something else would."""
    has_engine = any(one.way == "engine" and one.version == timing.version for one in timings)
    switch = " (with `TAGALONG_CPU_ENGINE=false`)" if timing.way == "torch" and has_engine else ""
    return timing.runs_on + switch


def _batches(
    encoder: Timing, llm: Timing, qualities: Mapping[str, Quality], need: Need
) -> list[str]:
    """What to read batches with."""
    ours, theirs = qualities.get(encoder.version), qualities.get(llm.version)
    compare = (
        f"`tagalong evaluate {llm.version} GOLD --against {encoder.version} --report DIR"
        f"{need.where}` compares them, and `--evaluation DIR/report.json` tells it here."
    )
    if ours is None or theirs is None:
        unknown = encoder.version if ours is None else llm.version
        return [f"What {unknown} finds is not known: {compare}"]
    if min(ours.gold, theirs.gold) < FEW_GOLD:
        return [
            f"Scores of fewer than {FEW_GOLD} gold entities do not tell which finds more: with "
            f"more of them, {compare}"
        ]
    said = []
    is_guess = not ours.is_of_same_documents(theirs)
    if is_guess:
        said.append(
            f"Their scores are of different documents, so what follows is a guess: {compare}"
        )
    gain, gains = theirs.f1 - ours.f1, _gains(ours, theirs)
    found = f"{_points(gain)} of strict F1{_by_length(gains)}"
    if gain < WORTH:
        slower = llm.per_second < encoder.per_second
        costs = ", which its time is not worth" if slower else ""
        return [*said, f"For batches, too: the encoder. The LLM has {found}{costs}."]
    interval = _paired(llm, encoder, qualities)
    if interval is not None and interval[0] <= 0:
        low, high = (f"{100 * end:+.1f}" for end in interval)
        said.append(
            f"For batches, too: the encoder. The LLM has {found}, which is no more than noise on "
            f"{counted(ours.documents, 'document')} ({low} to {high} points at 95 %): judge more "
            f"documents. {compare}"
        )
        return said
    is_open = interval is None and not is_guess
    noise = f" Whether that is more than noise is not known: {compare}" if is_open else ""
    said.append(f"For batches that matter: the LLM, with {found}.{noise}")
    if _is_mostly_long(ours, theirs):
        said.append(
            "Most of that is in long entities: `tagalong prelabel --tier cascade --encoder "
            f"{encoder.version} --llm {llm.version}{need.where}` has the LLM read only where it "
            "pays most, at a share of the time."
        )
    return said


def _gains(ours: Quality, theirs: Quality) -> dict[Length, float]:
    """What the other finds more by length, where there is enough gold to say so."""
    return {
        length: theirs.by_length[length] - ours.by_length[length]
        for length in LENGTHS
        if min(ours.support.get(length, 0), theirs.support.get(length, 0)) >= FEW_GOLD
    }


def _is_mostly_long(ours: Quality, theirs: Quality) -> bool:
    """Whether most of what the other finds more is known to be in long entities."""
    weighted = {
        length: (theirs.by_length[length] - ours.by_length[length]) * ours.support.get(length, 0)
        for length in LENGTHS  # those of little gold as well: they may be where the gain is
    }
    is_known = "3+" in _gains(ours, theirs)
    return is_known and weighted["3+"] > 0 and 2 * weighted["3+"] > sum(weighted.values())


def _times(times: float) -> str:
    """How many times as long the LLM takes."""
    more = max(times, 1 / times)
    said = f"{more:,.0f}" if more >= 10 else f"{more:.2g}"
    if said == "1":
        return "about as long"
    return f"{said} times as {'long' if times > 1 else 'fast'}"


def _batch(timing: Timing, need: Need) -> str:
    """What a batch takes, in time and money."""
    took = hours(timing, need.batch)
    money = "" if need.price is None else f" (at a cost of {amount(took * need.price)})"
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


def _name(one: Timing | Setting) -> str:
    """A tier, as a sentence has it."""
    return "LLM" if one.tier == "llm" else one.tier


def _is_worth_it(slower: Timing, faster: Timing, qualities: Mapping[str, Quality]) -> bool:
    """Whether the slower of two is known to find so much more that its time is worth it."""
    more, less = qualities.get(slower.version), qualities.get(faster.version)
    if more is None or less is None or not more.is_of_same_documents(less):
        return False
    interval = _paired(slower, faster, qualities)
    return (
        more.gold >= FEW_GOLD
        and more.f1 - less.f1 >= WORTH
        and (interval is None or interval[0] > 0)
    )


def _paired(one: Timing, other: Timing, qualities: Mapping[str, Quality]) -> Interval | None:
    """The interval of what one finds more than the other; None where nothing has compared them."""
    ours, theirs = qualities[one.version], qualities[other.version]
    if not ours.is_of_same_documents(theirs):
        return None
    if other.version in ours.paired:
        return ours.paired[other.version]
    if one.version in theirs.paired:
        low, high = theirs.paired[one.version]
        return -high, -low
    return None
