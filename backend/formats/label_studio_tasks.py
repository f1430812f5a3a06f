"""What readers of Label Studio's annotations and of its predictions share."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import CONFIG_ADVICE, find_value
from tagalong.ner.errors import FormatError

TASK_SHAPE = '{"id", "data", "annotations"}'


def is_list_of_objects(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a JSON value is a list of nothing but objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def find_only_object(items: Sequence[Mapping[str, Any]], where: str) -> str | None:
    """The ``to_name`` of all results, None without any; raises `FormatError` for several."""
    objects = sorted({str(item["to_name"]) for item in items if "to_name" in item})
    if len(objects) > 1:
        names = ", ".join(repr(name) for name in objects)
        raise FormatError(
            f"{where} has regions in several texts ({names}): {CONFIG_ADVICE}",
            code="task-with-several-objects",
        )
    return objects[0] if objects else None


def is_result_of(item: Mapping[str, Any], texts: Sequence[LabelConfig]) -> bool:
    """Whether a result is of one of these texts, by its ``from_name`` and ``to_name``."""
    names = (item.get("from_name"), item.get("to_name"))
    return any((text.control, text.object) == names for text in texts)


def has_text(data: object, text: LabelConfig) -> bool:
    """Whether the data of a task have a text."""
    return bool(find_value(data, text.data_key) or text.template)
