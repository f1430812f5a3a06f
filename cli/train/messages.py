"""What ``tagalong train`` says before it begins and once it is done."""

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape

from tagalong.cli.terminal.tables import format_score
from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.manifest import Manifest
from tagalong.training.corpus import Corpus
from tagalong.training.data.train_dev_split import TrainDevSplit


def describe_split(split: TrainDevSplit, corpus: Corpus, dev: Corpus | None = None) -> str:
    """Say what there is to learn from and to stop by, and what reading it could not keep.

    Args:
        split: Of the training.
        corpus: What was read to learn from.
        dev: What was read to stop by; None where it was held out of the other.

    Returns:
        Lines in Rich's markup.
    """
    counts = [sum(len(document.spans) for document in side) for side in (split.train, split.dev)]
    lines = [
        f"Learning {', '.join(split.labels)} from {len(split.train)} documents "
        f"({counts[0]} entities), stopping by {len(split.dev)} ({counts[1]} entities)."
    ]
    if split.overlapping_documents:
        lines.append(
            f"{split.overlapping_documents} documents are left out: dev has the same texts."
        )
    if split.dev_only_labels:
        named = ", ".join(f"{label} ({count})" for label, count in split.dev_only_labels.items())
        lines.append(
            f"Dev has entities that cannot be learnt, for train has none of them: {named}."
        )
    for name, one in (("", corpus), ("dev ", dev)):
        if one is not None and (one.dropped or one.warnings):
            lines.append(
                f"Reading {name}lost {len(one.dropped)} annotations and gave "
                f"{sum(warning.count for warning in one.warnings)} warnings: "
                "'tagalong data check' shows them."
            )
    return "\n".join(escape(line) for line in lines)


def describe_version(
    manifest: Manifest, lost: Sequence[DroppedAnnotation], *, promoted: bool
) -> str:
    """Say what a training has made: the version, its scores on dev, and what to do with it.

    Args:
        manifest: Of the new version.
        lost: What could not be learnt from.
        promoted: Whether it is the current version now.

    Returns:
        Lines in Rich's markup.
    """
    dev = manifest.scores["dev"]
    support = dev.get("support", {})
    lengths = ", ".join(
        f"{length} {format_score(f1)}"
        + (f" ({support[length]} in gold)" if length in support else "")
        for length, f1 in dev["by_length"].items()
    )
    lines = [
        f"Published [bold]{escape(manifest.version)}[/]"
        + (", which is current now." if promoted else "; it is not current: promote it to use it."),
        f"On dev: strict F1 {format_score(dev['strict_f1'])}, relaxed F1 {format_score(dev['relaxed_f1'])}; "
        f"strict F1 by words: {lengths}.",
    ]
    if lost:
        reasons = Counter(entry.reason for entry in lost)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"Not learnt from, because flat BIO cannot hold them: {told}.")
    lines.append(f"Try it: tagalong predict --model {escape(manifest.version)} 'some text'")
    return "\n".join(lines)
