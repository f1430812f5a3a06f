"""Other projects that the current version predicts for, before it is replaced.

All projects of a server share the current version of a tier. A retraining learns from one project
and is evaluated on its documents, so its effect on the other projects is unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.ner.errors import InputError, StateFileError

MAX_LISTED_PROJECTS = 5  # projects named in a message
SetupCounts = Mapping[tuple[str, str], int]
SetupReader = Callable[[], SetupCounts]  # `EventStore.read_setup_order`


@dataclass(frozen=True, slots=True)
class VersionChange:
    """The replacement of the current version by a candidate."""

    project: int  # the retrained one
    tier: str
    version: str  # the current version; empty if there is none
    current_labels: tuple[str, ...]
    new_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AffectedProject:
    """Another project that the current version predicts for."""

    project: int
    title: str
    lost_labels: tuple[str, ...]  # in its names; only the current version predicts them


def find_affected_projects(
    client: LabelStudioClient, read_setups: SetupReader, change: VersionChange
) -> list[AffectedProject]:
    """Find the other projects that a promotion would affect, whatever their labels.

    Label Studio calls ``/setup`` of a project's backends before it lists them. The server records
    the call in the event store of its models folder. So a project whose listing changes the event
    store uses this folder. Versions and addresses cannot show that: servers of two
    folders may both serve the bundled version, and one server may have several addresses.

    Returns:
        The visible projects whose backend uses the folder, the newest first. A backend that is
        down counts if it has ever used the folder. If the event store cannot be read, every
        backend that serves the version counts.

    Raises:
        LabelStudioError: If a request fails or is refused.
    """
    if not change.version:
        return []
    before = _read_setups(read_setups)
    affected = []
    for other in client.list_projects():
        if other.id == change.project:
            continue
        backends = client.ml_backends.list_for_project(other.id)
        if not backends or not _uses_models_folder(
            [(name, change.tier) for name in (other.key, str(other.id))],
            backends,
            change.version,
            before,
            _read_setups(read_setups),
        ):
            continue
        lost = dict[str, None]()  # a dict keeps the order
        for control in [
            one.control_name for one in backends if one.model_version == change.version
        ]:
            with suppress(InputError):  # the server cannot read this config either
                config = parse_label_config(other.label_config, control=control)
                labels = compute_lost_labels(config, change.current_labels, change.new_labels)
                lost |= dict.fromkeys(labels)
        affected.append(AffectedProject(other.id, other.title, tuple(lost)))
    return affected


def _uses_models_folder(
    keys: Sequence[tuple[str, str]],
    backends: Sequence[MLBackend],
    version: str,
    before: SetupCounts | None,
    after: SetupCounts | None,
) -> bool:
    if before is None or after is None:
        return any(backend.model_version == version for backend in backends)
    if any(after.get(key, 0) > before.get(key, 0) for key in keys):
        return True
    # A server that is down records nothing. Its last known version may be outdated, so any counts.
    return any(key in after for key in keys) and not all(
        backend.is_connected for backend in backends
    )


def _read_setups(read: SetupReader) -> SetupCounts | None:
    try:
        return read()
    except StateFileError:
        return None


def compute_lost_labels(
    config: LabelConfig, old: Sequence[str], new: Sequence[str]
) -> tuple[str, ...]:
    """Find the labels, in a project's names, that one version predicts and another does not."""
    before, after = (map_labels(labels, config).project_labels.values() for labels in (old, new))
    return tuple(label for label in dict.fromkeys(before) if label not in after)


def hold_back_reason(
    change: VersionChange, others: Sequence[AffectedProject], candidate: str
) -> str:
    """Explain, without a full stop, why a candidate is not promoted and what the user can do."""
    named = [f"project {other.project} ({other.title})" for other in others[:MAX_LISTED_PROJECTS]]
    if len(others) > MAX_LISTED_PROJECTS:
        named.append(f"{len(others) - MAX_LISTED_PROJECTS} more")
    lost = "".join(
        f"Project {other.project} would lose {_join_names(other.lost_labels)}. "
        for other in others[:MAX_LISTED_PROJECTS]
        if other.lost_labels
    )
    return (
        f"{change.version} also serves {_join_names(named)}, and all projects of a server share "
        f"one version. {lost}Start a second server with its own --models folder for project "
        f"{change.project}, or disconnect the backend from the other projects. To accept the "
        f"change for all of them, run `tagalong models promote {candidate}`"
    )


def _join_names(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
