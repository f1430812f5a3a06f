"""Known scores of model versions, from manifests or evaluation reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tagalong.ner.length_buckets import LENGTH_BUCKETS, LengthBucket
from tagalong.ner.manifest import Manifest
from tagalong.training.evaluation.report import Interval

SCORED_SPLITS = ("test", "held out", "dev")  # in order of preference
MIN_GOLD_ENTITIES = 30  # with fewer gold entities, F1 is too uncertain for advice


@dataclass(frozen=True, slots=True)
class VersionScores:
    """Strict F1 of a version."""

    source: str  # split, or gold standard of an evaluation
    documents: int
    f1: float
    by_length: Mapping[LengthBucket, float]
    support: Mapping[LengthBucket, int]  # gold entities by length
    # By version: 95 % interval of this F1 minus the other's, from evaluations that compare both.
    paired_intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def gold_entities(self) -> int:
        """Total number of gold entities."""
        return sum(self.support.values())

    def has_same_gold(self, other: "VersionScores") -> bool:
        """Check that both versions have the same gold, judging by its counts."""
        return (self.documents, dict(self.support)) == (other.documents, dict(other.support))


def scores_from_manifest(manifest: Manifest) -> VersionScores | None:
    """Read the scores of a version's first known split; None without scores."""
    for split in SCORED_SPLITS:
        scores = manifest.scores.get(split)
        if isinstance(scores, Mapping) and isinstance(scores.get("strict_f1"), float):
            by_length, support = scores.get("by_length", {}), scores.get("support", {})
            return VersionScores(
                split,
                int(scores.get("documents", 0)),
                scores["strict_f1"],
                {length: by_length.get(length) or 0.0 for length in LENGTH_BUCKETS},  # may be null
                {length: support.get(length, 0) for length in LENGTH_BUCKETS},
            )
    return None


def scores_from_report(report_json: Mapping[str, Any]) -> dict[str, VersionScores]:
    """Read the scores of a ``report.json``: those of the first system, and of the second if any.

    Raises:
        KeyError: If it is no such JSON.
        TypeError: If it is no such JSON.
    """

    def build_scores(system: Mapping[str, Any], paired: Mapping[str, Interval]) -> VersionScores:
        strict = {length: system["by_length"][length]["strict"] for length in LENGTH_BUCKETS}
        # only the first system's strata have their gold counts
        gold = {length: report_json["by_length"][length]["strict"] for length in LENGTH_BUCKETS}
        return VersionScores(
            str(report_json["gold"]),
            int(report_json["documents"]),
            float(system["strict"]["f1"]),
            {length: float(scores["f1"]) for length, scores in strict.items()},
            {length: int(scores["gold"]) for length, scores in gold.items()},
            paired,
        )

    version, other_json = str(report_json["model"]), report_json["against"]
    if not other_json:
        return {version: build_scores(report_json, {})}
    other_version = str(other_json["model"])
    low, high = map(float, other_json["strict"]["interval"])
    return {
        version: build_scores(report_json, {other_version: (low, high)}),
        other_version: build_scores(other_json, {version: (-high, -low)}),
    }
