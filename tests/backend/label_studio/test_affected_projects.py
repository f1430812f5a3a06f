"""The other projects that the promotion of one project's version would affect."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.events.store import EventStore
from tagalong.backend.label_studio.affected_projects import (
    AffectedProject,
    VersionChange,
    compute_lost_labels,
    find_affected_projects,
    hold_back_reason,
)
from tagalong.backend.label_studio.api.objects import MLBackend, Project
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.storage.project_key import ProjectKey


def config(*labels: str) -> str:
    return (
        f'<View><Labels name="label" toName="text">{"".join(labels)}</Labels>'
        '<Text name="text" value="$text"/></View>'
    )


DRUG = '<Label value="Drug" predicted_values="Chemical"/>'
CHEMICAL, DISEASE, GENE = (f'<Label value="{name}"/>' for name in ("chemical", "Disease", "Gene"))


@pytest.mark.parametrize(
    ("labels", "new", "missed"),
    [
        ((CHEMICAL, DISEASE), ("Gene",), ("chemical", "Disease")),
        ((CHEMICAL, DISEASE), ("Disease", "Gene"), ("chemical",)),
        ((CHEMICAL, DISEASE), ("Disease", "CHEMICAL"), ()),  # which differs by case alone
        ((DRUG, DISEASE), ("Disease", "Gene"), ("Drug",)),  # in the project's words
        ((DRUG, DISEASE), ("Disease", "Drug"), ()),
        ((GENE,), ("Gene",), ()),  # the old version gave it nothing
        ((GENE,), ("Chemical",), ()),
    ],
)
def test_project_loses_labels_of_only_the_old_version(
    labels: tuple[str, ...], new: tuple[str, ...], missed: tuple[str, ...]
) -> None:
    found = parse_label_config(config(*labels))
    assert compute_lost_labels(found, ("Chemical", "Disease"), new) == missed


CREATED, SECONDS = "2026-11-22T20:13:55.5Z", 1795378435
OURS = {"id": 1, "title": "Ours", "label_config": config(DISEASE), "show_collab_predictions": True}
OURS["created_at"] = CREATED
IMAGES = (
    '<View><Choices name="c" toName="i"><Choice value="x"/></Choices>'
    '<Image name="i" value="$i"/></View>'
)
CHANGE = VersionChange(
    1, "encoder", "v1", current_labels=("Disease", "Chemical"), new_labels=("Chemical",)
)


class FakeLabelStudio:
    """Lists projects; a listing calls ``/setup`` of the project's backends, as Label Studio does.

    `here` has the projects whose backend is a running server of the journal's folder.
    """

    def __init__(self, journal: EventStore, *, here: tuple[int, ...] = (), tier: str = "encoder"):
        self.journal, self.here, self.tier = journal, here, tier
        self.known = [Project.from_json(OURS)]
        self.connected: dict[int, MLBackend] = {}
        self.ml_backends = self

    def add(
        self, project: int, *, label_config: str = "", version: str = "v1", state: str = "CO"
    ) -> None:
        own = {"id": project, "title": f"P{project}", "label_config": label_config or config(GENE)}
        self.known.insert(0, Project.from_json({**OURS, **own}))
        self.connected[project] = MLBackend.from_json(
            {
                "id": 10 + project,
                "project": project,
                "url": f"http://host{project}:9090",
                "state": state,
                "is_interactive": True,
                "model_version": version,
            }
        )

    def list_projects(self) -> list[Project]:
        return self.known

    def list_for_project(self, project: int) -> list[MLBackend]:
        if project in self.here:
            self.journal.write_extra_params(ProjectKey(project, SECONDS), self.tier, {})
        return [self.connected[project]] if project in self.connected else []


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[EventStore]:
    journal = EventStore(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def found(label_studio: Any, journal: EventStore, change: VersionChange = CHANGE) -> list[int]:
    return [
        one.project
        for one in find_affected_projects(label_studio, journal.read_setup_order, change)
    ]


@pytest.mark.parametrize("label_config", [config(DISEASE), config(CHEMICAL), config(GENE), IMAGES])
def test_served_project_is_found_with_any_labels(journal: EventStore, label_config: str) -> None:
    label_studio: Any = FakeLabelStudio(journal, here=(1, 2))
    label_studio.add(2, label_config=label_config)
    label_studio.connected[1] = label_studio.connected[
        2
    ]  # the retrained project itself does not count
    missed = ("Disease",) if label_config == config(DISEASE) else ()
    assert find_affected_projects(label_studio, journal.read_setup_order, CHANGE) == [
        AffectedProject(2, "P2", missed)
    ]


def test_project_with_unchanged_labels_is_affected(journal: EventStore) -> None:
    label_studio = FakeLabelStudio(journal, here=(2,))
    label_studio.add(2, label_config=config(CHEMICAL, DISEASE))
    superset = VersionChange(
        1, "encoder", "v1", current_labels=("Disease",), new_labels=("Disease", "Chemical", "Gene")
    )
    assert found(label_studio, journal, superset) == [2]


def test_deleted_and_disconnected_projects_are_not_affected(journal: EventStore) -> None:
    label_studio = FakeLabelStudio(journal, here=(2, 3))
    for project in (2, 3):
        label_studio.add(project)
    assert found(label_studio, journal) == [3, 2]
    del label_studio.connected[2]  # the backend was removed
    del label_studio.known[0]  # project 3 was deleted
    assert found(label_studio, journal) == []


def test_server_of_another_folder_is_not_affected(
    journal: EventStore,
) -> None:
    label_studio = FakeLabelStudio(journal, here=(2,))
    label_studio.add(2)
    label_studio.add(3)
    assert found(label_studio, journal) == [2]
    label_studio.here = ()  # project 2 has moved to another server as well
    assert found(label_studio, journal) == []


def test_other_tier_of_the_server_is_not_affected(journal: EventStore) -> None:
    label_studio = FakeLabelStudio(journal, here=(2,), tier="llm")
    label_studio.add(2)
    assert found(label_studio, journal) == []
    assert found(label_studio, journal, replace(CHANGE, tier="llm")) == [2]


def test_stopped_server_of_the_folder_is_affected(journal: EventStore) -> None:
    label_studio = FakeLabelStudio(journal, here=(2,))
    label_studio.add(2, state="DI", version="an earlier one")
    label_studio.add(3, state="DI")
    label_studio.list_for_project(2)
    label_studio.here = ()
    assert found(label_studio, journal) == [2]


def test_without_event_store_every_backend_of_the_version_is_affected(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").mkdir()
    unreadable = EventStore(tmp_path / "journal.sqlite")
    label_studio = FakeLabelStudio(unreadable)
    label_studio.add(2)
    label_studio.add(3, version="v0")
    assert found(label_studio, unreadable) == [2]


def test_no_request_without_served_version(journal: EventStore) -> None:
    assert found(None, journal, replace(CHANGE, version="")) == []


def test_reason_names_projects_and_remedies() -> None:
    others = [AffectedProject(2, "Two", ("Disease", "Drug")), AffectedProject(3, "Three", ())]
    reason = hold_back_reason(CHANGE, others, "project-1-x")
    assert reason.startswith("v1 also serves project 2 (Two) and project 3 (Three), and all")
    assert reason.count("Project 2 would lose Disease and Drug. ") == 1
    assert reason.endswith("run `tagalong models promote project-1-x`")
    many = hold_back_reason(CHANGE, [AffectedProject(n, "T", ()) for n in range(2, 10)], "c")
    assert [f"project {n} (T)" in many for n in range(2, 10)] == [n < 7 for n in range(2, 10)]
    assert "lose" not in many
