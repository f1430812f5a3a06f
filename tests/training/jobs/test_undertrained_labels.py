"""Which labels a candidate has hardly learnt, by the training entities of both versions."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.label_studio.config import parse_label_config
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tagalong.training.jobs.undertrained_labels import find_undertrained_labels

CONFIG = parse_label_config(
    '<View><Labels name="label" toName="text"><Label value="Disease"/><Label value="Gene"/>'
    '<Label value="Drug" predicted_values="Chemical,Dose"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
counts = st.dictionaries(st.sampled_from(("Drug", "Disease", "Gene")), st.integers(0, 999))


def version(train: Mapping[str, int] | None, *labels: str, **data: Any) -> Manifest:
    """A version trained on so many entities of each label; None for one without such counts."""
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


def test_a_label_is_hardly_learnt_below_half_of_the_entities() -> None:
    served = version({"Chemical": 1000, "Disease": 40, "Strain": 500})
    candidate = version({"Drug": 499, "Disease": 20, "Gene": 3}, "Drug", "Disease", "Gene")
    assert find_undertrained_labels(candidate, served, CONFIG) == {"Drug": 499}
    assert find_undertrained_labels(version({}, "Drug"), served, CONFIG) == {
        "Drug": 0,
        "Disease": 0,
    }


def test_labels_that_the_project_shares_among_several_are_added_up() -> None:
    served = version({"Chemical": 100, "Dose": 100})
    assert find_undertrained_labels(version({"Drug": 99}), served, CONFIG) == {"Drug": 99}
    assert find_undertrained_labels(version({"Drug": 100}), served, CONFIG) == {}


@given(counts, counts)
def test_more_annotations_of_the_same_project_are_always_enough(
    old: dict[str, int], more: dict[str, int]
) -> None:
    grown = {label: old.get(label, 0) + more.get(label, 0) for label in {*old, *more}}
    labels = ("Drug", "Disease", "Gene")
    assert find_undertrained_labels(version(grown, *labels), version(old, *labels), CONFIG) == {}


def test_labels_that_only_the_candidate_has_never_count() -> None:
    served = version(None, "Strain", "Cell")
    assert find_undertrained_labels(version({"Drug": 1, "Gene": 0}), served, CONFIG) == {}


@pytest.mark.parametrize(
    "served",
    [
        version(None, "Chemical", "Disease"),
        version({"Chemical": 1, "Disease": 1}, start="v0"),
        version({"Chemical": 1, "Disease": 1}, silver={"documents": 5000}),
    ],
    ids=["older than the counts", "started at another version", "with silver data"],
)
def test_unknown_counts_protect_the_served_version(served: Manifest) -> None:
    candidate = version({"Drug": 70, "Disease": 30, "Gene": 9})
    assert find_undertrained_labels(candidate, served, CONFIG) == {"Drug": 70, "Disease": 30}


def test_a_candidate_that_started_at_the_served_version_has_learnt_its_labels() -> None:
    served = version({"Chemical": 9000})
    assert find_undertrained_labels(version({"Drug": 9}, start="v1"), served, CONFIG) == {}
    assert find_undertrained_labels(version({"Drug": 9}, start="v0"), served, CONFIG) == {"Drug": 9}


def test_twenty_four_documents_do_not_know_the_labels_of_the_bundled_version() -> None:
    bundled = read_manifest(
        ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")
    )
    candidate = version({"Drug": 112, "Disease": 80, "Gene": 200})
    assert find_undertrained_labels(candidate, bundled, CONFIG) == {"Drug": 112, "Disease": 80}
