"""A labelling config once parsed; light to import, unlike its parser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tagalong.ner.errors import FormatError

TextEncoding = Literal[
    "text",  # the text itself
    "url",  # an address of the text
    "base64",  # base64, one character per byte
    "base64unicode",  # base64 of UTF-8
]


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The part of a labelling config that concerns spans of a text."""

    control: str  # name of the <Labels>, the from_name of each region in this text
    object: str  # name of the <Text>, the to_name of each region in this text
    data_key: str  # of the text in a task's data, or a path to it such as a.b[0].c
    # Name of each label: its alias, because Label Studio accepts nothing else in predictions, or
    # its value.
    labels: tuple[str, ...]
    names_by_spelling: Mapping[str, str] = field(hash=False)  # by value and by alias
    # By model label; one that two labels claim is left out.
    predicted_values: Mapping[str, str] = field(default_factory=dict, hash=False)
    text_encoding: TextEncoding = "text"  # of the text in a task's data
    template: str = ""  # such as "$title: $body", if the <Text> shows more than one value
    other_texts: tuple["LabelConfig", ...] = ()  # one for each further <Text>, with the same labels

    @property
    def texts(self) -> tuple["LabelConfig", ...]:
        """One config for each ``<Text>``, in the order of ``<Labels>`` and of ``toName``."""
        return (self, *self.other_texts)


DEFAULT_LABEL_CONFIG = LabelConfig(
    control="label", object="text", data_key="text", labels=(), names_by_spelling={}
)


def require_plain_text(config: LabelConfig) -> None:
    """Raise FormatError if tasks hold the address of a text, which only a project can give."""
    for text in config.texts:
        if text.text_encoding == "url":
            raise FormatError(
                f"<Text name={text.object!r}> holds the address of a text, and an export has no "
                "more: give --project instead of the export, or import the plain text, and leave "
                'out valueType="url"',
                code="text-not-in-task",
            )
