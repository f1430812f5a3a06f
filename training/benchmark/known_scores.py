"""What versions are known to find: by their manifests, or by an evaluation of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tagalong.ner.manifest import Manifest
from tagalong.ner.scoring import LENGTH_BUCKETS, LengthBucket
from tagalong.training.evaluation.report import Interval

SCORED_SPLITS = ("test", "held out", "dev")  # whose scores count, the first there is
MIN_GOLD_ENTITIES = 30  # entities, of a length or in all, below which their F1 is not argued with


@dataclass(frozen=True, slots=True)
class VersionScores:
    """What a version finds.

    Attributes:
        source: Where that was judged: ``test``, ``dev``, or an evaluation's gold.
        documents: How many.
        f1: Strict.
        by_length: Strict F1 by length in words.
        support: Gold entities of each length.
        paired_intervals: By the names of others, the 95 % interval of this one's strict F1 less theirs, where
            an evaluation has compared the two.
    """

    source: str
    documents: int
    f1: float
    by_length: Mapping[LengthBucket, float]
    support: Mapping[LengthBucket, int]
    paired_intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def gold_entities(self) -> int:
        """Gold entities in all."""
        return sum(self.support.values())

    def has_same_gold(self, other: "VersionScores") -> bool:
        """Whether two versions were judged by the same gold, as far as can be told."""
        return (self.documents, dict(self.support)) == (other.documents, dict(other.support))


def scores_from_manifest(manifest: Manifest) -> VersionScores | None:
    """Read what a manifest says a version finds.

    Args:
        manifest: Of the version.

    Returns:
        The scores on test, else on dev; None where it has neither.
    """
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


def scores_from_report(figures: Mapping[str, Any]) -> dict[str, VersionScores]:
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
    support = {
        length: int(figures["by_length"][length]["strict"]["gold"]) for length in LENGTH_BUCKETS
    }

    def quality(judged: Mapping[str, Any], paired: Mapping[str, Interval]) -> VersionScores:
        return VersionScores(
            str(figures["gold"]),
            int(figures["documents"]),
            float(judged["strict"]["f1"]),
            {
                length: float(judged["by_length"][length]["strict"]["f1"])
                for length in LENGTH_BUCKETS
            },
            support,
            paired,
        )

    ours, against = str(figures["model"]), figures["against"]
    if not against:
        return {ours: quality(figures, {})}
    theirs = str(against["model"])
    low, high = map(float, against["strict"]["interval"])
    return {
        ours: quality(figures, {theirs: (low, high)}),
        theirs: quality(against, {ours: (-high, -low)}),
    }
