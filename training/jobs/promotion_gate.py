"""The promotion gate: whether a candidate may replace the current version.

Both are scored on held-out documents, which no version of the project trains on. The candidate is
rejected if it is worse beyond noise, by a paired bootstrap over these documents
(`tagalong.training.evaluation.bootstrap`). There are four tests, overall and for each of three
lengths. Each wrongly rejects 2.5 % of equal candidates, so together at most 10 %.

On few documents that test cannot detect even a large loss. Then the amount of training data
decides: the current version stays if the candidate had few examples of some of its labels
(`find_undertrained_labels`).
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.retraining.job import JobResult, PromotionPolicy, StratumComparison
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import Document, Prediction
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LENGTH_NAMES
from tagalong.ner.manifest import Manifest
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport, F1Difference, StratumScores
from tagalong.training.jobs.job_requests import DEFAULT_HELD_OUT_SHARE

MIN_GOLD_ENTITIES_PER_STRATUM = 20  # with fewer gold entities of a length, its F1 is too noisy
FEW_HELD_OUT_DOCUMENTS = 20  # with fewer documents, the bootstrap detects only large differences
FEW_HELD_OUT_ENTITIES = 100  # the same in gold entities
# A label is undertrained if the candidate saw less than this share of the entities that the current
# version saw. Retrained on the same project, a version sees the documents of its predecessor and
# more, so its counts grow. Half leaves room for corrected and deleted annotations. A model from 24
# documents is far below it, against a model from a public corpus.
MIN_TRAINED_SHARE = 0.5
NO_LABEL_COUNTS: Mapping[str, int] = {}


def decide_promotion(
    held_out: Sequence[Document],
    new: Sequence[Prediction],
    current: Sequence[Prediction] | None,
    *,
    labels: tuple[str, ...],
    undertrained_labels: Mapping[str, int] = NO_LABEL_COUNTS,
    held_out_share: float = DEFAULT_HELD_OUT_SHARE,
) -> JobResult:
    """Decide whether a candidate may be promoted, before the promotion policy.

    Args:
        held_out: Documents with gold spans.
        new: Predictions of the candidate, in the same order.
        current: Predictions of the current version, in the labels of the project; None without one.
        labels: Labels of the project.
        undertrained_labels: From `find_undertrained_labels`. These labels reject the candidate
            below `FEW_HELD_OUT_DOCUMENTS` documents or `FEW_HELD_OUT_ENTITIES` entities.
        held_out_share: Held-out share of the project's documents, to estimate how many are missing.
    """
    if not any(document.spans for document in held_out):
        promote, reason = _decide_without_gold(len(held_out), current)
        return JobResult(reason, should_promote=promote)
    report = evaluate(held_out, new, against=current, options=EvaluationOptions(labels=labels))
    strata = tuple(_build_strata(report))
    promote, reason = _decide_by_scores(
        strata, report.documents, undertrained_labels, held_out_share
    )
    return JobResult(reason, should_promote=promote, strata=strata)


def find_undertrained_labels(
    candidate: Manifest, current: Manifest, config: LabelConfig
) -> Mapping[str, int]:
    """Find the labels of the current version that a candidate has few training examples of.

    Labels of the current version that the project does not have are left out: the project loses
    nothing with them.

    Returns the candidate's training entities of each such label, in the order of the current
    version. All labels shared with the project count if the current version learnt from more than
    its gold entities, or their counts are unknown.
    """
    if candidate.data.get("start") == current.version:  # its weights know these labels
        return {}
    names = map_labels(current.labels, config).project_labels
    trained = _read_label_counts(candidate) or {}
    current_counts = _read_label_counts(current)
    # With silver data or a warm start, a version has seen more than its own gold entities.
    if current_counts is None or current.data.get("silver") or current.data.get("start"):
        return {name: trained.get(name, 0) for name in names.values()}
    known = defaultdict[str, int](int)
    for label, name in names.items():
        known[name] += current_counts.get(label, 0)
    return {
        name: trained.get(name, 0)
        for name, count in known.items()
        if trained.get(name, 0) < MIN_TRAINED_SHARE * count
    }


def _read_label_counts(manifest: Manifest) -> Mapping[str, int] | None:
    """Read the number of gold training entities of each label; None for versions without counts."""
    train = manifest.data.get("train")
    counts = train.get("labels") if isinstance(train, Mapping) else None
    return counts if isinstance(counts, Mapping) else None


def apply_policy(decision: JobResult, policy: PromotionPolicy) -> JobResult:
    """Override a decision by the policies ``always`` and ``never``; its reason and scores stay."""
    if policy == "auto":
        return decision
    reason = f"the promotion policy is {policy!r}; by the gate {decision.reason}"
    return replace(decision, should_promote=policy == "always", reason=reason)


def should_promote_by_dev(
    policy: PromotionPolicy, dev_f1: float | None, f1_gain: float | None
) -> bool:
    """Decide a promotion by ``tagalong train``, which has no held-out documents.

    `dev_f1` is None without gold and predictions, `f1_gain` without a baseline.
    """
    if policy != "auto":
        return policy == "always"
    # A version that finds nothing would replace one that does.
    return bool(dev_f1) and (f1_gain or 0) >= 0


def _decide_without_gold(documents: int, current: Sequence[Prediction] | None) -> tuple[bool, str]:
    data = (
        f"none of the {documents} held-out documents has an entity"
        if documents
        else "there are no held-out documents"
    )
    if current is None:
        return True, f"{data}, so its quality is unknown, but there is no current version"
    return False, (
        f"{data}, so it cannot be compared: annotate more, or promote it with `tagalong models "
        "promote`"
    )


def _decide_by_scores(
    strata: Sequence[StratumComparison],
    documents: int,
    undertrained_labels: Mapping[str, int],
    share: float,
) -> tuple[bool, str]:
    total = strata[0]
    if not total.new:
        return False, "it has no correct entity on the held-out documents"
    if total.current is None:
        return True, "there is no current version"
    if worse := [stratum for stratum in strata if _is_worse(stratum)]:
        return False, f"it is worse beyond noise {' and '.join(map(_describe_stratum, worse))}"
    is_small = documents < FEW_HELD_OUT_DOCUMENTS
    if undertrained_labels and (is_small or total.support < FEW_HELD_OUT_ENTITIES):
        return False, _describe_too_few(documents, total.support, undertrained_labels, share)
    scores = (
        f"strict F1 {total.new:.3f} against {total.current:.3f} on "
        f"{pluralize(documents, 'held-out document')}"
    )
    if total.low is not None and total.low > 0:  # the whole interval is above 0
        return True, f"it is better: {scores}"
    word = "no worse" if total.new >= total.current else "not worse beyond noise"
    caveat = ", too few to show small differences" if is_small else ""
    return True, f"it is {word}: {scores}{caveat}"


def _describe_too_few(
    documents: int, entities: int, undertrained_labels: Mapping[str, int], share: float
) -> str:
    counts = ", ".join(f"{label} {count}" for label, count in undertrained_labels.items())
    # Assumes the same number of entities in each document; `_decide_by_scores` has seen one entity.
    missing = max(
        FEW_HELD_OUT_DOCUMENTS - documents,
        math.ceil((FEW_HELD_OUT_ENTITIES - entities) * documents / entities),
    )
    there = (
        f"{pluralize(documents, 'document')} with "
        f"{entities} {'entity' if entities == 1 else 'entities'}"
    )
    return (
        f"it was trained on few entities of labels that the current version knows ({counts}). The "
        f"held-out set is too small to measure the loss: it has {there}, and needs "
        f"{FEW_HELD_OUT_DOCUMENTS} with {FEW_HELD_OUT_ENTITIES}. Annotate about "
        f"{pluralize(math.ceil(missing / share), 'more document')}, about {missing} of them "
        "held out at the "
        f"share of {share:g}, or promote it with `tagalong models promote`"
    )


def _build_strata(report: EvaluationReport) -> Iterator[StratumComparison]:
    """Compare all entities, then those of each length."""
    against = report.comparison
    yield _build_stratum("all", report.overall, against.overall.strict if against else None)
    for length in LENGTH_BUCKETS:
        other = against.by_length[length].strict if against else None
        yield _build_stratum(length, report.by_length[length], other)


def _build_stratum(
    name: str, scores: StratumScores, difference: F1Difference | None
) -> StratumComparison:
    counts = scores.strict.counts
    if difference is None:
        return StratumComparison(name, counts.gold, counts.f1)
    low, high = difference.interval
    return StratumComparison(name, counts.gold, counts.f1, difference.other_f1, low, high)


def _is_worse(stratum: StratumComparison) -> bool:
    enough = stratum.name == "all" or stratum.support >= MIN_GOLD_ENTITIES_PER_STRATUM
    return enough and stratum.high is not None and stratum.high < 0


def _describe_stratum(stratum: StratumComparison) -> str:
    where = "overall" if stratum.name == "all" else f"on entities of {LENGTH_NAMES[stratum.name]}"
    return (
        f"{where} ({stratum.new:.3f} against {stratum.current or 0:.3f}, 95 % interval of the "
        f"difference {stratum.low or 0:.3f} to {stratum.high or 0:.3f})"
    )
