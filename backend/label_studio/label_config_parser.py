"""Parser of labelling configs, with the same result as Label Studio's own.

Only this file and the doctor import the label interface of label-studio-sdk, which takes most of a
second. Import them only where there is a labelling config.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from unicodedata import normalize

from label_studio_sdk._legacy.exceptions import (
    LabelStudioXMLSyntaxErrorSentryIgnored,
    LSConfigParseException,
)
from label_studio_sdk.label_interface import LabelInterface
from lxml import etree

from tagalong.backend.label_studio.label_config import LabelConfig, TextEncoding
from tagalong.backend.label_studio.results import (
    OTHER_OBJECT_ADVICE,
    OTHER_OBJECT_BY_TYPE,
    SPAN_TYPE,
    VARIABLE,
    format_names,
    other_object_error,
)
from tagalong.ner.errors import FormatError

# The editor takes tags and attributes in any case, label-studio-sdk in this one.
USUAL_SPELLINGS = {
    name.lower(): name for name in ("Labels", "Label", "Text", "name", "toName", "value", "alias")
}
MAX_CONFIG_CHARACTERS = 500_000  # thousands of labels take a tenth of it
NORMAL_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
MAX_NAME_CHARACTERS = 1_000  # of a control, an object or a label: each region repeats them
MAX_TEXTS = 20  # of one <Labels>
MAX_CACHED_CONFIGS = 64  # every request to the server brings its config
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")  # lxml refuses it in a str
# Searched in comments too, because only a parser can tell what a comment is.
DOCTYPE_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
# Not allowed in XML 1.0; among them the zeros of UTF-16 decoded as another encoding.
INVALID_XML_CHARACTERS = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
EXAMPLE_CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="Disease"/></Labels><Text .../>'
)
COPY_ADVICE = "copy it from Label Studio's settings"


def read_label_config(path: Path) -> LabelConfig:
    """Read a labelling config from a file; errors of `parse_label_config` name the file."""
    try:
        xml = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not UTF-8: save the labelling config as UTF-8", code="label-config-not-utf8"
        ) from error
    try:
        return parse_label_config(xml)
    except FormatError as error:
        raise FormatError(f"{path}: {error}", code=error.code) from error


@lru_cache(maxsize=MAX_CACHED_CONFIGS)
def parse_label_config(xml: str, *, control: str | None = None) -> LabelConfig:
    """Parse a labelling config, as Label Studio shows it under Labeling Interface, Code.

    Several ``<Labels>`` with the same labels, each over a ``<Text>`` of its own, are used together.
    Of others, `control` names the one to use. The last `MAX_CACHED_CONFIGS` results are cached.

    Raises:
        FormatError: If it or a name is too long, declares a document type or entities, or is not
            XML. If no ``<Labels>`` over a ``<Text>`` can be chosen.
    """
    controls = _choose_controls(_span_controls(*_parse_interface(xml)), control)
    labels = _labels(controls[0])  # the same as of the others
    if not labels:
        raise FormatError(
            f"<Labels name={controls[0].name!r:.60}> has no <Label>: labels that come with the "
            "tasks cannot be learned, so write each one into the labelling config",
            code="label-config-without-labels",
        )
    names_by_spelling = _names_by_spelling(labels)
    texts = [(tag, text) for tag in controls for text in _texts(tag)]
    if len(texts) > MAX_TEXTS:
        raise FormatError(
            f"the labelling config labels {len(texts)} texts, more than {MAX_TEXTS}: import them "
            "as tasks of their own",
            code="label-config-too-many-texts",
        )
    names = [name for tag, text in texts for name in (tag.name, text.name, text.value)]
    longest = max(map(len, (*names, *names_by_spelling)))
    if longest > MAX_NAME_CHARACTERS:
        raise FormatError(
            f"the labelling config has a name of {longest:,} characters, more than "
            f"{MAX_NAME_CHARACTERS:,}: shorten it",
            code="label-config-name-too-long",
        )
    first, *others = (
        LabelConfig(
            control=tag.name,
            object=text.name,
            data_key=_data_key(text),
            labels=tuple(_label_name(label) for label in labels),
            names_by_spelling=MappingProxyType(names_by_spelling),
            predicted_values=MappingProxyType(_predicted_values(labels)),
            text_encoding=_text_encoding(text),
            template=_template(text),
        )
        for tag, text in texts
    )
    return replace(first, other_texts=tuple(others))


def _parse_interface(xml: str) -> tuple[Any, frozenset[str]]:
    # Twice: first safely, then as Label Studio does. The names are those in each <Repeater>.
    if len(xml) > MAX_CONFIG_CHARACTERS:
        raise FormatError(
            f"the labelling config has {len(xml):,} characters, more than "
            f"{MAX_CONFIG_CHARACTERS:,}: keep long lists out of it",
            code="label-config-too-long",
        )
    if DOCTYPE_DECLARATION.search(xml):
        raise FormatError(
            "the labelling config declares a document type or entities (<!...>), which is refused "
            "because such a declaration can read files and fill the memory: take it out",
            code="label-config-with-declaration",
        )
    if INVALID_XML_CHARACTERS.search(xml):
        raise FormatError(
            f"the labelling config has characters that XML does not allow: {COPY_ADVICE}",
            code="label-config-invalid-characters",
        )
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        # Label Studio's parser fails on comments and processing instructions.
        tree = etree.fromstring(XML_DECLARATION.sub("", xml).strip(), parser)
        _use_usual_spellings(tree)
        _check_links(tree)
        repeated = frozenset(
            tag.get("name", "")
            for repeater in tree.iter()
            if repeater.tag.lower() == "repeater"
            for tag in repeater.iter()
        )
        return LabelInterface(etree.tostring(tree, encoding="unicode")), repeated
    except (
        etree.XMLSyntaxError,
        LabelStudioXMLSyntaxErrorSentryIgnored,
        LSConfigParseException,
        ValueError,
    ) as error:
        # lxml's own message, to which a syntax error adds its place once more.
        message = error.msg if isinstance(error, etree.XMLSyntaxError) else str(error)
        raise FormatError(
            f"the labelling config is not XML ({message:.200}): {COPY_ADVICE}",
            code="label-config-not-xml",
        ) from error


def _use_usual_spellings(tree: Any) -> None:
    for tag in tree.iter():
        tag.tag = USUAL_SPELLINGS.get(tag.tag.lower(), tag.tag)
        for name in tag.attrib:
            usual = USUAL_SPELLINGS.get(name.lower(), name)
            if usual not in tag.attrib:
                tag.set(usual, tag.attrib.pop(name))


def _check_links(tree: Any) -> None:
    # Label Studio refuses unknown names too; label-studio-sdk leaves such tags out.
    tags = {tag.get("name"): tag for tag in tree.iter() if tag.get("name")}
    for labels in tree.iter("Labels"):
        where = f"<Labels name={labels.get('name', '')!r:.60}>"
        for name in labels.get("toName", "").split(","):
            if name not in tags:
                raise FormatError(
                    f"{where} has toName={labels.get('toName', '')!r:.60}, and no <Text> is named "
                    f"{name!r:.60}: write the name of the <Text> there, without blanks",
                    code="label-config-without-object",
                )
            if tags[name].tag == "Text" and not tags[name].get("value"):
                raise FormatError(
                    f"<Text name={name!r:.60}> has no value: name a key of the task's data, such "
                    'as value="$text"',
                    code="text-without-data-key",
                )


def _is_tag(tag: Any, name: str) -> bool:
    return bool(tag.tag.lower() == name)  # Label Studio ignores the case of tags


def _span_controls(interface: Any, repeated: frozenset[str]) -> list[Any]:
    # Every <Labels> over at least one <Text>, and no copies of them.
    controls = list(interface.controls)
    labels = [control for control in controls if _is_tag(control, SPAN_TYPE)]
    if found := [
        control
        for control in labels
        if _texts(control) and repeated.isdisjoint((control.name, *control.to_name))
    ]:
        return found
    if any(not repeated.isdisjoint((control.name, *control.to_name)) for control in controls):
        raise FormatError(
            "the labelling config labels texts in a <Repeater>, which are as many as each task "
            "has: import each text as a task, with a <Labels> and a <Text> outside of <Repeater>",
            code="label-config-with-repeater",
        )
    tags = {OTHER_OBJECT_BY_TYPE.get(control.tag.lower()) for control in controls}
    tags |= {obj.tag for control in labels for obj in control.objects}
    for name in OTHER_OBJECT_ADVICE:
        if name.lower() in {str(tag).lower() for tag in tags}:
            raise other_object_error("the labelling config labels a", name)
    others = ", ".join(sorted({f"<{control.tag:.60}>" for control in controls})[:5])
    lacking = f"{others}, but no" if others else "no"
    raise FormatError(
        f"the labelling config has {lacking} <Labels> over a <Text>, such as {EXAMPLE_CONFIG}",
        code="label-config-without-span-control",
    )


def _texts(control: Any) -> list[Any]:
    return [obj for obj in control.objects if _is_tag(obj, "text")]


def _labels(control: Any) -> list[Mapping[str, str]]:
    return [label.attr for label in control.labels_attrs.values() if label.value]


def _choose_controls(controls: list[Any], name: str | None) -> list[Any]:
    matching = [control for control in controls if name is None or control.name == name]
    if len(matching) == 1 or (matching and _are_separate(matching)):
        return matching
    names = format_names([control.name for control in controls])
    missing = "" if name is None else f", none of them called {name!r:.60}"
    raise FormatError(
        f"the labelling config has these <Labels> over a <Text>: {names}{missing}; give each "
        "<Text> one <Labels>, all with the same labels, or name one in the extra params of the ML "
        'backend in Label Studio, as {"control": "NAME"}, or, to read an export, give a config '
        "with only the one to use",
        code="label-config-control-not-unique",
    )


def _are_separate(controls: list[Any]) -> bool:
    # Each has its own texts, and any label of a model is the same label in all.
    times = Counter(text.name for control in controls for text in _texts(control))
    first, *others = (_labels(control) for control in controls)
    return max(times.values()) == 1 and all(
        _names_by_spelling(labels) == _names_by_spelling(first)
        and _predicted_values(labels) == _predicted_values(first)
        for labels in others
    )


def _data_key(text: Any) -> str:
    # The editor shows "$größe" and the like as it is; Label Studio's server knows it as a key.
    if not VARIABLE.search(text.value) and not text.value_is_variable:
        raise FormatError(
            f"<Text name={text.name!r:.60}> shows {text.value!r:.60}, the same for every task: "
            'name a key of the task\'s data, such as value="$text"',
            code="text-without-data-key",
        )
    return str(text.value.removeprefix("$"))


def _template(text: Any) -> str:
    # Empty if the value is one key or path.
    is_template = VARIABLE.search(text.value) and not VARIABLE.fullmatch(text.value)
    return str(text.value) if is_template else ""


def _text_encoding(text: Any) -> TextEncoding:
    # Names of attributes are case-insensitive in the editor, their values are not.
    attributes = {key.lower(): value for key, value in text.attr.items()}
    kind, encoding = attributes.get("valuetype", "text"), attributes.get("encoding", "none")
    match (kind, encoding, attributes.get("resolver")):
        case ("text", "none", None):
            return "text"
        case ("url", "none", None):
            return "url"
        case ("text", "base64" | "base64unicode", None):
            return "base64" if encoding == "base64" else "base64unicode"
    raise FormatError(
        f"<Text name={text.name!r:.60}> has valueType {kind!r:.60}, encoding {encoding!r:.60} and "
        f"resolver {attributes.get('resolver', 'none')!r:.60}, a combination that is not "
        "supported: import plain text, and leave them out",
        code="unsupported-text-encoding",
    )


def _label_name(label: Mapping[str, str]) -> str:
    return label.get("alias") or label["value"]


def _names_by_spelling(labels: list[Mapping[str, str]]) -> dict[str, str]:
    # A name maps to itself, even if it is another label's value.
    names = {_label_name(label): _label_name(label) for label in labels}
    values = {label["value"]: _label_name(label) for label in labels if "value" in label}
    return _add_normal_forms(values | names)


def _add_normal_forms(names: dict[str, str]) -> dict[str, str]:
    # A key that is equivalent to another one in Unicode is the same, unless it has its own name.
    forms = {normalize(form, key): name for form in NORMAL_FORMS for key, name in names.items()}
    return forms | names


def _predicted_values(labels: list[Mapping[str, str]]) -> dict[str, str]:
    # Name by model label, for model labels that exactly one label claims.
    claims = {
        (value.strip(), _label_name(label))
        for label in labels
        for value in label.get("predicted_values", "").split(",")
        if value.strip()
    }
    times = Counter(value for value, _ in claims)
    return _add_normal_forms({value: name for value, name in sorted(claims) if times[value] == 1})
