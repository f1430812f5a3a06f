"""The commands `tagalong models`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tagalong.backend.events.store import EventStore
from tagalong.backend.storage.assignments import assign_model, read_assignments
from tagalong.backend.storage.model_store import ModelStore
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.backend.storage.state_dir import event_store_path
from tagalong.cli.model_tables import list_versions, row_to_json
from tagalong.cli.models import app
from tagalong.ner.errors import RegistryError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import Manifest
from tests.errors import assert_error
from tests.versions import publish_number

Publish = Callable[..., Manifest]


@pytest.fixture(autouse=True)
def nothing_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the bundled version, so that only published ones are listed."""
    monkeypatch.setattr(
        "tagalong.backend.bundled.BUNDLED_MODELS_FOLDER", tmp_path / "nothing-bundled"
    )


@pytest.fixture
def shipped(tmp_path: Path) -> str:
    """Replace the bundled version by a small one."""
    bundled = ModelStore(tmp_path / "nothing-bundled")
    version = publish_number(bundled, 9, name="shipped").version
    bundled.promote("encoder", version)
    return version


def run_models(
    store: ModelStore, *arguments: str, typed: str | None = None, width: int = 200
) -> Result:
    command = [*arguments, "--models", str(store.root)]
    return CliRunner().invoke(app, command, input=typed, env={"COLUMNS": str(width)})


