"""Whether a new version may take the place of the one that serves.

Both are judged on documents that no version of the project ever learns from (`keep_out`). The new
version is kept back where it is worse beyond noise, by a paired bootstrap over these documents
(`tagalong.training.evaluation.bootstrap`), overall or on entities of one length; that is four looks at 2.5 % each, so
chance alone keeps back one good version in ten at most.

On few documents that test cannot see even a large loss. Then the amount of training data decides: a
served version stays if the new one has hardly learnt some of its labels (`tagalong.training.jobs.undertrained_labels`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tagalong.backend.retraining.job import PromotionPolicy, StratumComparison
from tagalong.ner.document import Document, Prediction
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport, F1Difference, StratumScores
from tagalong.training.jobs.project_data import DEFAULT_HELD_OUT_SHARE

MIN_GOLD_ENTITIES_PER_STRATUM = 20  # gold entities of a length, below which its F1 says too little
FEW_HELD_OUT_DOCUMENTS = 20  # documents, below which only large differences can be told from noise
FEW_HELD_OUT_ENTITIES = 100  # gold entities, likewise
NO_LABEL_COUNTS: Mapping[str, int] = {}
LENGTH_PHRASES: dict[LengthBucket, str] = {
    "1": "one word",
    "2": "two words",
    "3+": "three words and more",
}


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a version may serve.

    Attributes:
        promote: Whether it may.
        reason: Why, or why not, one sentence.
        strata: What both are worth: all entities first, then by length.
    """

    promote: bool
    reason: str
    strata: tuple[StratumComparison, ...] = ()


def decide_promotion(
    held_out: Sequence[Document],
    new: Sequence[Prediction],
    old: Sequence[Prediction] | None,
    *,
    labels: tuple[str, ...],
    undertrained_labels: Mapping[str, int] = NO_LABEL_COUNTS,
    held_out_share: float = DEFAULT_HELD_OUT_SHARE,
    policy: PromotionPolicy = "auto",
) -> GateDecision:
    """Judge a new version.

    Args:
        held_out: With what is right.
        new: What the new version says of each, in the same order.
        old: What the version that serves says of each, in the labels of the project; None where
            none serves.
        labels: Of the project.
        undertrained_labels: Labels that the served version knows and the new one hardly does, with the
            entities that the new one was trained on. They keep it back below `FEW_HELD_OUT_DOCUMENTS` documents or
            `FEW_HELD_OUT_ENTITIES` entities.
        held_out_share: Of the project's documents that is held out, to say how many more are needed.
        policy: What to do with the judgement; ``always`` and ``never`` make it for the report only.

    Returns:
        The verdict.
    """
    if not any(document.spans for document in held_out):
        found = _decide_without_gold(len(held_out), old)
    else:
        report = evaluate(held_out, new, against=old, options=EvaluationOptions(labels=labels))
        found = _decide_by_scores(report, undertrained_labels, held_out_share)
    if policy == "always":
        return GateDecision(
            True, f"as was asked for, whatever the judgement: {found.reason}", found.strata
        )
    if policy == "never":
        return GateDecision(
            False, f"as was asked for, whatever the judgement: {found.reason}", found.strata
        )
    return found


def _decide_without_gold(documents: int, old: Sequence[Prediction] | None) -> GateDecision:
    """Where there is nothing to judge by."""
    there = (
        f"{documents} documents are held out and not one has an entity"
        if documents
        else ("not one document is held out")
    )
    if old is None:
        return GateDecision(
            True, f"{there}, so nothing is known of it, but no other version serves"
        )
    return GateDecision(
        False,
        f"{there}, so it cannot be judged: annotate more, or promote it yourself with `tagalong "
        "models promote`",
    )


def _decide_by_scores(
    report: EvaluationReport, hardly_learnt: Mapping[str, int], share: float
) -> GateDecision:
    """Where there are figures."""
    strata = tuple(_strata(report))
    total = strata[0]
    if not total.new:
        return GateDecision(False, "it finds nothing right on the held-out documents", strata)
    if total.old is None:
        return GateDecision(True, "no other version serves", strata)
    worse = [stratum for stratum in strata if _is_worse(stratum)]
    if worse:
        named = " and ".join(map(_describe_stratum, worse))
        return GateDecision(False, f"it is worse beyond noise {named}", strata)
    if hardly_learnt and (
        report.documents < FEW_HELD_OUT_DOCUMENTS or total.support < FEW_HELD_OUT_ENTITIES
    ):
        return GateDecision(
            False,
            _too_few_documents_reason(report.documents, total.support, hardly_learnt, share),
            strata,
        )
    difference = total.new - total.old
    held_out = f"{report.documents} held-out documents"
    how = f"strict F1 {total.new:.3f} against {total.old:.3f} on {held_out}"
    if total.low is not None and total.low > 0:
        return GateDecision(True, f"it is better: {how}", strata)
    few = (
        ", which are so few that only a large difference would show"
        if report.documents < FEW_HELD_OUT_DOCUMENTS
        else ""
    )
    word = "no worse" if difference >= 0 else "not worse beyond noise"
    return GateDecision(True, f"it is {word}: {how}{few}", strata)


def _too_few_documents_reason(
    documents: int, entities: int, hardly_learnt: Mapping[str, int], share: float
) -> str:
    counts = ", ".join(f"{label} {count}" for label, count in hardly_learnt.items())
    # At the density of the held-out documents, which have entities: `_decide_by_scores` saw one found.
    more = max(
        FEW_HELD_OUT_DOCUMENTS - documents,
        math.ceil((FEW_HELD_OUT_ENTITIES - entities) * documents / entities),
    )
    there = f"{_format_count(documents, 'document')} with {_format_count(entities, 'entity', 'entities')}"
    return (
        f"it was trained on few entities of labels that the served version knows ({counts}). "
        f"The held-out set is too small to judge the loss: it has {there}, and needs {FEW_HELD_OUT_DOCUMENTS} with "
        f"{FEW_HELD_OUT_ENTITIES}. Annotate about {math.ceil(more / share)} more documents, about {more} of "
        f"them held out at the share of {share:g}, or promote it yourself with `tagalong models "
        "promote`"
    )


def _format_count(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _strata(report: EvaluationReport) -> Iterator[StratumComparison]:
    """All entities, then those of each length."""
    against = report.comparison
    yield _stratum("all", report.overall, against.overall.strict if against else None)
    for length in LENGTH_BUCKETS:
        other = against.by_length[length].strict if against else None
        yield _stratum(length, report.by_length[length], other)


def _stratum(name: str, figures: StratumScores, other: F1Difference | None) -> StratumComparison:
    """Both versions on some of the entities."""
    counts = figures.strict.counts
    if other is None:
        return StratumComparison(name, counts.gold, counts.f1)
    low, high = other.interval
    return StratumComparison(name, counts.gold, counts.f1, other.other_f1, low, high)


def _is_worse(stratum: StratumComparison) -> bool:
    """Whether chance does not explain that the new version is worse."""
    enough = stratum.name == "all" or stratum.support >= MIN_GOLD_ENTITIES_PER_STRATUM
    return enough and stratum.high is not None and stratum.high < 0


def _describe_stratum(stratum: StratumComparison) -> str:
    """Where it is worse, and by how much."""
    where = "overall" if stratum.name == "all" else f"on entities of {LENGTH_PHRASES[stratum.name]}"  # type: ignore[index]
    return (
        f"{where} ({stratum.new:.3f} against {stratum.old or 0:.3f}, 95 % interval of the "
        f"difference {stratum.low or 0:.3f} to {stratum.high or 0:.3f})"
    )
