"""Other projects that go by the same server, and the labels that a promotion would take from them.

What serves is one version for all projects that a server is connected to, but a retraining learns
the labels of one of them, and is judged by its documents alone.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from backend.label_config import parse_label_config
from backend.label_map import map_labels
from backend.label_studio import LabelConfig
from backend.remote.client import LabelStudio
from ner.errors import InputError


@dataclass(frozen=True, slots=True)
class Change:
    """What is to serve instead of what.

    Attributes:
        project: Whose annotations the new version has learnt from.
        version: The one that serves; empty where none does.
        old: Labels that it finds.
        new: Labels that the new one finds.
    """

    project: int
    version: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def gone(self) -> tuple[str, ...]:
        """Labels that the new version does not find, in the order of the old one."""
        return tuple(label for label in self.old if label not in self.new)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another project that goes by the version that serves.

    Attributes:
        project: Its id.
        title: Its title.
        missed: Labels of it that only the old version gives it.
    """

    project: int
    title: str
    missed: tuple[str, ...]


def neighbours_without(studio: LabelStudio, change: Change) -> list[Neighbour]:
    """Find the projects that would get less by a promotion.

    Args:
        studio: The Label Studio; nothing is asked where no label is gone.
        change: What is to serve instead of what.

    Returns:
        Those of the key's projects that a backend serves the old version to, and whose labels only
        the old version gives.

    Raises:
        LabelStudioError: If Label Studio says no.
    """
    if not change.gone:
        return []
    found = []
    for other in studio.projects():
        if other.id == change.project:
            continue
        missed = dict[str, None]()
        for backend in studio.backends.of(other.id):
            # One that is away just now counts by what it served last.
            if backend.model_version == change.version:
                with suppress(InputError):  # of images, or without labels: it gives nothing
                    config = parse_label_config(other.label_config, control=backend.control)
                    missed |= dict.fromkeys(missed_labels(config, change.old, change.new))
        if missed:
            found.append(Neighbour(other.id, other.title, tuple(missed)))
    return found


def missed_labels(config: LabelConfig, old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """The labels of a project that one version gives it and another does not.

    Args:
        config: The project's labelling config.
        old: Labels of the one.
        new: Labels of the other.

    Returns:
        In the project's words, each once, in the order of `old`.
    """
    before, after = (map_labels(labels, config).names.values() for labels in (old, new))
    return tuple(label for label in dict.fromkeys(before) if label not in after)
