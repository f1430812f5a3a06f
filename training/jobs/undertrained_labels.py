"""Labels of the served version that a candidate has few training examples of."""

from collections import defaultdict
from collections.abc import Mapping

from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.manifest import Manifest

# A label is undertrained if the candidate saw less than this share of the entities that the served
# version saw. Retrained on the same project, a version sees the documents of its predecessor and
# more, so its counts grow; half leaves room for corrected and deleted annotations. A model from 24
# documents is far below it, against a model from a public corpus.
MIN_TRAINED_SHARE = 0.5


def read_trained_label_counts(manifest: Manifest) -> Mapping[str, int] | None:
    """Read the number of gold training entities of each label; None for versions without counts."""
    train = manifest.data.get("train")
    counts = train.get("labels") if isinstance(train, Mapping) else None
    return counts if isinstance(counts, Mapping) else None


def find_undertrained_labels(
    candidate: Manifest, served: Manifest, config: LabelConfig
) -> Mapping[str, int]:
    """Find the undertrained labels of a candidate.

    Labels of the served version that the project does not have are left out: the project loses
    nothing with them. `tagalong.backend.label_studio.affected_projects` protects other projects.

    Args:
        candidate: Manifest of the candidate, in the labels of the project.
        served: Manifest of the served version.
        config: The project's label config.

    Returns:
        The number of training entities of each such label, in the order of the served version.
        Empty for a candidate that started from the served version. If the counts of the served
        version are unknown, all labels that it shares with the project.
    """
    if candidate.data.get("start") == served.version:
        return {}
    names = map_labels(served.labels, config).project_labels
    trained = read_trained_label_counts(candidate) or {}
    served_counts = read_trained_label_counts(served)
    # With silver data or a warm start, a version has seen more than its own gold entities.
    if served_counts is None or served.data.get("silver") or served.data.get("start"):
        return {name: trained.get(name, 0) for name in names.values()}
    known = defaultdict[str, int](int)
    for label, name in names.items():
        known[name] += served_counts.get(label, 0)
    return {
        name: trained.get(name, 0)
        for name, count in known.items()
        if trained.get(name, 0) < MIN_TRAINED_SHARE * count
    }
