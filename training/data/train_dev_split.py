"""The two sides of a training: what is learnt from, and what it is stopped and judged by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagalong.ner.document import Document
from tagalong.ner.errors import LabelError
from tagalong.training.corpus import (
    Corpus,
    compute_fingerprint,
    find_shared_texts,
    split_off_dev,
)
from tagalong.training.data.silver import SilverData

MAX_LISTED_LABELS = 5  # labels in a message: a wrong config may leave hundreds unknown


@dataclass(frozen=True, slots=True)
class TrainDevSplit:
    """Documents to learn from and documents to judge by; no text is on both.

    Attributes:
        train: Documents learnt from.
        dev: Documents judged by.
        labels: Entity types, in the order of the label config.
        sources: Names of the files they came from.
        overlapping_documents: Documents left out of train because dev has the same text.
        dev_only_labels: How many entities dev has of each label that train has none of, the most frequent
            first. Those outside `labels` are not even there to be missed while training judges
            itself, so whoever trains must be told.
        silver: What is learnt from beside train; None where there is gold alone.
        start: The version that training begins at; empty for its base.
    """

    train: Sequence[Document]
    dev: Sequence[Document]
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    overlapping_documents: int = 0
    dev_only_labels: Mapping[str, int] = field(default_factory=dict)
    silver: SilverData | None = None
    start: str = ""

    @property
    def fingerprint(self) -> str:
        """Names train and dev by content: another split of the same documents is other data."""
        return f"{compute_fingerprint(self.train)[:16]}-{compute_fingerprint(self.dev)[:16]}"

    def to_json(self) -> Mapping[str, Any]:
        """What a manifest says of the data."""
        return {
            "fingerprint": self.fingerprint,
            "sources": list(self.sources),
            "train": {
                **_count_documents_and_entities(self.train),
                "labels": _count_labels(self.train),
            },
            "dev": _count_documents_and_entities(self.dev),
            # Left out where there is none, as in every version published before.
            **({"silver": self.silver.to_json()} if self.silver else {}),
            **({"start": self.start} if self.start else {}),
        }


def split_train_dev(
    corpus: Corpus, dev: Corpus | None = None, *, dev_share: float = 0.1
) -> TrainDevSplit:
    """Hold out documents for dev, or take those that were given for it.

    Args:
        corpus: To learn from.
        dev: To judge by; None to hold out a share of `corpus` by the hash of each text.
        dev_share: That share.

    Returns:
        The sides. A text that `dev` has is never learnt from.

    Raises:
        LabelError: If the labels of all annotations are unknown to the label config.
    """
    for one in (corpus, dev):
        if one is not None:
            _check_labels_in_config(one)
    sources = [*corpus.sources, *(dev.sources if dev else ())]
    dropped: set[str] = set()
    if dev is None:
        train, held_out = split_off_dev(corpus.documents, dev_share)
    else:
        dropped = {ours.id for _, ours in find_shared_texts(dev.documents, corpus.documents)}
        train = [document for document in corpus.documents if document.id not in dropped]
        held_out = list(dev.documents)
    return TrainDevSplit(
        train=train,
        dev=held_out,
        labels=corpus.labels,
        sources=tuple(Path(source.path).name for source in sources),
        overlapping_documents=len(dropped),
        dev_only_labels=_find_dev_only_labels(train, held_out),
    )


def _check_labels_in_config(corpus: Corpus) -> None:
    """Refuse a corpus that was annotated, but with no label of the config."""
    unknown = Counter(lost.label for lost in corpus.dropped if lost.reason == "label unknown")
    if not unknown or any(document.spans for document in corpus.documents):
        return
    named = ", ".join(
        f"{label!r} ({count})" for label, count in unknown.most_common(MAX_LISTED_LABELS)
    )
    more = (
        f" and {len(unknown) - MAX_LISTED_LABELS} more" if len(unknown) > MAX_LISTED_LABELS else ""
    )
    names = ", ".join(Path(source.path).name for source in corpus.sources)
    known = ", ".join(corpus.labels)
    raise LabelError(
        f"no annotation in {names} has a label of the labelling config ({known}), but all have "
        f"{named}{more}: give the config of this very project, or none to learn every label"
    )


def _find_dev_only_labels(train: Sequence[Document], dev: Sequence[Document]) -> Mapping[str, int]:
    """Entities of dev by label, where train has none."""
    learnt = {span.label for document in train for span in document.spans}
    judged = Counter(span.label for document in dev for span in set(document.spans))
    return {label: count for label, count in judged.most_common() if label not in learnt}


def _count_labels(documents: Sequence[Document]) -> Mapping[str, int]:
    return dict(Counter(span.label for document in documents for span in document.spans))


def _count_documents_and_entities(documents: Sequence[Document]) -> Mapping[str, int]:
    """How much there is."""
    return {
        "documents": len(documents),
        "entities": sum(len(document.spans) for document in documents),
    }
