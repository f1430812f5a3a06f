"""Labelling configs: one way to label a text, or a sentence that says why not."""

from pathlib import Path

import pytest

from backend.label_config import parse_label_config, read_label_config
from backend.label_studio import LabelConfig
from ner.errors import FormatError

OURS = Path(__file__).parents[2] / "label_config.xml"
TEXT = '<Text name="text" value="$abstract"/>'
LABELS = (
    '<Labels name="label" toName="text">'
    '<Label value="Chemical" alias="CHEM"/><View><Label value="Disease"/></View></Labels>'
)


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def test_our_own_config() -> None:
    config = read_label_config(OURS)
    assert (config.control, config.object, config.data_key) == ("label", "text", "text")
    assert config.labels == ("Chemical", "Disease")


def test_an_alias_is_the_name_and_a_value_stands_for_it() -> None:
    config = parse_label_config(view(LABELS, TEXT, '<Choices name="c" toName="text"/>'))
    spellings = {"Chemical": "CHEM", "CHEM": "CHEM", "Disease": "Disease"}
    assert config == LabelConfig("label", "text", "abstract", ("CHEM", "Disease"), spellings)


def test_a_name_is_itself_even_where_it_is_the_value_of_another_label() -> None:
    swapped = (
        '<Labels name="l" toName="text"><Label value="A" alias="B"/><Label value="B" alias="C"/>'
        "</Labels>"
    )
    config = parse_label_config(view(TEXT, swapped))
    assert config.labels == ("B", "C")
    assert config.spellings == {"A": "B", "B": "B", "C": "C"}


def test_several_controls_need_a_name() -> None:
    other = '<Labels name="parts" toName="text"><Label value="Title"/></Labels>'
    both = view(LABELS, other, TEXT)
    assert parse_label_config(both, control="parts").labels == ("Title",)
    with pytest.raises(FormatError, match="'label', 'parts'"):
        parse_label_config(both)
    with pytest.raises(FormatError, match="none of them called 'no'"):
        parse_label_config(both, control="no")


def test_a_hypertext_beside_the_text_does_not_matter() -> None:
    beside = '<HyperText name="h" value="$h"/><Choices name="c" toName="h"/>'
    assert parse_label_config(view(LABELS, TEXT, beside)).object == "text"


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "is not XML"),
        ("<View>", "is not XML"),
        ("Chemical, Disease", "is not XML"),
        (view(), "no controls"),
        (view(LABELS), "no <Labels> over a <Text>"),
        (view(LABELS.replace('toName="text"', 'toName="no"'), TEXT), "no <Labels> over a <Text>"),
        (view('<Choices name="c" toName="text"/>', TEXT), "<Choices>, but no <Labels>"),
        (view(LABELS, TEXT.replace("Text ", "HyperText ")), "<HyperText>: .*declare .* as <Text>"),
        (
            view('<HyperTextLabels name="l" toName="h"/><HyperText name="h" value="$h"/>'),
            "<HyperText>: .*declare .* as <Text>",
        ),
        (view(LABELS, TEXT.replace("$abstract", "abc")), "the same for every task"),
        (view(LABELS, TEXT.replace("value=", 'valueType="url" value=')), "URL"),
        (view(LABELS, TEXT.replace("value=", 'encoding="base64" value=')), "URL or an encoded"),
        (view('<Labels name="l" toName="text" value="$labels"/>', TEXT), "has no <Label>"),
    ],
)
def test_what_cannot_be_used_is_refused_with_advice(xml: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        parse_label_config(xml)


def test_files_may_have_a_declaration_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.xml"
    declared = '<?xml version="1.0" encoding="UTF-8"?>\n' + view(LABELS, TEXT)
    path.write_text(declared, encoding="utf-8-sig")
    assert read_label_config(path) == parse_label_config(view(LABELS, TEXT))


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.xml"
    path.write_bytes(b"<View>\xff</View>")
    with pytest.raises(FormatError, match=r"config\.xml is not UTF-8"):
        read_label_config(path)
    path.write_text("<View>")
    with pytest.raises(FormatError, match=r"config\.xml: the labelling config is not XML"):
        read_label_config(path)
