"""``tagalong prelabel`` on projects of a real Label Studio 1.23.2."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.demo.provision import read_demo_label_config
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import StoredPrediction
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.cli.main import main
from tests.bc5cdr_sentences import sentences
from tests.chaos.prelabel_runs import (
    create_project_with_tasks,
    run_undisturbed,
    run_with_kills,
    start_prelabel,
)
from tests.end_to_end.backend_project import expected_items, places
from tests.end_to_end.offset_texts import TEXTS
from tests.errors import failed

SENTENCES = [document.text for document in sentences(40)]


@dataclass(frozen=True)
class CommandResult:
    """The result of a command."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class PrelabelProject:
    """A project and a function that runs the command on it."""

    client: LabelStudioClient
    project: int
    texts: Mapping[int, str]
    run: Callable[..., CommandResult]

    def stored(self) -> dict[int, list[StoredPrediction]]:
        found: dict[int, list[StoredPrediction]] = {task: [] for task in self.texts}
        for one in self.client.predictions.list_for_project(self.project):
            found.setdefault(one.task, []).append(one)
        return found


@pytest.fixture(scope="module", params=["validation off", "validation on"])
def running(request: pytest.FixtureRequest) -> LabelStudioServer:
    names = {"validation off": "label_studio", "validation on": "validating_label_studio"}
    found: LabelStudioServer = request.getfixturevalue(names[request.param])
    return found


