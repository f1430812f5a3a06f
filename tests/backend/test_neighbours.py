"""What a version that learns the labels of one project would take from the others."""

from types import SimpleNamespace
from typing import Any

import pytest

from backend.label_config import parse_label_config
from backend.neighbours import Change, Neighbour, missed_labels, neighbours_without
from backend.remote.objects import Backend, Project


def config(*labels: str) -> str:
    return (
        f'<View><Labels name="label" toName="text">{"".join(labels)}</Labels>'
        '<Text name="text" value="$text"/></View>'
    )


DRUG = '<Label value="Drug" predicted_values="Chemical"/>'
CHEMICAL, DISEASE, GENE = (f'<Label value="{name}"/>' for name in ("chemical", "Disease", "Gene"))


@pytest.mark.parametrize(
    ("labels", "new", "missed"),
    [
        ((CHEMICAL, DISEASE), ("Gene",), ("chemical", "Disease")),
        ((CHEMICAL, DISEASE), ("Disease", "Gene"), ("chemical",)),
        ((CHEMICAL, DISEASE), ("Disease", "CHEMICAL"), ()),  # which differs by case alone
        ((DRUG, DISEASE), ("Disease", "Gene"), ("Drug",)),  # in the project's words
        ((DRUG, DISEASE), ("Disease", "Drug"), ()),
        ((GENE,), ("Gene",), ()),  # the old version gave it nothing
        ((GENE,), ("Chemical",), ()),
    ],
)
def test_a_project_misses_what_only_the_old_version_gave_it(
    labels: tuple[str, ...], new: tuple[str, ...], missed: tuple[str, ...]
) -> None:
    found = parse_label_config(config(*labels))
    assert missed_labels(found, ("Chemical", "Disease"), new) == missed


def test_what_is_gone_is_named_in_the_order_of_the_old_version() -> None:
    assert Change(1, "v", old=("C", "A", "B"), new=("A", "D")).gone == ("C", "B")
    assert Change(1, "", old=(), new=("A",)).gone == ()


TWO = (
    '<View><Labels name="a" toName="text"><Label value="Disease"/></Labels>'
    '<Labels name="b" toName="text"><Label value="Gene"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
IMAGES = (
    '<View><Choices name="c" toName="i"><Choice value="x"/></Choices>'
    '<Image name="i" value="$i"/></View>'
)


@pytest.mark.parametrize(
    ("label_config", "extra", "version", "missed"),
    [
        (config(DISEASE), None, "v1", ("Disease",)),
        (config(DISEASE), None, "v0", ()),  # it goes by another server
        (config(CHEMICAL), None, "v1", ()),
        (TWO, {"control": "a"}, "v1", ("Disease",)),
        (TWO, {"control": "b"}, "v1", ()),
        (TWO, None, "v1", ()),  # our server refuses it
        (IMAGES, None, "v1", ()),
    ],
)
def test_who_misses_something_goes_by_the_version_that_serves(
    label_config: str, extra: object, version: str, missed: tuple[str, ...]
) -> None:
    common = {"show_collab_predictions": True, "label_config": label_config}
    ours = Project.from_json({"id": 1, "title": "Ours", **common})
    other = Project.from_json({"id": 2, "title": "Other", **common})
    backend = Backend.from_json(
        {
            "id": 5,
            "project": 2,
            "url": "http://x",
            "state": "CO",
            "is_interactive": True,
            "model_version": version,
            "extra_params": extra,
        }
    )
    studio: Any = SimpleNamespace(
        projects=lambda: [other, ours], backends=SimpleNamespace(of=lambda _: [backend])
    )
    change = Change(1, "v1", old=("Disease", "Chemical"), new=("Chemical",))
    expected = [Neighbour(2, "Other", missed)] if missed else []
    assert neighbours_without(studio, change) == expected
    nothing_gone = Change(1, "v1", old=("Chemical",), new=("Chemical",))
    assert neighbours_without(None, nothing_gone) == []  # type: ignore[arg-type]
