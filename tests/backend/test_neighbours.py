"""What a version that learns the labels of one project would take from the others."""

import pytest

from backend.label_config import parse_label_config
from backend.neighbours import Change, missed_labels


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
