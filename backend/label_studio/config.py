"""Labelling config -> control, object, data key and labels, read as Label Studio itself reads it.

Only this file and the doctor import label-studio-sdk's label interface, which takes most of a
second: import them where a labelling config was really given.
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from label_studio_sdk._legacy.exceptions import (
    LabelStudioXMLSyntaxErrorSentryIgnored,
    LSConfigParseException,
)
from label_studio_sdk.label_interface import LabelInterface
from lxml import etree

from tagalong.backend.label_studio.results import HYPERTEXT_ADVICE, LabelConfig, TextEncoding
from tagalong.ner.errors import FormatError

MAX_CONFIG_CHARACTERS = 500_000  # characters; thousands of labels take a tenth of it
MAX_CACHED_CONFIGS = 64  # configs that are not parsed again: the server gets one with every call
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")  # lxml wants text without one
# Nothing of the kind is ever in a labelling config. Looked for in the whole of it, comments too,
# because only a parser knows for sure what is a comment.
DOCTYPE_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
# What XML 1.0 does not allow; among it the zeros of UTF-16 that somebody read as another encoding.
INVALID_XML_CHARACTERS = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
EXAMPLE_CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="Disease"/></Labels><Text .../>'
)
COPY_ADVICE = "copy it from Label Studio's settings"


def read_label_config(path: Path) -> LabelConfig:
    """Read a labelling config from a file.

    Args:
        path: A file with the config.

    Returns:
        What it says about annotating spans of a text.

    Raises:
        FormatError: If it is not text, not XML, or does not say one way to label a ``<Text>``.
    """
    try:
        xml = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: save the labelling config as UTF-8") from error
    try:
        return parse_label_config(xml)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def parse_label_config(xml: str, *, control: str | None = None) -> LabelConfig:
    """Read a labelling config. Parsed once for each text, as long as it is among the last ones.

    Args:
        xml: The config, as Label Studio shows it under Settings, Labeling Interface, Code.
        control: Name of the ``<Labels>`` to use; needed only where several label a ``<Text>``.

    Returns:
        What it says about annotating spans of a text; nothing in it can be changed.

    Raises:
        FormatError: If it is too long, declares a document type or entities, is not XML, or does
            not say exactly one way to label a ``<Text>``.
    """
    return _parse_cached(xml, control)


@lru_cache(maxsize=MAX_CACHED_CONFIGS)
def _parse_cached(xml: str, control: str | None) -> LabelConfig:
    """What `parse_label_config` does."""
    tag = _choose_control(_span_controls(_parse_interface(xml)), control)
    (text,) = (obj for obj in tag.objects if _is_tag(obj, "text"))
    labels = [label.attr for label in tag.labels_attrs.values() if label.value]
    if not labels:
        raise FormatError(
            f"<Labels name={tag.name!r}> has no <Label>: labels that come with the tasks cannot "
            "be learned, so write each one into the labelling config"
        )
    return LabelConfig(
        control=tag.name,
        object=text.name,
        data_key=_data_key(text),
        labels=tuple(_label_name(label) for label in labels),
        names_by_spelling=MappingProxyType(_names_by_spelling(labels)),
        predicted_values=MappingProxyType(_predicted_values(labels)),
        text_encoding=_text_encoding(text),
    )


def _parse_interface(xml: str) -> Any:
    """Parse a config, in two steps: safely, and then as Label Studio does."""
    if len(xml) > MAX_CONFIG_CHARACTERS:
        raise FormatError(
            f"the labelling config has {len(xml):,} characters, and more than {MAX_CONFIG_CHARACTERS:,} are not "
            "read: keep long lists out of it"
        )
    if DOCTYPE_DECLARATION.search(xml):
        raise FormatError(
            "the labelling config declares a document type or entities (<!...>), which is refused "
            "because such a declaration can read files and fill the memory: take it out"
        )
    if INVALID_XML_CHARACTERS.search(xml):
        raise FormatError(
            "the labelling config has characters that XML does not allow: " + COPY_ADVICE
        )
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        # Without comments and processing instructions, which Label Studio's reader trips over.
        tree = etree.fromstring(XML_DECLARATION.sub("", xml).strip(), parser)
        return LabelInterface(etree.tostring(tree, encoding="unicode"))
    except (
        etree.XMLSyntaxError,
        LabelStudioXMLSyntaxErrorSentryIgnored,
        LSConfigParseException,
        ValueError,
    ) as error:
        raise FormatError(f"the labelling config is not XML ({error}): {COPY_ADVICE}") from error


def _is_tag(tag: Any, name: str) -> bool:
    """Whether a tag is called so; Label Studio does not mind the case."""
    return bool(tag.tag.lower() == name)


def _span_controls(interface: Any) -> list[Any]:
    """Every ``<Labels>`` that labels exactly one ``<Text>``."""
    controls = list(interface.controls)
    found = [
        control
        for control in controls
        if _is_tag(control, "labels")
        and [_is_tag(obj, "text") for obj in control.objects] == [True]
    ]
    if found:
        return found
    if any(
        _is_tag(control, "hypertextlabels")
        or (
            _is_tag(control, "labels") and any(_is_tag(obj, "hypertext") for obj in control.objects)
        )
        for control in controls
    ):
        raise FormatError(f"the labelling config labels a <HyperText>: {HYPERTEXT_ADVICE}")
    others = ", ".join(sorted({f"<{control.tag}>" for control in controls})) or "no controls"
    raise FormatError(
        f"the labelling config has {others}, but no <Labels> over a <Text>, such as {EXAMPLE_CONFIG}"
    )


def _choose_control(controls: list[Any], name: str | None) -> Any:
    """The one control that was asked for, or the only one there is."""
    matching = [control for control in controls if name is None or control.name == name]
    if len(matching) != 1:
        names = ", ".join(f"{control.name!r:.60}" for control in controls[:5])
        names += f" and {len(controls) - 5} more" if len(controls) > 5 else ""
        wanted = "" if name is None else f", none of them called {name!r}"
        raise FormatError(
            f"the labelling config has these <Labels> over a <Text>: {names}{wanted}; name one in "
            'the extra params of the ML backend in Label Studio, as {"control": "NAME"}, or, to '
            "read an export, give a config with just the one that is meant"
        )
    return matching[0]


def _data_key(text: Any) -> str:
    """The key of a ``<Text>`` in the tasks' data."""
    if not text.value_is_variable:
        raise FormatError(
            f"<Text name={text.name!r}> shows {text.value!r:.60}, the same for every task: name a "
            'key of the task\'s data, such as value="$text"'
        )
    return str(text.value_name)


