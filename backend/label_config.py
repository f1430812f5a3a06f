"""Labelling config -> control, object, data key and labels, read as Label Studio itself reads it.

The only file that imports label-studio-sdk's label interface, which takes most of a second: import
it where a labelling config was really given.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from label_studio_sdk._legacy.exceptions import (
    LabelStudioXMLSyntaxErrorSentryIgnored,
    LSConfigParseException,
)
from label_studio_sdk.label_interface import LabelInterface

from backend.label_studio import HYPERTEXT_ADVICE, LabelConfig
from ner.errors import FormatError

DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")  # lxml wants text without one
EXAMPLE = '<View><Labels name="label" toName="text"><Label value="Disease"/></Labels><Text .../>'


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
    """Read a labelling config.

    Args:
        xml: The config, as Label Studio shows it under Settings, Labeling Interface, Code.
        control: Name of the ``<Labels>`` to use; needed only where several label a ``<Text>``.

    Returns:
        What it says about annotating spans of a text.

    Raises:
        FormatError: If it is not XML, or does not say exactly one way to label a ``<Text>``.
    """
    try:
        interface = LabelInterface(DECLARATION.sub("", xml).strip())
    except (LabelStudioXMLSyntaxErrorSentryIgnored, LSConfigParseException, ValueError) as error:
        raise FormatError(
            f"the labelling config is not XML ({error}): copy it from Label Studio's settings"
        ) from error
    tag = _choose(_span_controls(interface), control)
    (text,) = (obj for obj in tag.objects if _is(obj, "text"))
    labels = [label.attr for label in tag.labels_attrs.values()]
    if not labels:
        raise FormatError(
            f"<Labels name={tag.name!r}> has no <Label>: labels that come with the tasks cannot "
            "be learned, so write each one into the labelling config"
        )
    return LabelConfig(
        control=tag.name,
        object=text.name,
        data_key=_data_key(text),
        labels=tuple(_name(label) for label in labels),
        spellings=_spellings(labels),
    )


def _is(tag: Any, name: str) -> bool:
    """Whether a tag is called so; Label Studio does not mind the case."""
    return bool(tag.tag.lower() == name)


def _span_controls(interface: Any) -> list[Any]:
    """Every ``<Labels>`` that labels exactly one ``<Text>``."""
    controls = list(interface.controls)
    found = [
        control
        for control in controls
        if _is(control, "labels") and [_is(obj, "text") for obj in control.objects] == [True]
    ]
    if found:
        return found
    if any(
        _is(control, "hypertextlabels")
        or (_is(control, "labels") and any(_is(obj, "hypertext") for obj in control.objects))
        for control in controls
    ):
        raise FormatError(f"the labelling config labels a <HyperText>: {HYPERTEXT_ADVICE}")
    others = ", ".join(sorted({f"<{control.tag}>" for control in controls})) or "no controls"
    raise FormatError(
        f"the labelling config has {others}, but no <Labels> over a <Text>, such as {EXAMPLE}"
    )


def _choose(controls: list[Any], name: str | None) -> Any:
    """The one control that was asked for, or the only one there is."""
    matching = [control for control in controls if name is None or control.name == name]
    if len(matching) != 1:
        names = ", ".join(repr(control.name) for control in controls)
        wanted = "" if name is None else f", none of them called {name!r}"
        raise FormatError(
            f"the labelling config has these <Labels> over a <Text>: {names}{wanted}; "
            "give a config with just the one that is meant"
        )
    return matching[0]


def _data_key(text: Any) -> str:
    """The key of a ``<Text>`` in the tasks' data."""
    stored = text.attr.get("valueType") == "url" or text.attr.get("encoding", "none") != "none"
    if stored:
        raise FormatError(
            f"<Text name={text.name!r}> holds a URL or an encoded text, which offsets do not "
            'count: import the plain text, and leave out valueType="url" and encoding'
        )
    if not text.value_is_variable:
        raise FormatError(
            f"<Text name={text.name!r}> shows {text.value!r}, the same for every task: name a key "
            'of the task\'s data, such as value="$text"'
        )
    return str(text.value_name)


def _name(label: Mapping[str, str]) -> str:
    """What Label Studio calls a label in results: its alias before its value."""
    return label.get("alias") or label["value"]


def _spellings(labels: list[Mapping[str, str]]) -> dict[str, str]:
    """Every way to write a label; a name is always itself, even where another's value equals it."""
    names = {_name(label): _name(label) for label in labels}
    values = {label["value"]: _name(label) for label in labels if "value" in label}
    return values | names