def output(store: ModelStore, *arguments: str) -> str:
    result = run_models(store, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def answer(store: ModelStore, *arguments: str) -> Any:
    return json.loads(output(store, *arguments, "--json"))


def line_of(shown: str, version: str) -> list[str]:
    """The cells of a version's row."""
    (line,) = [line for line in shown.splitlines() if version in line]
    return line.split()


def test_list_shows_scores_and_marks_the_current_version(
    store: ModelStore, publish: Publish
) -> None:
    old, new = publish(1), publish(2)
    store.promote("encoder", new.version)
    shown = output(store, "list")
    scores = ["dev", "0.840", "0.880", "0.810", "0.700"]
    assert line_of(shown, old.version) == [f"encoder/{old.version}", *scores]
    assert line_of(shown, new.version) == ["current", f"encoder/{new.version}", *scores]


@pytest.mark.parametrize(
    ("scores", "cells"),
    [
        ({}, ["-", "-", "-", "-", "-"]),
        ({"dev": {}}, ["dev", "-", "-", "-", "-"]),
        ({"dev": {"strict_f1": 1}}, ["dev", "1.000", "-", "-", "-"]),
        ({"dev": {"strict_f1": "?", "by_length": [1]}}, ["dev", "-", "-", "-", "-"]),
        ({"dev": {"strict_f1": None, "by_length": {"2": 0.5}}}, ["dev", "-", "-", "0.500", "-"]),
        ({"dev": 0.3, "folds": {"strict_f1": 0.25}}, ["folds", "0.250", "-", "-", "-"]),
        ({"dev": {"strict_f1": 0.2}, "test": {"strict_f1": 0.1}}, ["test", "0.100", "-", "-", "-"]),
    ],
)
def test_list_shows_the_available_scores(
    store: ModelStore, publish: Publish, scores: dict[str, Any], cells: list[str]
) -> None:
    published = publish(scores=scores)
    assert line_of(output(store, "list"), published.version)[1:] == cells


def test_list_as_json(store: ModelStore, publish: Publish) -> None:
    old, new = publish(1, name="b"), publish(2, name="a")
    store.promote("encoder", old.version)
    listed = answer(store, "list")
    assert {row["version"]: row["current"] for row in listed["versions"]} == {
        old.version: True,
        new.version: False,
    }
    assert listed["versions"][0]["scores"]["dev"]["strict_f1"] == 0.84
    assert listed["notes"] == []


def test_bundled_versions_are_listed_last_and_marked(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    shipped = publish(1)
    store.promote("encoder", shipped.version)
    own = ModelStore(tmp_path / "own", bundled_root=store.root)
    with own.staging_folder("encoder") as folder:
        for name in shipped.files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes((store.resolve("encoder") / name).read_bytes())
        own.publish(folder, shipped)
    rows = [row_to_json(row) for row in list_versions(own)[0]]
    assert [(row["bundled"], row["current"]) for row in rows] == [(False, False), (True, True)]
    own.promote("encoder", shipped.version)
    rows = [row_to_json(row) for row in list_versions(own)[0]]
    assert [(row["bundled"], row["current"]) for row in rows] == [(False, True), (True, False)]


def test_damaged_versions_are_marked_and_others_listed(store: ModelStore, publish: Publish) -> None:
    good, bad = publish(1), publish(2)
    (store.resolve(bad.version) / "manifest.json").write_text("{")
    result = run_models(store, "list")
    assert result.exit_code == 0
    assert line_of(result.stdout, good.version)[2] == "0.840"
    assert line_of(result.stdout, bad.version)[1] == "unreadable"
    assert "cannot be read" in result.stderr
    assert len(answer(store, "list")["notes"]) == 1


def test_missing_or_unreadable_current_version_is_noted(
    store: ModelStore, publish: Publish
) -> None:
    removed, remaining = publish(1), publish(2)
    store.promote("encoder", removed.version)
    store.resolve(removed.version).rename(store.root.parent / "elsewhere")
    [note] = answer(store, "list")["notes"]
    assert removed.version in note
    (store.model_folder("encoder") / "current").write_text("{")
    listed = answer(store, "list")
    assert listed["notes"][0].endswith("`tagalong models promote`")
    assert [row["version"] for row in listed["versions"]] == [remaining.version]


def test_empty_store_is_reported(store: ModelStore) -> None:
    assert list_versions(store) == ([], [])
    assert not store.root.exists()


def test_show_prints_everything_and_verifies(store: ModelStore, publish: Publish) -> None:
    version = publish().version
    shown = output(store, "show", version)
    for part in (version, "temperature", "1.3", "strict_f1", "verified", "train.jsonl", "epochs"):
        assert part in shown
    (store.resolve(version) / "tokenizer.json").unlink()
    assert isinstance(run_models(store, "show", version).exception, VersionInvalid)


def test_show_as_json_is_the_manifest(store: ModelStore, publish: Publish) -> None:
    published = publish()
    store.promote("encoder", published.version)
    shown = answer(store, "show")
    assert Path(shown.pop("path")) == store.resolve("encoder")
    assert Manifest.from_json(shown, "shown") == published


def test_promote_and_roll_back(store: ModelStore, publish: Publish) -> None:
    one, two = publish(1).version, publish(2).version
    assert f"{one} is the current version of encoder now" in output(store, "promote", one)
    assert answer(store, "promote", f"encoder/{two}") == {"model": "encoder", "version": two}
    assert store.promoted_version("encoder") == two
    assert f"{one} is the current version of encoder again" in output(store, "rollback")
    assert store.promoted_version("encoder") == one
    assert "encoder has no current version any more" in output(store, "rollback", "encoder")
    assert isinstance(run_models(store, "rollback", "encoder").exception, RegistryError)


def test_ways_back_to_the_bundled_version(
    store: ModelStore, publish: Publish, shipped: str
) -> None:
    own = publish(1).version
    for back in (["rollback"], ["promote", "bundled"], ["promote", shipped]):
        output(store, "promote", own)
        assert f"{shipped} (bundled) is the current version of encoder" in output(store, *back)
        listed = output(store, "list")
        assert line_of(listed, own)[0] == f"encoder/{own}"
        assert line_of(listed, shipped)[:2] == ["current,", "bundled"]
        assert answer(store, "show")["version"] == shipped
        assert answer(store, "show", "encoder")["version"] == shipped
    output(store, "promote", own)
    listed = output(store, "list")
    assert line_of(listed, own)[0] == "current"
    assert line_of(listed, shipped)[0] == "bundled"
    assert answer(store, "promote", "bundled") == {"model": "encoder", "version": shipped}
    assert f"{own} is the current version of encoder again" in output(store, "rollback")


def test_first_llm_is_rolled_back_to_none(
    store: ModelStore, publish: Publish, shipped: str
) -> None:
    version = publish(1, tier="llm").version
    output(store, "promote", f"llm/{version}")
    refused = run_models(store, "remove", f"llm/{version}", "--yes")
    assert "roll back first" in str(refused.exception)
    assert answer(store, "rollback", "llm") == {"model": "llm", "version": None}
    output(store, "remove", f"llm/{version}", "--yes")
    assert store.version_names("llm") == []
    assert shipped in output(store, "list")


def test_bundled_version_cannot_be_removed(store: ModelStore, shipped: str) -> None:
    for name in ("bundled", shipped):
        refused = run_models(store, "remove", name, "--yes")
        assert isinstance(refused.exception, RegistryError)
        assert_error(refused.exception, "bundled-version-not-removable")
    assert shipped in output(store, "list")


def test_remove_asks_for_confirmation(store: ModelStore, publish: Publish) -> None:
    one, two = publish(1).version, publish(2).version
    store.promote("encoder", one)
    assert run_models(store, "remove", two, typed="n\n").exit_code == 1
    assert run_models(store, "remove", two, typed="").exit_code == 1
    assert two in store.version_names("encoder")
    assert run_models(store, "remove", two, typed="y\n").exit_code == 0
    assert store.version_names("encoder") == [one]
    assert isinstance(run_models(store, "remove", one, "--yes").exception, RegistryError)
    assert store.version_names("encoder") == [one]


@pytest.mark.parametrize("command", [["promote"], ["remove", "--yes"]])
def test_only_versions_of_the_store_are_changed(
    store: ModelStore, publish: Publish, tmp_path: Path, command: list[str]
) -> None:
    version = publish().version
    store.resolve(version).rename(tmp_path / "copy")
    result = run_models(store, *command, str(tmp_path / "copy"))
    assert isinstance(result.exception, VersionNotFound)
    assert_error(result.exception, "version-outside-store")
    assert (tmp_path / "copy" / "manifest.json").is_file()


def test_path_into_the_store_names_its_version(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish().version
    monkeypatch.chdir(store.root)
    output(store, "promote", f"./encoder/{version}")
    assert store.promoted_version("encoder") == version


def test_store_from_the_environment(store: ModelStore, publish: Publish) -> None:
    version = publish().version
    environment = {"TAGALONG_MODELS": str(store.root), "COLUMNS": "200"}
    assert version in CliRunner().invoke(app, ["list"], env=environment).stdout


def test_narrow_pipe_gets_all_values_without_colours(store: ModelStore, publish: Publish) -> None:
    version = publish(name="pubmedbert-large").version
    result = run_models(store, "list", width=80)
    assert line_of(result.stdout, version)[1:] == ["dev", "0.840", "0.880", "0.810", "0.700"]
    narrow = run_models(store, "list", width=50).stdout
    assert "0.840  0.880  0.810  0.700" in narrow
    assert "…" not in narrow
    assert "\x1b" not in result.stdout


@pytest.fixture
def main_app() -> Any:
    from tagalong.cli.main import app as whole

    return whole


def run_main(main_app: Any, store: ModelStore, *arguments: str) -> Result:
    environment = {"LABEL_STUDIO_URL": None, "LABEL_STUDIO_API_KEY": None, "COLUMNS": "200"}
    return CliRunner().invoke(
        main_app, ["models", *arguments, "--models", str(store.root)], env=environment
    )


class TestAssign:
    """`tagalong models assign`."""

    def test_model_is_assigned_shown_and_taken_back(
        self, main_app: Any, store: ModelStore, publish: Publish
    ) -> None:
        version = publish(1, model="cardiology").version
        assign = ("assign", "cardiology", "--project", "3.1795354311")
        done = run_main(main_app, store, *assign)
        assert "cardiology serves project 3.1795354311 now" in done.stdout
        assert "has no current version" in done.stderr
        store.promote("cardiology", version)
        again = json.loads(run_main(main_app, store, *assign, "--json").stdout)
        assert (again["before"], again["fault"]) == ("cardiology", None)
        assert read_assignments(store.root) == {"3.1795354311": {"encoder": "cardiology"}}
        assert "Project 3.1795354311: cardiology." in output(store, "list")
        assert answer(store, "list")["assignments"] == read_assignments(store.root)
        back = run_main(main_app, store, "assign", "encoder", "--project", "3.1795354311")
        assert "in place of cardiology" in back.stdout
        assert read_assignments(store.root) == {}

    def test_time_of_creation_comes_from_the_records_of_the_server(
        self, main_app: Any, store: ModelStore, publish: Publish
    ) -> None:
        store.promote("cardiology", publish(1, model="cardiology").version)
        assign = ("assign", "cardiology", "--project", "3")
        assert_error(run_main(main_app, store, *assign).exception, "project-key-unknown")
        events = EventStore(event_store_path(store.root))
        events.write_extra_params(ProjectKey(3, 1795354311), "encoder", None)
        assert run_main(main_app, store, *assign).exit_code == 0
        assert list(read_assignments(store.root)) == ["3.1795354311"]
        events.write_extra_params(ProjectKey(3, 1795378436), "encoder", None)
        events.close()
        assert_error(run_main(main_app, store, *assign).exception, "project-key-unknown")

    @pytest.mark.parametrize(
        ("model", "project", "code"),
        [
            ("missing", "3.1795354311", "model-unknown"),
            ("../x", "3.1795354311", "name-not-safe"),
            ("encoder", "three", "project-id-invalid"),
        ],
    )
    def test_wrong_names_are_refused(
        self, main_app: Any, store: ModelStore, model: str, project: str, code: str
    ) -> None:
        done = run_main(main_app, store, "assign", model, "--project", project)
        assert_error(done.exception, code)
        assert not store.root.exists()


def test_whole_model_is_removed_after_a_question(store: ModelStore, publish: Publish) -> None:
    publish(1, model="cardiology")
    assign_model(store.root, "3.1795354311", "encoder", "cardiology")
    assert run_models(store, "remove", "cardiology", typed="n\n").exit_code == 1
    assert store.models() == ["cardiology"]
    done = run_models(store, "remove", "cardiology", "--yes")
    assert "3.1795354311" in done.stderr
    assert store.models() == []
    assert "there is no model 'cardiology'" in output(store, "list")


def test_copy_in_two_models_is_changed_by_its_full_name_only(
    store: ModelStore, publish: Publish
) -> None:
    version = publish(1).version
    assert publish(1, model="cardiology").version == version
    assert_error(run_models(store, "promote", version).exception, "version-ambiguous")
    done = run_models(store, "promote", f"cardiology/{version}")
    assert "No project is assigned cardiology" in done.stderr
    assert store.promoted_version("encoder") is None
    assert answer(store, "show", version)["version"] == version