def _text_encoding(text: Any) -> TextEncoding:
    """How the tasks' data hold the text of a ``<Text>``; the editor minds the case of values."""
    said = {key.lower(): value for key, value in text.attr.items()}
    kind, encoding = said.get("valuetype", "text"), said.get("encoding", "none")
    match (kind, encoding, said.get("resolver")):
        case ("text", "none", None):
            return "text"
        case ("url", "none", None):
            return "url"
        case ("text", "base64" | "base64unicode", None):
            return "base64" if encoding == "base64" else "base64unicode"
    raise FormatError(
        f"<Text name={text.name!r}> has valueType {kind!r}, encoding {encoding!r} and resolver "
        f"{said.get('resolver', 'none')!r}, which cannot be read together: import plain text, and "
        "leave them out"
    )


def _label_name(label: Mapping[str, str]) -> str:
    """What Label Studio calls a label in results: its alias before its value."""
    return label.get("alias") or label["value"]


def _names_by_spelling(labels: list[Mapping[str, str]]) -> dict[str, str]:
    """Every way to write a label; a name is always itself, even where another's value equals it."""
    names = {_label_name(label): _label_name(label) for label in labels}
    values = {label["value"]: _label_name(label) for label in labels if "value" in label}
    return values | names


def _predicted_values(labels: list[Mapping[str, str]]) -> dict[str, str]:
    """Labels of models, with the one label that claims each in ``predicted_values``."""
    claims = {
        (said.strip(), _label_name(label))
        for label in labels
        for said in label.get("predicted_values", "").split(",")
        if said.strip()
    }
    times = Counter(said for said, _ in claims)
    return {said: name for said, name in sorted(claims) if times[said] == 1}
