"""The documents of a training, split into train and dev."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagalong.ner.document import Document
from tagalong.ner.errors import LabelError
from tagalong.ner.tags import TagSet
from tagalong.ner.words import DEFAULT_WORD_RULE, WordRule
from tagalong.training.corpus import (
    Corpus,
    FlatLosses,
    WordRuleChoice,
    choose_word_rule,
    compute_fingerprint,
    count_flat_losses,
    find_shared_texts,
    split_off_dev,
)
from tagalong.training.data.silver import SilverData, format_label_counts


@dataclass(frozen=True, slots=True)
class TrainDevSplit:
    """Training and dev documents; no text is in both."""

    train: Sequence[Document]
    dev: Sequence[Document]  # for early stopping, calibration and scores
    labels: tuple[str, ...]  # in the order of the label config
    sources: tuple[str, ...] = ()  # names of the files
    overlapping_documents: int = 0  # removed from train because dev has their text
    # Entities of each label that dev has and train has not, most frequent first. Labels outside
    # `labels` do not count as misses in dev scores, so the user must be told.
    dev_only_labels: Mapping[str, int] = field(default_factory=dict)
    silver: SilverData | None = None  # to train on as well
    warm_start_version: str = ""  # that training starts from; empty for the base
    word_rule: WordRule = DEFAULT_WORD_RULE  # of the tags
    word_rule_choice: WordRuleChoice | None = None  # why it was taken; None if it is given
    flat_losses: FlatLosses | None = None  # by the word rule; None if they were not counted

    @property
    def fingerprint(self) -> str:
        """Hash of train and of dev; another split of the same documents has another one."""
        return f"{compute_fingerprint(self.train)[:16]}-{compute_fingerprint(self.dev)[:16]}"

    @property
    def tag_set(self) -> TagSet:
        """The tags of the labels; raises `LabelError` if there is none."""
        return TagSet(self.labels, self.word_rule)

    def to_json(self) -> Mapping[str, Any]:
        """Description of the data for the manifest."""
        return {
            "fingerprint": self.fingerprint,
            "sources": list(self.sources),
            "train": _count_entities(self.train) | {"labels": dict(_count_labels(self.train))},
            "dev": _count_entities(self.dev),
            # Absent keys keep manifests equal to those of earlier releases.
            **({"silver": self.silver.to_json()} if self.silver else {}),
            **({"start": self.warm_start_version} if self.warm_start_version else {}),
        }


def split_train_dev(
    corpus: Corpus,
    dev: Corpus | None = None,
    *,
    dev_share: float = 0.1,
    word_rule: str | None = None,
) -> TrainDevSplit:
    """Split a corpus into train and dev, or combine it with a given dev corpus.

    The texts of a given dev corpus are removed from train. Without one, dev is a share of `corpus`,
    by the hash of each text. `word_rule` is a name; None to choose one by `choose_word_rule`.
    Raises `LabelError` if no annotation has a label of the label config.
    """
    _check_labels_in_config(corpus)
    sources = corpus.sources
    overlapping: set[str] = set()
    dropped = list(corpus.dropped)
    if dev is None:
        train, held_out = split_off_dev(corpus.documents, dev_share)
    else:
        _check_labels_in_config(dev)
        sources += dev.sources
        dropped += dev.dropped
        overlapping = {ours.id for _, ours in find_shared_texts(dev.documents, corpus.documents)}
        train = [document for document in corpus.documents if document.id not in overlapping]
        held_out = list(dev.documents)
    documents = [*train, *held_out]
    choice = choose_word_rule(documents, corpus.labels, word_rule)
    losses = None
    if corpus.labels:  # a tag set needs one
        losses = count_flat_losses(documents, TagSet(corpus.labels, choice.rule), dropped)
    return TrainDevSplit(
        train=train,
        dev=held_out,
        labels=corpus.labels,
        sources=tuple(Path(source.path).name for source in sources),
        overlapping_documents=len(overlapping),
        dev_only_labels=_find_dev_only_labels(train, held_out),
        word_rule=choice.rule,
        word_rule_choice=choice,
        flat_losses=losses,
    )


def _check_labels_in_config(corpus: Corpus) -> None:
    """Reject a corpus whose annotations all have labels that are not in the label config."""
    unknown = Counter(lost.label for lost in corpus.dropped if lost.reason == "label unknown")
    if not unknown or any(document.spans for document in corpus.documents):
        return
    names = ", ".join(Path(source.path).name for source in corpus.sources)
    known = ", ".join(corpus.labels)
    raise LabelError(
        f"no annotation in {names} has a label of the label config ({known}), but all have "
        f"{format_label_counts(unknown)}: give the config of this project, or none to train on "
        "every label",
        code="labels-outside-config",
    )


def _find_dev_only_labels(train: Sequence[Document], dev: Sequence[Document]) -> Mapping[str, int]:
    train_labels = _count_labels(train).keys()
    counts = Counter(span.label for document in dev for span in set(document.spans))
    return {label: count for label, count in counts.most_common() if label not in train_labels}


def _count_labels(documents: Sequence[Document]) -> Counter[str]:
    return Counter(span.label for document in documents for span in document.spans)


def _count_entities(documents: Sequence[Document]) -> dict[str, Any]:
    spans = sum(len(document.spans) for document in documents)
    return {"documents": len(documents), "entities": spans}
