"""Whether a new version may take the place of the one that serves.

Both are judged on documents that no version of the project ever learns from (`keep_out`). The new
version is kept back where it is worse beyond noise, by a paired bootstrap over these documents
(`training.bootstrap`), overall or on entities of one length; that is four looks at 2.5 % each, so
chance alone keeps back one good version in ten at most.

On few documents that test cannot see even a large loss. Then the amount of training data decides: a
served version stays if the new one has hardly learnt some of its labels (`training.label_counts`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backend.retraining.run import Stratum
from ner.document import Document, Prediction
from ner.scoring import LENGTHS, Length
from training.evaluate import Options, evaluate
from training.report import Difference, Figures, Report
from training.retrain import SHARE

Policy = Literal["auto", "always", "never"]
SUPPORT = 20  # gold entities of a length, below which its F1 says too little
FEW = 20  # documents, below which only large differences can be told from noise
FEW_ENTITIES = 100  # gold entities, likewise
NOTHING: Mapping[str, int] = {}
NAMES: dict[Length, str] = {"1": "one word", "2": "two words", "3+": "three words and more"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version may serve.

    Attributes:
        promote: Whether it may.
        reason: Why, or why not, one sentence.
        strata: What both are worth: all entities first, then by length.
    """

    promote: bool
    reason: str
    strata: tuple[Stratum, ...] = ()


def decide(
    held_out: Sequence[Document],
    new: Sequence[Prediction],
    old: Sequence[Prediction] | None,
    *,
    labels: tuple[str, ...],
    hardly_learnt: Mapping[str, int] = NOTHING,
    share: float = SHARE,
    policy: Policy = "auto",
) -> Verdict:
    """Judge a new version.

    Args:
        held_out: With what is right.
        new: What the new version says of each, in the same order.
        old: What the version that serves says of each, in the labels of the project; None where
            none serves.
        labels: Of the project.
        hardly_learnt: Labels that the served version knows and the new one hardly does, with the
            entities that the new one was trained on. They keep it back below `FEW` documents or
            `FEW_ENTITIES` entities.
        share: Of the project's documents that is held out, to say how many more are needed.
        policy: What to do with the judgement; ``always`` and ``never`` make it for the report only.

    Returns:
        The verdict.
    """
    if not any(document.spans for document in held_out):
        found = _without_gold(len(held_out), old)
    else:
        report = evaluate(held_out, new, against=old, options=Options(labels=labels))
        found = _judged(report, hardly_learnt, share)
    if policy == "always":
        return Verdict(
            True, f"as was asked for, whatever the judgement: {found.reason}", found.strata
        )
    if policy == "never":
        return Verdict(
            False, f"as was asked for, whatever the judgement: {found.reason}", found.strata
        )
    return found


def _without_gold(documents: int, old: Sequence[Prediction] | None) -> Verdict:
    """Where there is nothing to judge by."""
    there = (
        f"{documents} documents are held out and not one has an entity"
        if documents
        else ("not one document is held out")
    )
    if old is None:
        return Verdict(True, f"{there}, so nothing is known of it, but no other version serves")
    return Verdict(
        False,
        f"{there}, so it cannot be judged: annotate more, or promote it yourself with `tagalong "
        "models promote`",
    )


def _judged(report: Report, hardly_learnt: Mapping[str, int], share: float) -> Verdict:
    """Where there are figures."""
    strata = tuple(_strata(report))
    total = strata[0]
    if not total.new:
        return Verdict(False, "it finds nothing right on the held-out documents", strata)
    if total.old is None:
        return Verdict(True, "no other version serves", strata)
    worse = [stratum for stratum in strata if _is_worse(stratum)]
    if worse:
        named = " and ".join(map(_told, worse))
        return Verdict(False, f"it is worse beyond noise {named}", strata)
    if hardly_learnt and (report.documents < FEW or total.support < FEW_ENTITIES):
        return Verdict(
            False, _too_few(report.documents, total.support, hardly_learnt, share), strata
        )
    difference = total.new - total.old
    held_out = f"{report.documents} held-out documents"
    how = f"strict F1 {total.new:.3f} against {total.old:.3f} on {held_out}"
    if total.low is not None and total.low > 0:
        return Verdict(True, f"it is better: {how}", strata)
    few = (
        ", which are so few that only a large difference would show"
        if report.documents < FEW
        else ""
    )
    word = "no worse" if difference >= 0 else "not worse beyond noise"
    return Verdict(True, f"it is {word}: {how}{few}", strata)


def _too_few(documents: int, entities: int, hardly_learnt: Mapping[str, int], share: float) -> str:
    counts = ", ".join(f"{label} {count}" for label, count in hardly_learnt.items())
    # At the density of the held-out documents, which have entities: `_judged` saw one found.
    more = max(FEW - documents, math.ceil((FEW_ENTITIES - entities) * documents / entities))
    there = f"{_counted(documents, 'document')} with {_counted(entities, 'entity', 'entities')}"
    return (
        f"it was trained on few entities of labels that the served version knows ({counts}). "
        f"The held-out set is too small to judge the loss: it has {there}, and needs {FEW} with "
        f"{FEW_ENTITIES}. Annotate about {math.ceil(more / share)} more documents, about {more} of "
        f"them held out at the share of {share:g}, or promote it yourself with `tagalong models "
        "promote`"
    )


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _strata(report: Report) -> Iterator[Stratum]:
    """All entities, then those of each length."""
    against = report.against
    yield _stratum("all", report.overall, against.overall.strict if against else None)
    for length in LENGTHS:
        other = against.by_length[length].strict if against else None
        yield _stratum(length, report.by_length[length], other)


def _stratum(name: str, figures: Figures, other: Difference | None) -> Stratum:
    """Both versions on some of the entities."""
    counts = figures.strict.counts
    if other is None:
        return Stratum(name, counts.gold, counts.f1)
    low, high = other.interval
    return Stratum(name, counts.gold, counts.f1, other.f1, low, high)


def _is_worse(stratum: Stratum) -> bool:
    """Whether chance does not explain that the new version is worse."""
    enough = stratum.name == "all" or stratum.support >= SUPPORT
    return enough and stratum.high is not None and stratum.high < 0


def _told(stratum: Stratum) -> str:
    """Where it is worse, and by how much."""
    where = "overall" if stratum.name == "all" else f"on entities of {NAMES[stratum.name]}"  # type: ignore[index]
    return (
        f"{where} ({stratum.new:.3f} against {stratum.old or 0:.3f}, 95 % interval of the "
        f"difference {stratum.low or 0:.3f} to {stratum.high or 0:.3f})"
    )
