"""The promotion gate: better and equal versions pass, significantly worse ones do not."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.retraining.job import JobResult, PromotionPolicy
from tagalong.ner.document import Document, Prediction
from tagalong.ner.length_buckets import length_bucket
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tagalong.training.jobs.promotion_gate import (
    apply_policy,
    decide_promotion,
    find_undertrained_labels,
    should_promote_by_dev,
)
from tests.toy_corpus import LABELS, toy_documents

GOLD = toy_documents(60, seed=3)


def predictions_of(
    documents: Sequence[Document], *, missing: float = 0.0, seed: int = 0
) -> list[Prediction]:
    """Correct predictions, without a random share."""
    chance = random.Random(seed)
    return [
        Prediction(tuple(span for span in one.spans if chance.random() >= missing), 1.0, "x")
        for one in documents
    ]


def without_long_entities(document: Document) -> Document:
    """The document without entities of three or more words."""
    kept = (s for s in document.spans if length_bucket(document.text, s.start, s.end) != "3+")
    return replace(document, spans=tuple(kept))


def predictions_without_long_entities(documents: Sequence[Document]) -> list[Prediction]:
    """Correct predictions, without entities of three or more words."""
    return predictions_of([without_long_entities(one) for one in documents])


def test_better_version_is_promoted() -> None:
    decision = decide_promotion(
        GOLD, predictions_of(GOLD, missing=0.1), predictions_of(GOLD, missing=0.5), labels=LABELS
    )
    assert decision.should_promote
    assert [one.name for one in decision.strata] == ["all", "1", "2", "3+"]
    assert decision.strata[0].support == sum(one.support for one in decision.strata[1:])


def test_equal_version_is_promoted() -> None:
    decision = decide_promotion(
        GOLD, predictions_of(GOLD, missing=0.3), predictions_of(GOLD, missing=0.3), labels=LABELS
    )
    assert decision.should_promote


def test_worse_version_is_rejected() -> None:
    decision = decide_promotion(
        GOLD, predictions_of(GOLD, missing=0.5), predictions_of(GOLD, missing=0.1), labels=LABELS
    )
    assert not decision.should_promote
    assert decision.strata[0].high < 0


def test_version_worse_on_long_entities_is_rejected() -> None:
    old = predictions_of(GOLD, missing=0.0)
    new = predictions_without_long_entities(GOLD)
    decision = decide_promotion(GOLD, new, old, labels=LABELS)
    assert not decision.should_promote
    assert decision.strata[-1].high < 0


def test_lengths_with_few_entities_are_ignored() -> None:
    gold = [*GOLD[:3], *map(without_long_entities, GOLD[3:])]
    decision = decide_promotion(
        gold, predictions_without_long_entities(gold), predictions_of(gold), labels=LABELS
    )
    long = decision.strata[-1]
    assert long.support < 20
    assert long.new == 0
    assert decision.should_promote


def test_insignificant_loss_is_accepted() -> None:
    kept = sum(
        not decide_promotion(
            GOLD,
            predictions_of(GOLD, missing=0.3, seed=2 * seed),
            predictions_of(GOLD, missing=0.3, seed=2 * seed + 1),
            labels=LABELS,
        ).should_promote
        for seed in range(40)
    )
    assert kept <= 10  # the claimed rate is at most one in ten; more than ten of 40 are p < 0.003


FEW = {"Chemical": 12, "Disease": 0}  # entities of labels that the current version knows


def entities(documents: Sequence[Document]) -> int:
    return sum(len(one.spans) for one in documents)


@pytest.mark.parametrize("missing", [0.3, 0.6])  # equally good and much better
def test_candidate_with_undertrained_labels_needs_more_held_out_documents(
    missing: float,
) -> None:
    held_out = toy_documents(6, seed=3)
    new, old = predictions_of(held_out, missing=0.3), predictions_of(held_out, missing=missing)
    kept = decide_promotion(held_out, new, old, labels=LABELS, undertrained_labels=FEW)
    assert not kept.should_promote
    assert "(Chemical 12, Disease 0)" in kept.reason
    assert kept.strata
    assert decide_promotion(
        held_out, new, old, labels=LABELS
    ).should_promote  # without undertrained labels


@given(st.integers(1, 30), st.integers(1, 9))
def test_twenty_documents_with_100_entities_are_enough(count: int, sentences: int) -> None:
    held_out = toy_documents(count, seed=5, sentences=sentences)
    decision = decide_promotion(
        held_out,
        predictions_of(held_out),
        predictions_of(held_out),
        labels=LABELS,
        undertrained_labels=FEW,
    )
    assert decision.should_promote == (count >= 20 and entities(held_out) >= 100)


@pytest.mark.parametrize(
    ("count", "sentences", "share", "enough"),
    [
        (6, 9, 0.2, "about 70 more documents, about 14 of them held out at the share of 0.2"),
        (6, 9, 0.5, "about 28 more documents, about 14 of them held out at the share of 0.5"),
        (19, 9, 0.25, "about 4 more documents, about 1 of them held out at the share of 0.25"),
    ],
)
def test_reason_has_the_number_of_missing_documents(
    count: int, sentences: int, share: float, enough: str
) -> None:
    held_out = toy_documents(count, seed=5, sentences=sentences)
    decision = decide_promotion(
        *(held_out, predictions_of(held_out), predictions_of(held_out)),
        labels=LABELS,
        undertrained_labels=FEW,
        held_out_share=share,
    )
    there = f"{count} documents with {entities(held_out)} entities, and needs 20 with 100"
    assert there in decision.reason
    assert enough in decision.reason


def test_missing_entities_are_converted_to_documents() -> None:
    sparse = [replace(one, spans=one.spans[:2]) for one in toy_documents(25, seed=5)]
    decision = decide_promotion(
        sparse,
        predictions_of(sparse),
        predictions_of(sparse),
        labels=LABELS,
        undertrained_labels=FEW,
    )
    assert "about 125 more documents, about 25 of them held out" in decision.reason  # 50 entities
    single = [replace(sparse[0], spans=sparse[0].spans[:1])]
    decision = decide_promotion(
        single,
        predictions_of(single),
        predictions_of(single),
        labels=LABELS,
        undertrained_labels=FEW,
    )
    assert "it has 1 document with 1 entity," in decision.reason


def test_worse_version_is_rejected_even_with_few_documents() -> None:
    held_out = GOLD[:15]
    decision = decide_promotion(
        *(held_out, predictions_of(held_out, missing=0.9), predictions_of(held_out)),
        labels=LABELS,
        undertrained_labels=FEW,
    )
    assert decision.strata[0].high < 0


def test_first_version_is_always_promoted() -> None:
    held_out = GOLD[:3]
    nothing = [Prediction((), 1.0, "x") for _ in held_out]  # the served version has other labels
    assert decide_promotion(
        held_out, predictions_of(held_out), nothing, labels=LABELS
    ).should_promote
    assert decide_promotion(held_out, predictions_of(held_out), None, labels=LABELS).should_promote


def test_promotion_policy_overrides_the_gate() -> None:
    worse, better = JobResult("it is worse"), JobResult("it is better", should_promote=True)
    for decision in (worse, better):
        assert apply_policy(decision, "auto") == decision
        assert apply_policy(decision, "always").should_promote
        assert not apply_policy(decision, "never").should_promote
        assert decision.reason in apply_policy(decision, "never").reason


@pytest.mark.parametrize("held_out", [[], [replace(one, spans=()) for one in GOLD[:3]]])
def test_without_held_out_entities_the_served_version_stays(held_out: list[Document]) -> None:
    nothing = [Prediction((), 1.0, "x") for _ in held_out]
    assert not decide_promotion(held_out, nothing, nothing, labels=LABELS).should_promote
    assert decide_promotion(held_out, nothing, None, labels=LABELS).should_promote


def test_version_without_predictions_is_never_promoted() -> None:
    nothing = [Prediction((), 1.0, "x") for _ in GOLD]
    assert not decide_promotion(GOLD, nothing, nothing, labels=LABELS).should_promote
    assert not decide_promotion(GOLD, nothing, None, labels=LABELS).should_promote


CONFIG = parse_label_config(
    '<View><Labels name="label" toName="text"><Label value="Disease"/><Label value="Gene"/>'
    '<Label value="Drug" predicted_values="Chemical,Dose"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
counts = st.dictionaries(st.sampled_from(("Drug", "Disease", "Gene")), st.integers(0, 999))


def version(train: Mapping[str, int] | None, *labels: str, **data: Any) -> Manifest:
    """A version trained on this many entities of each label; None for one without counts."""
    sizes = {"documents": 9, "entities": 99} | ({} if train is None else {"labels": train})
    return Manifest(
        tier="encoder",
        name="v",
        base="b",
        labels=labels or tuple(train or ()),
        data={"train": sizes, **data},
        version="v1",
        created="",
        files={},
    )


def test_label_is_undertrained_below_half_of_the_entities() -> None:
    current = version({"Chemical": 1000, "Disease": 40, "Strain": 500})
    candidate = version({"Drug": 499, "Disease": 20, "Gene": 3}, "Drug", "Disease", "Gene")
    assert find_undertrained_labels(candidate, current, CONFIG) == {"Drug": 499}
    assert find_undertrained_labels(version({}, "Drug"), current, CONFIG) == {
        "Drug": 0,
        "Disease": 0,
    }


def test_merged_labels_are_summed() -> None:
    current = version({"Chemical": 100, "Dose": 100})
    assert find_undertrained_labels(version({"Drug": 99}), current, CONFIG) == {"Drug": 99}
    assert find_undertrained_labels(version({"Drug": 100}), current, CONFIG) == {}


@given(counts, counts)
def test_more_annotations_of_the_same_project_are_enough(
    old: dict[str, int], more: dict[str, int]
) -> None:
    grown = {label: old.get(label, 0) + more.get(label, 0) for label in {*old, *more}}
    labels = ("Drug", "Disease", "Gene")
    assert find_undertrained_labels(version(grown, *labels), version(old, *labels), CONFIG) == {}


def test_labels_of_only_the_candidate_are_ignored() -> None:
    current = version(None, "Strain", "Cell")
    assert find_undertrained_labels(version({"Drug": 1, "Gene": 0}), current, CONFIG) == {}


@pytest.mark.parametrize(
    "current",
    [
        version(None, "Chemical", "Disease"),
        version({"Chemical": 1, "Disease": 1}, start="v0"),
        version({"Chemical": 1, "Disease": 1}, silver={"documents": 5000}),
    ],
    ids=["older than the counts", "started at another version", "with silver data"],
)
def test_unknown_counts_protect_the_current_version(current: Manifest) -> None:
    candidate = version({"Drug": 70, "Disease": 30, "Gene": 9})
    assert find_undertrained_labels(candidate, current, CONFIG) == {"Drug": 70, "Disease": 30}


def test_warm_started_candidate_knows_the_served_labels() -> None:
    current = version({"Chemical": 9000})
    assert find_undertrained_labels(version({"Drug": 9}, start="v1"), current, CONFIG) == {}
    assert find_undertrained_labels(version({"Drug": 9}, start="v0"), current, CONFIG) == {
        "Drug": 9
    }


def test_24_documents_do_not_replace_the_bundled_version() -> None:
    bundled = read_manifest(
        ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")
    )
    candidate = version({"Drug": 112, "Disease": 80, "Gene": 200})
    assert find_undertrained_labels(candidate, bundled, CONFIG) == {"Drug": 112, "Disease": 80}


@pytest.mark.parametrize(
    ("policy", "dev_f1", "gain", "promoted"),
    [
        ("auto", 0.5, None, True),
        ("auto", 0.5, 0.0, True),
        ("auto", 0.5, -0.1, False),
        ("auto", 0.0, None, False),
        ("auto", None, None, False),
        ("always", 0.0, -0.1, True),
        ("never", 0.5, 0.1, False),
    ],
)
def test_dev_decides_after_a_training_on_files(
    policy: PromotionPolicy, dev_f1: float | None, gain: float | None, promoted: bool
) -> None:
    assert should_promote_by_dev(policy, dev_f1, gain) is promoted
