"""Known scores of model versions, from manifests or evaluation reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tagalong.ner.manifest import Manifest
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.training.evaluation.report import Interval

SCORED_SPLITS = ("test", "held out", "dev")  # in order of preference
MIN_GOLD_ENTITIES = 30  # with fewer gold entities, F1 is too uncertain for advice


@dataclass(frozen=True, slots=True)
class VersionScores:
    """Scores of a version.

    Attributes:
        source: Split, or gold standard of an evaluation.
        f1: Strict F1.
        by_length: Strict F1 by length in words.
        support: Gold entities by length.
        paired_intervals: By version, the 95 % interval of this strict F1 minus the other's, from
            evaluations that compare both.
    """

    source: str
    documents: int
    f1: float
    by_length: Mapping[LengthBucket, float]
    support: Mapping[LengthBucket, int]
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
            return VersionScores(
                split,
                int(scores.get("documents", 0)),
                scores["strict_f1"],
                {
                    length: scores.get("by_length", {}).get(length) or 0.0
                    for length in LENGTH_BUCKETS
                },
                {length: scores.get("support", {}).get(length, 0) for length in LENGTH_BUCKETS},
            )
    return None


def scores_from_report(report_json: Mapping[str, Any]) -> dict[str, VersionScores]:
    """Read the scores of an evaluation.

    Args:
        report_json: JSON of its ``report.json``.

    Returns:
        Scores by version: the evaluated one, and the second system if any.

    Raises:
        KeyError: If it is no such JSON.
        TypeError: If it is no such JSON.
    """
    support = {
        length: int(report_json["by_length"][length]["strict"]["gold"]) for length in LENGTH_BUCKETS
    }

    def build_scores(
        system_json: Mapping[str, Any], paired: Mapping[str, Interval]
    ) -> VersionScores:
        return VersionScores(
            str(report_json["gold"]),
            int(report_json["documents"]),
            float(system_json["strict"]["f1"]),
            {
                length: float(system_json["by_length"][length]["strict"]["f1"])
                for length in LENGTH_BUCKETS
            },
            support,
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
