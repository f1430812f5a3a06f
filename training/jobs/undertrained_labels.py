"""How much of each label a candidate has learnt, compared with the served version."""

from collections import defaultdict
from collections.abc import Mapping

from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.manifest import Manifest

# A candidate has hardly learnt a label if it saw less than this share of the entities that the
# served version saw. Retrained on the same project, a version sees the documents of the one before
# it and more, so its counts grow; half leaves room for corrected and deleted annotations. A model
# from a public corpus against one from 24 documents is far below it.
MIN_TRAINED_SHARE = 0.5


def read_trained_label_counts(manifest: Manifest) -> Mapping[str, int] | None:
    """Read how many gold entities of each label a version was trained on.

    Args:
        manifest: The version's manifest.

    Returns:
        Counts by label; None for a version that is older than these counts.
    """
    train = manifest.data.get("train")
    counts = train.get("labels") if isinstance(train, Mapping) else None
    return counts if isinstance(counts, Mapping) else None


def find_undertrained_labels(
    candidate: Manifest, served: Manifest, config: LabelConfig
) -> Mapping[str, int]:
    """Find the labels of a project that the served version knows and a candidate hardly does.

    Labels of the served version that the project does not have are left out: the project loses
    nothing with them, and `tagalong.backend.label_studio.affected_projects` protects other projects.

    Args:
        candidate: Manifest of the candidate, in the labels of the project.
        served: Manifest of the served version.
        config: The project's labelling config.

    Returns:
        How many entities of each such label the candidate was trained on, in the served version's
        order. Empty for a candidate that started at the served version: it has learnt the same. If
        the served version's counts are unknown, all labels that it shares with the project.
    """
    if candidate.data.get("start") == served.version:
        return {}
    names = map_labels(served.labels, config).project_labels
    learnt = read_trained_label_counts(candidate) or {}
    counts = read_trained_label_counts(served)
    # Silver data and the version it started at taught it more than its own gold entities.
    if counts is None or served.data.get("silver") or served.data.get("start"):
        return {name: learnt.get(name, 0) for name in names.values()}
    known = defaultdict[str, int](int)
    for label, name in names.items():
        known[name] += counts.get(label, 0)
    return {
        name: learnt.get(name, 0)
        for name, count in known.items()
        if learnt.get(name, 0) < MIN_TRAINED_SHARE * count
    }
