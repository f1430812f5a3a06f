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
from tagalong.backend.models.tier import Tier
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
class Ran:
    """What a command did."""

    code: int
    out: str
    said: str


@dataclass(frozen=True)
class Bench:
    """A project, and the command on it."""

    studio: LabelStudioClient
    project: int
    texts: Mapping[int, str]
    run: Callable[..., Ran]

    def stored(self) -> dict[int, list[StoredPrediction]]:
        found: dict[int, list[StoredPrediction]] = {task: [] for task in self.texts}
        for one in self.studio.predictions.list_for_project(self.project):
            found.setdefault(one.task, []).append(one)
        return found


@pytest.fixture(scope="module", params=["validation off", "validation on"])
def running(request: pytest.FixtureRequest) -> LabelStudioServer:
    names = {"validation off": "label_studio", "validation on": "validating_label_studio"}
    found: LabelStudioServer = request.getfixturevalue(names[request.param])
    return found


@pytest.fixture
def bench(
    running: LabelStudioServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)  # where the journal goes
    monkeypatch.setenv("LABEL_STUDIO_URL", running.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", running.account.token)
    with running.connect() as studio:
        project = create_project_with_tasks(studio, [*TEXTS.values(), *SENTENCES[:10]])
        texts = {task.id: task.data["text"] for task in studio.tasks.iterate_for_project(project)}

        def run(*arguments: str) -> Ran:
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(["prelabel", "--project", str(project), "--rate", "1000", *arguments])
            said = capsys.readouterr()
            code = ended.value.code
            return Ran(code if isinstance(code, int) else 0, said.out, said.err)

        yield Bench(studio, project, texts, run)
        studio.connection.request_json("DELETE", f"api/projects/{project}/")


def test_every_task_gets_its_prediction_once(bench: Bench, bundled_tier: Tier) -> None:
    ran = bench.run()
    assert ran.code == 0, ran.said
    expected = expected_items(bundled_tier, bench.texts)
    for task, stored in bench.stored().items():
        [one] = stored
        assert one.model_version == bundled_tier.version
        assert places(one.result) == places(expected[task]["result"])
        assert one.score == pytest.approx(expected[task]["score"], abs=1e-6)
    again = bench.run()
    assert "nothing left to do" in again.out
    assert {len(stored) for stored in bench.stored().values()} == {1}
    assert list(Path().glob("*.journal")) == []
    # A project that shows nobody's predictions shows these; one that does is left as it is.
    assert bench.studio.get_project(bench.project).model_version == bundled_tier.version
    assert f"Annotators see {bundled_tier.version}" in ran.out


def test_another_version_stays_shown_unless_told_otherwise(
    bench: Bench, bundled_tier: Tier
) -> None:
    task = min(bench.texts)
    other = {"task": task, "result": [], "score": 0.5, "model_version": "older"}
    assert bench.studio.predictions.add(bench.project, [other]) == 1
    bench.studio.update_project(bench.project, model_version="older")
    ran = bench.run()
    assert f"Annotators still see older: choose {bundled_tier.version}" in ran.out
    assert bench.studio.get_project(bench.project).model_version == "older"
    ran = bench.run("--show")
    assert f"Annotators see {bundled_tier.version}" in ran.out
    assert bench.studio.get_project(bench.project).model_version == bundled_tier.version


def test_a_dry_run_stores_nothing(bench: Bench) -> None:
    ran = bench.run("--dry-run", "--cost-per-hour", "2")
    assert f"{len(bench.texts)} documents" in ran.out
    assert "$0.00" in ran.out
    assert {len(stored) for stored in bench.stored().values()} == {0}
    assert list(Path().glob("*.journal")) == []


def test_only_what_nobody_has_annotated(bench: Bench) -> None:
    first, *others = bench.texts
    path = f"api/tasks/{first}/annotations/?project={bench.project}"
    bench.studio.connection.request_json("POST", path, body={"result": [], "lead_time": 1.0})
    bench.run("--unlabeled")
    counts = {task: len(stored) for task, stored in bench.stored().items()}
    assert counts == {first: 0, **dict.fromkeys(others, 1)}


def test_only_what_a_tab_shows(bench: Bench) -> None:
    some = list(bench.texts)[2:5]
    filters = [
        {"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": task}
        for task in some
    ]
    data = {"title": "Some", "filters": {"conjunction": "or", "items": filters}}
    view = bench.studio.connection.request_json(
        "POST", "api/dm/views/", body={"project": bench.project, "data": data}
    )
    bench.run("--view", str(view["id"]))
    counts = {task: len(stored) for task, stored in bench.stored().items()}
    assert counts == {task: int(task in some) for task in bench.texts}


def test_a_task_that_cannot_be_read_is_named_and_the_rest_goes_on(bench: Bench) -> None:
    [bad] = bench.studio.tasks.add(bench.project, [{"data": {"text": "to be a number"}}])
    bench.studio.connection.request_json("PATCH", f"api/tasks/{bad}/", body={"data": {"text": 7}})
    ran = bench.run("--json")
    assert f"task {bad} has a number under" in ran.out
    assert {len(bench.stored()[task]) for task in bench.texts} == {1}


def test_killed_and_begun_again_it_ends_as_if_nobody_had(
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
    assert found.is_like(expected)


def test_label_studio_goes_and_comes_back(
    start_another: Callable[[Mapping[str, str]], LabelStudioServer], tmp_path: Path
) -> None:
    with start_another({}) as running, running.connect() as studio:
        project = create_project_with_tasks(studio, SENTENCES * 5)
        process = start_prelabel(running, project, tmp_path)
        journal = tmp_path / "batch.journal"
        while process.poll() is None and not journal.exists():
            time.sleep(0.05)
        stopped = running.process
        signal_group(stopped.pid, signal.SIGSTOP)  # connections stand, and nothing answers
        time.sleep(2)
        signal_group(stopped.pid, signal.SIGCONT)
        _, said = process.communicate()
        assert process.returncode == 0, said
        stored = studio.predictions.list_for_project(project)
        assert len({one.task for one in stored}) == len(stored) == len(SENTENCES * 5)


def signal_group(group: int, number: int) -> None:
    """To Label Studio and all that it started."""
    os.killpg(group, number)


def test_what_is_wrong_is_said_in_one_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            ran = bench.run(*arguments)
        assert ran.code == 1
        assert "Traceback" not in ran.said
        return " ".join(ran.said.split())

    failed(said(LABEL_STUDIO_API_KEY="f" * 40), "label-studio-key")
    failed(said(LABEL_STUDIO_URL="http://127.0.0.1:9"), "label-studio-unreachable")
    failed(said("--project", "999999"), "label-studio-missing")
    genes = '<View><Labels name="l" toName="t"><Label value="Gene"/></Labels><Text name="t" value="$text"/></View>'  # noqa: E501
    bench.studio.connection.request_json(
        "PATCH", f"api/projects/{bench.project}/", body={"label_config": genes}
    )
    told = said()
    failed(told, "config-without-model-labels")
    assert "Gene" in told
    bench.studio.connection.request_json(
        "PATCH", f"api/projects/{bench.project}/", body={"label_config": read_demo_label_config()}
    )


def test_a_journal_of_another_project_is_refused(bench: Bench, tmp_path: Path) -> None:
    other = create_project_with_tasks(bench.studio, ["Naloxone.", "to be a number"])
    bad = max(task.id for task in bench.studio.tasks.iterate_for_project(other))
    bench.studio.connection.request_json("PATCH", f"api/tasks/{bad}/", body={"data": {"text": 7}})
    journal = str(tmp_path / "j")
    assert bench.run("--project", str(other), "--journal", journal).code == 0  # keeps it, for one
    ran = bench.run("--journal", journal)
    assert ran.code == 1
    assert "is of another source, project" in ran.said
    bench.studio.connection.request_json("DELETE", f"api/projects/{other}/")


def with_one_that_keeps_the_journal(bench: Bench) -> None:
    [bad] = bench.studio.tasks.add(bench.project, [{"data": {"text": "to be a number"}}])
    bench.studio.connection.request_json("PATCH", f"api/tasks/{bad}/", body={"data": {"text": 7}})


def test_what_was_deleted_or_edited_meanwhile_is_predicted_anew(
    bench: Bench, bundled_tier: Tier
) -> None:
    with_one_that_keeps_the_journal(bench)
    assert bench.run().code == 0
    before = bench.stored()
    first, second, *others = bench.texts
    bench.studio.predictions.remove(before[first][0].id)
    edited = f"As was said, {bench.texts[second]}"
    path = f"api/tasks/{second}/"
    bench.studio.connection.request_json("PATCH", path, body={"data": {"text": edited}})
    assert bench.run().code == 0
    stored = bench.stored()
    expected = expected_items(bundled_tier, {**bench.texts, second: edited})
    for task in bench.texts:
        [one] = stored[task]
        assert places(one.result) == places(expected[task]["result"])
    assert all(stored[task] == before[task] for task in others)


def test_a_journal_goes_on_with_another_labelling_config_where_nothing_waits(bench: Bench) -> None:
    def change(config: str) -> None:
        path = f"api/projects/{bench.project}/"
        bench.studio.connection.request_json("PATCH", path, body={"label_config": config})

    with_one_that_keeps_the_journal(bench)
    assert bench.run().code == 0
    change(read_demo_label_config().replace("</Labels>", '<Label value="Gene"/></Labels>'))
    before = bench.stored()
    ran = bench.run()
    assert ran.code == 0
    assert "documents were done before" in ran.said
    assert bench.stored() == before


def test_a_project_that_is_deleted_ends_the_batch_in_a_sentence(bench: Bench) -> None:
    gone = create_project_with_tasks(bench.studio, SENTENCES)
    bench.studio.connection.request_json("DELETE", f"api/projects/{gone}/")
    ran = bench.run("--project", str(gone))
    assert ran.code == 1
    assert "has no api/projects/" in ran.said
