"""Parses the webhook events of Label Studio 1.23 into ids and times.

Actions and payloads: https://labelstud.io/guide/webhook_reference. An event holds an object or its
id, alone or in a list, or neither if the webhook is configured to send no payload.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tagalong.backend.storage.project_key import MAX_ID, TIMESTAMP_PATTERN, ProjectKey

START_TRAINING = "START_TRAINING"  # the train button
ACTIONS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "LABEL_LINK_CREATED",
        "LABEL_LINK_DELETED",
        "LABEL_LINK_UPDATED",
        "PROJECT_CREATED",
        "PROJECT_DELETED",
        "PROJECT_UPDATED",
        START_TRAINING,
        "TASKS_CREATED",
        "TASKS_DELETED",
    }
)
ID_PATTERN = re.compile("[0-9]{1,19}")  # as many as MAX_ID has: int() refuses thousands of digits


@dataclass(frozen=True, slots=True)
class AnnotationRef:
    """An annotation in an event, and the time of its last change as Label Studio writes it."""

    id: int
    updated_at: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event in Label Studio; ids are sorted."""

    action: str
    project: ProjectKey | None = None  # without a creation time if the webhook sends no payload
    tasks: tuple[int, ...] = ()
    annotations: tuple[AnnotationRef, ...] = ()

    @property
    def is_deduplicable(self) -> bool:
        """Whether an equal event is a second delivery of this one.

        Not if the train button is clicked twice; and events of changes of a project do not differ.
        """
        if self.action == "ANNOTATION_UPDATED":  # may happen twice to the same object
            return bool(self.annotations) and all(ref.updated_at for ref in self.annotations)
        return bool(self.tasks or self.annotations)


def parse_event(body: object) -> WebhookEvent | None:
    """Parse the JSON of a webhook request; None if it has no action of Label Studio."""
    action = body.get("action") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(action, str) or action not in ACTIONS:
        return None
    annotations = list(_read_objects(body, "annotation", "annotations"))
    tasks = list(_read_objects(body, "task", "tasks"))
    updated_at = {
        annotation_id: _parse_timestamp(item.get("updated_at"))
        for item in annotations
        if (annotation_id := _parse_id(item.get("id"))) is not None
    }
    task_ids = {_parse_id(item.get("task")) for item in annotations}
    task_ids |= {_parse_id(item.get("id")) for item in tasks}
    projects = body.get("project"), *(item.get("project") for item in (*annotations, *tasks))
    known = (key for value in projects if (key := ProjectKey.parse(value)) is not None)
    return WebhookEvent(
        action=action,
        project=next(known, None),
        tasks=tuple(sorted(task_id for task_id in task_ids if task_id is not None)),
        annotations=tuple(AnnotationRef(*item) for item in sorted(updated_at.items())),
    )


def parse_job_id(value: object) -> int | None:
    """Parse the id of a job, as the webhook's answer gave it; None if it cannot be one."""
    return _parse_id(value)


def _read_objects(body: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    """The objects under these keys; a bare id becomes an object with only that."""
    for key in keys:
        value = body.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield item
            elif item is not None:
                yield {"id": item}


def _parse_id(value: object) -> int | None:
    """Parse a whole number, its digits, or the id of an object."""
    if isinstance(value, dict):
        value = value.get("id")
    if isinstance(value, str):
        value = int(value) if ID_PATTERN.fullmatch(value) else None
    if type(value) is not int:  # not isinstance: True would pass
        return None
    return value if 0 <= value <= MAX_ID else None


def _parse_timestamp(value: object) -> str | None:
    """Check a time; no other text may get into the store."""
    return value if isinstance(value, str) and TIMESTAMP_PATTERN.fullmatch(value) else None
