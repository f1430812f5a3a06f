"""Labelling configs: one control for a text, or an error."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config, read_label_config
from tagalong.ner.errors import FormatError
from tests.errors import raises

OURS = Path(__file__).parents[3] / "label_config.xml"
TEXT = '<Text name="text" value="$abstract"/>'
LABELS = (
    '<Labels name="label" toName="text">'
    '<Label value="Chemical" alias="CHEM"/><View><Label value="Disease"/></View></Labels>'
)


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def test_demo_config() -> None:
    config = read_label_config(OURS)
    assert (config.control, config.object, config.data_key) == ("label", "text", "text")
    assert config.labels == ("Chemical", "Disease")


def test_alias_is_stored_and_value_matches_too() -> None:
    config = parse_label_config(view(LABELS, TEXT, '<Choices name="c" toName="text"/>'))
    spellings = {"Chemical": "CHEM", "CHEM": "CHEM", "Disease": "Disease"}
    assert config == LabelConfig("label", "text", "abstract", ("CHEM", "Disease"), spellings)


def test_name_takes_precedence_over_value_of_another_label() -> None:
    swapped = (
        '<Labels name="l" toName="text"><Label value="A" alias="B"/><Label value="B" alias="C"/>'
        "</Labels>"
    )
    config = parse_label_config(view(TEXT, swapped))
    assert config.labels == ("B", "C")
    assert config.names_by_spelling == {"A": "B", "B": "B", "C": "C"}


def test_several_controls_need_the_control_option() -> None:
    other = '<Labels name="parts" toName="text"><Label value="Title"/></Labels>'
    both = view(LABELS, other, TEXT)
    assert parse_label_config(both, control="parts").labels == ("Title",)
    with raises(FormatError, "label-config-control-not-unique") as refusal:
        parse_label_config(both)
    assert "'parts'" in str(refusal.value)
    with raises(FormatError, "label-config-control-not-unique") as refusal:
        parse_label_config(both, control="no")
    assert "'no'" in str(refusal.value)


def test_labels_of_several_texts() -> None:
    labels = LABELS.replace('toName="text"', 'toName="title,image,text"')
    texts = TEXT + '<Text name="title" value="$a.title" encoding="base64"/>'
    config = parse_label_config(view(labels, texts, '<Image name="image" value="$image"/>'))
    assert [(one.object, one.data_key, one.text_encoding) for one in config.texts] == [
        ("title", "a.title", "base64"),
        ("text", "abstract", "text"),
    ]
    assert config.labels == ("CHEM", "Disease")


TITLE = '<Text name="title" value="$title"/>'
# The same labels in another order, with a colour.
TITLE_LABELS = (
    '<Labels name="title_label" toName="title"><Label value="Disease" background="red"/>'
    '<Label value="Chemical" alias="CHEM"/></Labels>'
)


def test_labels_of_a_text_each() -> None:
    config = parse_label_config(view(TITLE_LABELS, LABELS, TITLE, TEXT))
    assert [(one.control, one.object, one.data_key) for one in config.texts] == [
        ("title_label", "title", "title"),
        ("label", "text", "abstract"),
    ]
    assert len({(one.names_by_spelling["Chemical"], *one.labels) for one in config.texts}) == 1
    alone = parse_label_config(view(TITLE_LABELS, LABELS, TITLE, TEXT), control="label")
    assert [one.object for one in alone.texts] == ["text"]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.replace('toName="text"', 'toName="text,title"'),
        LABELS.replace('<Label value="Disease"/>', ""),
        LABELS.replace('alias="CHEM"', ""),
        LABELS.replace('value="Disease"', 'value="Disease" predicted_values="Illness"'),
        '<Labels name="label" toName="text" value="$labels"/>',
    ],
    ids=["shared text", "fewer labels", "other name", "other model label", "labels of tasks"],
)
def test_ambiguous_labels_of_texts_are_refused(labels: str) -> None:
    with raises(FormatError, "label-config-control-not-unique"):
        parse_label_config(view(TITLE_LABELS, labels, TITLE, TEXT))


def test_control_of_the_text_is_chosen() -> None:
    other = '<Labels name="parts" toName="image"><Label value="Title"/></Labels>'
    image = '<Image name="image" value="$image"/>'
    assert parse_label_config(view(other, image, LABELS, TEXT)).control == "label"


def test_message_with_many_controls_is_short() -> None:
    many = (LABELS.replace('"label"', f'"{i}"') for i in range(100))
    with raises(FormatError, "label-config-control-not-unique") as refusal:
        parse_label_config(view(*many, TEXT))
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("attributes", "stored"),
    [
        ("", "text"),
        ('valueType="text" encoding="none"', "text"),
        ('valueType="url"', "url"),
        ('valuetype="url"', "url"),
        ('encoding="base64"', "base64"),
        ('encoding="base64unicode"', "base64unicode"),
    ],
)
def test_text_key_of_task_data(attributes: str, stored: str) -> None:
    config = parse_label_config(view(LABELS, TEXT.replace("value=", attributes + " value=")))
    assert config.text_encoding == stored


def test_predicted_values_map_to_labels() -> None:
    labels = (
        '<Labels name="l" toName="text"><Label value="Chemical" alias="CHEM" '
        'predicted_values=" drug,, Chemical ,1"/><Label value="Disease" predicted_values="1, ill"/>'
        '<Label value="Gene"/></Labels>'
    )
    config = parse_label_config(view(TEXT, labels))
    # Both claim "1", so neither gets it.
    assert config.predicted_values == {"drug": "CHEM", "Chemical": "CHEM", "ill": "Disease"}


def test_config_is_cached_and_immutable() -> None:
    config = parse_label_config(view(LABELS, TEXT))
    assert parse_label_config(view(LABELS, TEXT)) is config
    assert parse_label_config(view(LABELS, TEXT), control="label") == config
    for names in (config.names_by_spelling, config.predicted_values):
        with pytest.raises(TypeError):
            names["new"] = "CHEM"  # type: ignore[index]
    assert hash(config) == hash(parse_label_config(view(LABELS, TEXT), control="label"))


SECRET = "do-not-read-me"
BOMB = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
ATTACKS = {
    "an external entity": '<!DOCTYPE View [<!ENTITY x SYSTEM "file://{path}">]>{config}',
    "an external document type": '<!DOCTYPE View SYSTEM "file://{path}">{config}',
    "a billion laughs": '<!DOCTYPE View [<!ENTITY e0 "ha">' + BOMB + "]>{config}",
    "behind a comment": "<!-- -->\n<!DOCTYPE View [<!ENTITY x 'y'>]>{config}",
    "in something like a comment": "<?a <!-- ?><!DOCTYPE View [<!ENTITY x 'y'>]><?b --> ?>{config}",
    "behind a declaration": '<?xml version="1.0"?><!DOCTYPE View [<!ENTITY x "y">]>{config}',
    "inside": "<View><!ENTITY x 'y'></View>",
    "in lower case": "<!doctype View>{config}",
    "in a comment": "<!-- <!DOCTYPE View> -->{config}",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("disguise", ["", "UTF-16LE", "UTF-16BE", "bytes of UTF-16", "mark"])
def test_doctype_declarations_are_refused_unread(
    attack: str, disguise: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    config = view(LABELS, TEXT).replace("Disease", "&x;" if "ENTITY x" in attack else "&e9;")
    xml = attack.replace("{path}", str(path)).replace("{config}", config)
    if disguise == "bytes of UTF-16":
        xml = xml.encode("utf-16").decode("latin-1")
    elif disguise == "mark":
        xml = "\ufeff" + xml
    elif disguise:
        xml = xml.encode(disguise).decode("latin-1")
    with pytest.raises(FormatError) as refusal:
        parse_label_config(xml)
    assert refusal.value.code in (
        "label-config-with-declaration",
        "label-config-invalid-characters",
    )
    assert SECRET not in str(refusal.value)


def test_comments_and_processing_instructions_are_ignored() -> None:
    odd = '<?a name="b" toName="c"?><!-- {"data": 1} -->'
    xml = odd + view(odd, "<![CDATA[ ]]>", LABELS, TEXT) + odd
    assert parse_label_config(xml).labels == ("CHEM", "Disease")


def test_config_length_limit() -> None:
    labels = "".join(f'<Label value="Label {i}"/>' for i in range(5000))
    many = f'<Labels name="l" toName="text">{labels}</Labels>'
    assert len(parse_label_config(view(many, TEXT)).labels) == 5000
    with raises(FormatError, "label-config-too-long"):
        parse_label_config(view(many * 10, TEXT))


@pytest.mark.parametrize(
    "xml",
    [
        '<Labels name="l" toName="text"><Label value="{}"/></Labels>',
        '<Labels name="l" toName="text"><Label value="a" alias="{}"/></Labels>',
        '<Labels name="{}" toName="text"><Label value="a"/></Labels>',
    ],
)
def test_long_names_are_refused(xml: str) -> None:
    """Each region of an answer repeats them."""
    parse_label_config(view(xml.format("x" * 1_000), TEXT))
    with raises(FormatError, "label-config-name-too-long"):
        parse_label_config(view(xml.format("x" * 1_001), TEXT))


NAMES = st.sampled_from(["label", "text", "", "$a", "a,b", "x y", "url", "base64", "Disease"])
TAGS = ["View", "Labels", "Label", "Text", "HyperText", "Choices", "Chat", "ReactCode", "Filter"]
ATTRIBUTES = ["name", "toName", "value", "alias", "valueList", "valueType", "predicted_values"]


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    tag = draw(st.sampled_from([*TAGS, "Video", "Style", "Relation", "x:y"]))
    chosen = draw(st.dictionaries(st.sampled_from([*ATTRIBUTES, "perRegion"]), NAMES))
    attributes = "".join(f" {name}={quoteattr(value)}" for name, value in chosen.items())
    inner = draw(st.lists(elements(depth=depth - 1), max_size=3)) if depth else []
    odd = draw(st.sampled_from(["", "", "<!-- -->", '<?p name="a" toName="b"?>', "text", "&a;"]))
    return f"<{tag}{attributes}>{odd}{''.join(inner)}</{tag}>"


@given(st.one_of(elements(), st.text(), st.text(alphabet="<>!?&;[]-/= \n\"'aA\0\ufeff"), NAMES))
@example("<x xmlns='y' name='text' toName='text'/>")
@example("\ud800")
def test_any_bad_config_raises_one_sentence(xml: str) -> None:
    try:
        config = parse_label_config(xml)
    except FormatError as refusal:
        assert "\n" not in str(refusal)  # noqa: PT017
    else:
        assert config.labels
        assert all(config.labels)
        assert set(config.names_by_spelling.values()) == set(config.labels)


def test_repeater_beside_text_is_ignored() -> None:
    image = '<Image name="image_{{idx}}" value="$images[{{idx}}]"/>'
    xml = view(LABELS, TEXT, f'<Repeater on="$images">{image}</Repeater>')
    assert parse_label_config(xml).object == "text"


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_tags_and_attributes_are_read_in_any_case(change: Callable[[str], str]) -> None:
    names = re.compile(r"\b(?:View|Labels?|Text|name|toName|value|alias)(?=[ =>])")
    xml = view(LABELS, TEXT)
    changed = names.sub(lambda found: change(found[0]), xml)
    assert change("toName=") in changed
    assert parse_label_config(changed) == parse_label_config(xml)


def test_hypertext_beside_text_is_ignored() -> None:
    beside = '<HyperText name="h" value="$h"/><Choices name="c" toName="h"/>'
    assert parse_label_config(view(LABELS, TEXT, beside)).object == "text"


NO_OBJECT = "label-config-without-object"
NO_CONTROL = "label-config-without-span-control"
LONG = "x" * 9_000
ENCODING = "unsupported-text-encoding"
REPEATER = "label-config-with-repeater"
REPEATED = (LABELS + TEXT).replace('"text"', '"text_{{idx}}"').replace('"label"', '"label_{{idx}}"')


@pytest.mark.parametrize(
    ("xml", "code", "value"),
    [
        ("", "label-config-not-xml", ""),
        ("<View>", "label-config-not-xml", ""),
        ("Chemical, Disease", "label-config-not-xml", ""),
        (view(), NO_CONTROL, "config has no <Labels> over"),
        (view(LABELS), NO_OBJECT, "'text'"),
        (view(LABELS.replace('toName="text"', 'toName="no"'), TEXT), NO_OBJECT, "'no'"),
        (view(LABELS.replace('toName="text"', 'toName="text, b"'), TEXT), NO_OBJECT, "' b'"),
        (view(LABELS, '<Text name="text" value=""/>'), "text-without-data-key", "no value"),
        (view(LABELS, '<Text name="text"/>'), "text-without-data-key", "no value"),
        (view('<Choices name="c" toName="text"/>', TEXT), NO_CONTROL, "<Choices>,"),
        (view(LABELS, TEXT.replace("Text ", "HyperText ")), "hypertext", ""),
        (
            view('<HyperTextLabels name="l" toName="h"/><HyperText name="h" value="$h"/>'),
            "hypertext",
            "",
        ),
        (view(LABELS, TEXT.replace("Text ", "Paragraphs ")), "paragraphs", ""),
        (
            view('<ParagraphLabels name="l" toName="p"/><Paragraphs name="p" value="$p"/>'),
            "paragraphs",
            "",
        ),
        (
            view(
                LABELS.replace('"text"', f'"{",".join(f"t{n}" for n in range(21))}"'),
                *(f'<Text name="t{n}" value="$t{n}"/>' for n in range(21)),
            ),
            "label-config-too-many-texts",
            "21",
        ),
        (f'<View><Repeater on="$u">{REPEATED}</Repeater></View>', REPEATER, ""),
        (f'<View><Repeater on="$u"><View>{REPEATED}</View></Repeater></View>', REPEATER, ""),
        (view(TEXT, f'<repeater on="$u">{LABELS}</repeater>'), REPEATER, ""),
        (view(LABELS, f'<Repeater on="$u">{TEXT}</Repeater>'), REPEATER, ""),
        (view(LABELS, TEXT.replace("$abstract", "abc")), "text-without-data-key", "'abc'"),
        (
            view(LABELS, TEXT.replace("value=", 'valueType="URL" value=')),
            ENCODING,
            "'URL'",
        ),
        (view(LABELS, TEXT.replace("value=", 'encoding="rot13" value=')), ENCODING, "'rot13'"),
        (
            view(LABELS, TEXT.replace("value=", 'valueType="url" encoding="base64" value=')),
            ENCODING,
            "'base64'",
        ),
        (view(LABELS, TEXT.replace("value=", 'resolver="csv" value=')), ENCODING, "'csv'"),
        (view(LABELS.replace("Labels", "x"), TEXT.replace("$abstract", "$a")), NO_CONTROL, "<x>"),
        ("<View>" * 300 + "</View>" * 300, "label-config-not-xml", "depth"),
        ('<?xml version="1.0" encoding="UTF-8" x=">"?><View/>', "label-config-not-xml", ""),
        (
            view('<Labels name="l" toName="text" value="$labels"/>', TEXT),
            "label-config-without-labels",
            "",
        ),
    ],
)
def test_unusable_configs_are_refused_with_advice(xml: str, code: str, value: str) -> None:
    with raises(FormatError, code) as refusal:
        parse_label_config(xml)
    assert value in str(refusal.value)
    assert "<string>" not in str(refusal.value)  # lxml's name of a text without a file


@pytest.mark.parametrize(
    ("xml", "code", "control"),
    [
        (f"<{LONG}></View>", "label-config-not-xml", None),
        (view(LABELS.replace("Labels", LONG), TEXT), NO_CONTROL, None),
        (view(LABELS, TEXT), "label-config-control-not-unique", LONG),
        (view(LABELS, TEXT.replace("value=", f'encoding="{LONG}" value=')), ENCODING, None),
    ],
)
def test_names_in_errors_are_short(xml: str, code: str, control: str | None) -> None:
    with raises(FormatError, code) as refusal:
        parse_label_config(xml, control=control)
    assert len(str(refusal.value)) < 600


def test_files_may_have_xml_declaration_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.xml"
    declared = '<?xml version="1.0" encoding="UTF-8"?>\n' + view(LABELS, TEXT)
    path.write_text(declared, encoding="utf-8-sig")
    assert read_label_config(path) == parse_label_config(view(LABELS, TEXT))


def test_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.xml"
    path.write_bytes(b"<View>\xff</View>")
    with raises(FormatError, "label-config-not-utf8"):
        read_label_config(path)
    path.write_text("<View>")
    with raises(FormatError, "label-config-not-xml") as refusal:
        read_label_config(path)
    assert str(refusal.value).startswith(f"{path}: ")