@pytest.fixture
def prelabel(
    running: LabelStudioServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[PrelabelProject]:
    monkeypatch.chdir(tmp_path)  # where the journal goes
    monkeypatch.setenv("LABEL_STUDIO_URL", running.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", running.account.token)
    with running.connect() as client:
        project = create_project_with_tasks(client, [*TEXTS.values(), *SENTENCES[:10]])
        texts = {task.id: task.data["text"] for task in client.tasks.iterate_for_project(project)}

        def run(*arguments: str) -> CommandResult:
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(["prelabel", "--project", str(project), "--rate", "1000", *arguments])
            output = capsys.readouterr()
            code = ended.value.code
            return CommandResult(code if isinstance(code, int) else 0, output.out, output.err)

        yield PrelabelProject(client, project, texts, run)
        client.connection.request_json("DELETE", f"api/projects/{project}/")


def test_each_task_gets_one_prediction(
    prelabel: PrelabelProject, bundled_tagger: DocumentTagger
) -> None:
    result = prelabel.run()
    assert result.code == 0, result.stderr
    expected = expected_items(bundled_tagger, prelabel.texts)
    for task, stored in prelabel.stored().items():
        [one] = stored
        assert one.model_version == bundled_tagger.version
        assert places(one.result) == places(expected[task]["result"])
        assert one.score == pytest.approx(expected[task]["score"], abs=1e-6)
    again = prelabel.run()
    assert "nothing left to do" in again.stdout
    assert {len(stored) for stored in prelabel.stored().values()} == {1}
    assert list(Path().glob("*.journal")) == []
    # A project without a shown version shows this one.
    assert prelabel.client.get_project(prelabel.project).model_version == bundled_tagger.version
    assert f"Annotators see {bundled_tagger.version}" in result.stdout


def test_shown_version_is_kept_without_the_show_option(
    prelabel: PrelabelProject, bundled_tagger: DocumentTagger
) -> None:
    task = min(prelabel.texts)
    other = {"task": task, "result": [], "score": 0.5, "model_version": "older"}
    assert prelabel.client.predictions.add(prelabel.project, [other]) == 1
    prelabel.client.update_project(prelabel.project, model_version="older")
    result = prelabel.run()
    assert f"Annotators still see older: choose {bundled_tagger.version}" in result.stdout
    assert prelabel.client.get_project(prelabel.project).model_version == "older"
    result = prelabel.run("--show")
    assert f"Annotators see {bundled_tagger.version}" in result.stdout
    assert prelabel.client.get_project(prelabel.project).model_version == bundled_tagger.version


def test_dry_run_stores_nothing(prelabel: PrelabelProject) -> None:
    result = prelabel.run("--dry-run", "--cost-per-hour", "2")
    assert f"{len(prelabel.texts)} documents" in result.stdout
    assert "$0.00" in result.stdout
    assert {len(stored) for stored in prelabel.stored().values()} == {0}
    assert list(Path().glob("*.journal")) == []


def test_unlabeled_option_skips_annotated_tasks(prelabel: PrelabelProject) -> None:
    first, *others = prelabel.texts
    path = f"api/tasks/{first}/annotations/?project={prelabel.project}"
    prelabel.client.connection.request_json("POST", path, body={"result": [], "lead_time": 1.0})
    prelabel.run("--unlabeled")
    counts = {task: len(stored) for task, stored in prelabel.stored().items()}
    assert counts == {first: 0, **dict.fromkeys(others, 1)}


def test_view_option_predicts_tasks_of_a_tab(prelabel: PrelabelProject) -> None:
    some = list(prelabel.texts)[2:5]
    filters = [
        {"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": task}
        for task in some
    ]
    data = {"title": "Some", "filters": {"conjunction": "or", "items": filters}}
    view = prelabel.client.connection.request_json(
        "POST", "api/dm/views/", body={"project": prelabel.project, "data": data}
    )
    prelabel.run("--view", str(view["id"]))
    counts = {task: len(stored) for task, stored in prelabel.stored().items()}
    assert counts == {task: int(task in some) for task in prelabel.texts}


def test_unreadable_task_is_named_and_others_are_predicted(prelabel: PrelabelProject) -> None:
    bad = add_unreadable_task(prelabel)
    result = prelabel.run("--json")
    assert f"task {bad} has nothing under" in result.stdout
    assert {len(prelabel.stored()[task]) for task in prelabel.texts} == {1}


def test_killed_and_restarted_batch_has_the_same_predictions(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    texts = [f"{text} {number}" for number, text in enumerate(SENTENCES * 5)]
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    expected, seconds = run_undisturbed(label_studio, texts, tmp_path / "one")
    assert set(expected.count.values()) == {1}
    found = run_with_kills(
        label_studio,
        texts,
        tmp_path / "other",
        chance=random.Random(4),
        seconds=seconds,
        kills=3,
    )
    assert found.kills > 0
    assert found.equals(expected)


def test_label_studio_outage_is_survived(
    start_another: Callable[[Mapping[str, str]], LabelStudioServer], tmp_path: Path
) -> None:
    with start_another({}) as running, running.connect() as client:
        project = create_project_with_tasks(client, SENTENCES * 5)
        process = start_prelabel(running, project, tmp_path)
        journal = tmp_path / "batch.journal"
        while process.poll() is None and not journal.exists():
            time.sleep(0.05)
        stopped = running.process
        signal_group(stopped.pid, signal.SIGSTOP)  # connections stay open without answers
        time.sleep(2)
        signal_group(stopped.pid, signal.SIGCONT)
        _, output = process.communicate()
        assert process.returncode == 0, output
        stored = client.predictions.list_for_project(project)
        assert len({one.task for one in stored}) == len(stored) == len(SENTENCES * 5)


def signal_group(group: int, number: int) -> None:
    """Send a signal to Label Studio and its child processes."""
    os.killpg(group, number)


def test_errors_are_one_sentence(
    prelabel: PrelabelProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error_of(*arguments: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            result = prelabel.run(*arguments)
        assert result.code == 1
        assert "Traceback" not in result.stderr
        return " ".join(result.stderr.split())

    failed(error_of(LABEL_STUDIO_API_KEY="f" * 40), "label-studio-key")
    failed(error_of(LABEL_STUDIO_URL="http://127.0.0.1:9"), "label-studio-unreachable")
    failed(error_of("--project", "999999"), "label-studio-missing")
    genes = '<View><Labels name="l" toName="t"><Label value="Gene"/></Labels><Text name="t" value="$text"/></View>'  # noqa: E501
    prelabel.client.connection.request_json(
        "PATCH", f"api/projects/{prelabel.project}/", body={"label_config": genes}
    )
    error = error_of()
    failed(error, "config-without-model-labels")
    assert "Gene" in error
    prelabel.client.connection.request_json(
        "PATCH",
        f"api/projects/{prelabel.project}/",
        body={"label_config": read_demo_label_config()},
    )


def test_journal_of_another_project_is_refused(prelabel: PrelabelProject, tmp_path: Path) -> None:
    other = create_project_with_tasks(prelabel.client, ["Naloxone.", "to be nothing"])
    bad = max(task.id for task in prelabel.client.tasks.iterate_for_project(other))
    remove_text(prelabel, bad)
    journal = str(tmp_path / "j")
    assert (
        prelabel.run("--project", str(other), "--journal", journal).code == 0
    )  # the failed task keeps the journal
    result = prelabel.run("--journal", journal)
    assert result.code == 1
    assert "is of another source, project" in result.stderr
    prelabel.client.connection.request_json("DELETE", f"api/projects/{other}/")


def add_unreadable_task(prelabel: PrelabelProject) -> int:
    [bad] = prelabel.client.tasks.add(prelabel.project, [{"data": {"text": "to be nothing"}}])
    remove_text(prelabel, bad)
    return bad


def remove_text(prelabel: PrelabelProject, task: int) -> None:
    prelabel.client.connection.request_json(
        "PATCH", f"api/tasks/{task}/", body={"data": {"text": None}}
    )


def test_deleted_predictions_and_edited_tasks_are_predicted_again(
    prelabel: PrelabelProject, bundled_tagger: DocumentTagger
) -> None:
    add_unreadable_task(prelabel)
    assert prelabel.run().code == 0
    before = prelabel.stored()
    first, second, *others = prelabel.texts
    prelabel.client.predictions.remove(before[first][0].id)
    edited = f"As was said, {prelabel.texts[second]}"
    path = f"api/tasks/{second}/"
    prelabel.client.connection.request_json("PATCH", path, body={"data": {"text": edited}})
    assert prelabel.run().code == 0
    stored = prelabel.stored()
    expected = expected_items(bundled_tagger, {**prelabel.texts, second: edited})
    for task in prelabel.texts:
        [one] = stored[task]
        assert places(one.result) == places(expected[task]["result"])
    assert all(stored[task] == before[task] for task in others)


def test_finished_journal_accepts_a_changed_labelling_config(prelabel: PrelabelProject) -> None:
    def change(config: str) -> None:
        path = f"api/projects/{prelabel.project}/"
        prelabel.client.connection.request_json("PATCH", path, body={"label_config": config})

    add_unreadable_task(prelabel)
    assert prelabel.run().code == 0
    change(read_demo_label_config().replace("</Labels>", '<Label value="Gene"/></Labels>'))
    before = prelabel.stored()
    result = prelabel.run()
    assert result.code == 0
    assert "done before" in result.stderr
    assert prelabel.stored() == before


def test_deleted_project_ends_the_batch_in_one_sentence(prelabel: PrelabelProject) -> None:
    gone = create_project_with_tasks(prelabel.client, SENTENCES)
    prelabel.client.connection.request_json("DELETE", f"api/projects/{gone}/")
    result = prelabel.run("--project", str(gone))
    assert result.code == 1
    assert "has no api/projects/" in result.stderr
