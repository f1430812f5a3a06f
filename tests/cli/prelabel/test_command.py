"""The command `tagalong prelabel` on files."""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.batch.files import PredictionsFileSink
from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.storage.assignments import assign_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.main import main
from tests.backend.batch.fake_label_studio import FakeLabelStudio, connect_project
from tests.bc5cdr_sentences import sentences
from tests.errors import failed
from tests.forked_process import ForkedProcess, run_forked
from tests.lexicon_tagger import LexiconTagger
from tests.llm_versions import publish_llm_version
from tests.swapped_labels import publish_swapped
from tests.tiny_bases import CORPUS
from tests.tiny_llms import save_llm
from tests.versions import publish_number

TEXTS = [document.text for document in sentences(40)]

# In a background job, Ctrl-C is ignored.
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from tagalong.cli.main import main; main(sys.argv[1:])"
)


def command(source: Path, out: Path, *options: str) -> list[str]:
    return ["prelabel", str(source), "--out", str(out), "--models", str(out.parent / "m"), *options]


def start_command(*arguments: str) -> ForkedProcess:
    return ForkedProcess("-c", MAIN, *arguments)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run the command; returns stdout and stderr."""
    if code:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert ended.value.code == code
    else:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert not ended.value.code
    captured = capsys.readouterr()
    return captured.out, captured.err


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A file of Label Studio tasks for several chunks."""
    path = tmp_path / "tasks.json"
    texts = [f"{text} {number}" for number, text in enumerate(TEXTS * 4)]
    path.write_text(json.dumps([{"id": n + 7, "data": {"text": t}} for n, t in enumerate(texts)]))
    return path


@pytest.mark.slow
def test_batch_killed_three_times_has_the_same_output(tasks: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out.jsonl", tmp_path / "undisturbed.jsonl"
    journal = tmp_path / "out.jsonl.journal"
    run_forked("-m", "tagalong", *command(tasks, other), check=True)
    chance = random.Random(5)
    for _ in range(3):
        process = start_command(*command(tasks, out))
        while process.poll() is None and not journal.exists():
            time.sleep(0.02)
        time.sleep(0.5 * chance.random())
        process.kill()
        process.communicate()
        assert not out.exists() or process.returncode == 0
    done = start_command(*command(tasks, out))
    done.communicate()
    assert done.returncode == 0
    assert out.read_bytes() == other.read_bytes()
    assert not journal.exists()
    assert [line["id"] for line in lines_of(out)] == [str(n + 7) for n in range(160)]


@pytest.mark.slow
def test_ctrl_c_message_explains_resuming(tasks: Path, tmp_path: Path) -> None:
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal"
    process = start_command(*command(tasks, out))
    while process.poll() is None and not journal.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr
    assert not out.exists()


@pytest.mark.slow
def test_ray_writes_the_same_file(tasks: Path, tmp_path: Path) -> None:
    out, of_ray = tmp_path / "local.jsonl", tmp_path / "ray.jsonl"
    for process in (
        start_command(*command(tasks, out)),
        start_command(*command(tasks, of_ray, "--engine", "ray")),
    ):
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    assert "local Ray instance" in stderr  # proves the use of Ray
    assert of_ray.read_bytes() == out.read_bytes()


def test_output_can_be_evaluated_and_converted_to_tasks(tmp_path: Path, capsys) -> None:
    documents = sentences(6)
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps(document_to_json(one)) + "\n" for one in documents))
    out = tmp_path / "out.jsonl"
    stdout, _ = ran(capsys, *command(gold, out, "--json"))
    [(version, share)] = json.loads(stdout)["versions"].items()
    assert share["documents"] == 6
    assert share["entities"] == sum(len(line["entities"]) for line in lines_of(out)) > 0
    assert {line["model_version"] for line in lines_of(out)} == {version}
    report, _ = ran(capsys, "evaluate", str(out), str(gold), "--json", "--resamples", "2")
    assert json.loads(report)["documents"] == 6
    tasks = tmp_path / "predicted.json"
    ran(capsys, *command(gold, tasks))
    [first, *_] = json.loads(tasks.read_text())
    assert first["predictions"][0]["model_version"] == version
    again, _ = ran(capsys, "evaluate", str(tasks), str(gold), "--json", "--resamples", "2")
    assert json.loads(again)["strict"] == json.loads(report)["strict"]


def test_folder_of_texts(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("Naloxone reverses clonidine.", encoding="utf-8")
    (folder / "deep" / "a.txt").write_text("Lithium.", encoding="utf-8")
    (folder / "C.TXT").write_text("Naloxone.", encoding="utf-8")
    (folder / "latin.txt").write_bytes("Größe".encode("latin-1"))
    (folder / "windows.txt").write_bytes("Lithium.".encode("utf-16-le"))
    out = tmp_path / "out.jsonl"
    _, stderr = ran(capsys, *command(folder, out))
    assert [line["id"] for line in lines_of(out)] == ["C.TXT", "b.txt", "deep/a.txt"]
    assert "latin.txt" in stderr
    assert "windows.txt is UTF-16" in stderr


@pytest.mark.parametrize("text", [None, True, ["x"], {}])
def test_task_without_text_fails_alone(tmp_path: Path, capsys, text: object) -> None:
    source, out = tmp_path / "tasks.json", tmp_path / "out.jsonl"
    good = {"id": 1, "data": {"text": "Naloxone."}}
    source.write_text(json.dumps([{"id": 5, "data": {"text": text}}, good, {"id": 6}]))
    stdout, _ = ran(capsys, *command(source, out, "--json"))
    assert [line["id"] for line in lines_of(out)] == ["1"]
    assert [one["id"] for one in json.loads(stdout)["failed"]] == ["5", "6"]
    # The journal stays, so that corrected tasks can be predicted.
    source.write_text(json.dumps([{"id": 5, "data": {"text": "Lithium."}}, good]))
    ran(capsys, *command(source, out))
    assert [line["id"] for line in lines_of(out)] == ["5", "1"]
    assert not out.with_name("out.jsonl.journal").exists()


def test_bad_input_is_refused(tmp_path: Path, capsys) -> None:
    source, out = tmp_path / "tasks.json", tmp_path / "out.jsonl"
    task = {"id": 1, "data": {"text": "Naloxone."}}

    def refused(content: str, code: str, *options: str) -> None:
        source.write_text(content)
        _, stderr = ran(capsys, *command(source, out, *options), code=1)
        failed(stderr, code)
        assert "Traceback" not in stderr

    refused(json.dumps([task, task]), "batch-duplicate-id")
    refused("[{", "json-broken-at-start")
    refused("", "file-empty")
    out.write_text("")
    out.with_name("out.jsonl.journal").unlink()
    refused(json.dumps([task]), "output-exists")
    out.unlink()
    held = tmp_path / "held.journal"
    held.write_bytes(b"no journal" * 100)
    refused(json.dumps([task]), "state-file-unusable", "--journal", str(held))


def test_journal_of_another_source_is_refused_and_new_version_starts_over(
    tmp_path: Path, capsys
) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    bad = {"id": 2, "data": {}}  # keeps the journal
    for path in (one, other):
        path.write_text(json.dumps([{"id": 1, "data": {"text": "Naloxone."}}, bad]))
    out = tmp_path / "out.jsonl"
    ran(capsys, *command(one, out))
    _, stderr = ran(capsys, *command(other, out), code=1)
    failed(stderr, "journal-of-another-source")
    _, stderr = ran(capsys, *command(one, out))
    assert "1 document was done before" in stderr
    version = publish_swapped(tmp_path / "m", "swapped")
    _, stderr = ran(capsys, *command(one, out, "--encoder", version))
    assert f"{version} (model encoder) starts it again" in " ".join(stderr.split())
    _, stderr = ran(capsys, *command(one, out, "--tier", "llm", "--llm", version), code=1)
    failed(stderr, "version-of-another-tier")


CONFIG = (
    '<View><Labels name="l" toName="t"><Label value="{}" predicted_values="{}"/></Labels>'
    '<Text name="t" value="$text"/></View>'
)


@pytest.mark.parametrize("ended", ["stopped", "with one aside"])
def test_journal_of_other_labels_or_output_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    source, out, config = tmp_path / "t.json", tmp_path / "o.jsonl", tmp_path / "c.xml"
    bad = {"id": 2, "data": {}}  # keeps the journal
    source.write_text(json.dumps([{"id": 1, "data": {"text": "Naloxone."}}, bad]))
    config.write_text(CONFIG.format("Chemical", ""))
    journal, of = tmp_path / "j", ("--label-config", str(config), "--journal", str(tmp_path / "j"))
    if ended == "stopped":

        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(PredictionsFileSink, "finish", stopped)
            ran(capsys, *command(source, out, *of), code=130)
    else:
        ran(capsys, *command(source, out, *of))
    before = out.read_bytes() if out.exists() else None
    config.write_text(CONFIG.format("Drug", "Chemical"))

    def refused(code: str, out: Path, *options: str) -> None:
        _, stderr = ran(capsys, *command(source, out, *options), code=1)
        failed(stderr, code)

    refused("journal-of-another-config", out, *of)
    refused("journal-of-another-config", out, "--journal", str(journal))
    assert (out.read_bytes() if out.exists() else None) == before
    # An equivalent config is accepted.
    config.write_text(CONFIG.format("Chemical", "").replace("<View>", "<View >\n"))
    refused("journal-of-another-output", tmp_path / "o.json", *of)
    _, stderr = ran(capsys, *command(source, out, *of))
    assert "done before" in stderr
    assert [one["label"] for one in lines_of(out)[0]["entities"]] == ["Chemical"]


def test_shortened_source_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "t.jsonl", tmp_path / "o.jsonl"
    lines = [json.dumps({"id": str(n), "text": f"Naloxone {n}."}) + "\n" for n in range(70)]
    lines[3] = json.dumps({"id": "3"}) + "\n"  # keeps the journal
    source.write_text("".join(lines))
    ran(capsys, *command(source, out))
    before = out.read_bytes()
    for short in (lines[:-1], lines[:64], lines[:5]):
        source.write_text("".join(short))
        _, stderr = ran(capsys, *command(source, out), code=1)
        failed(stderr, "batch-source-changed")
        assert "'69'" in stderr
        assert out.read_bytes() == before
    source.write_text("".join(lines))
    ran(capsys, *command(source, out))
    source.write_text(
        "".join([*lines, lines[0].replace('"0"', '"70"')])
    )  # a longer source is accepted
    ran(capsys, *command(source, out))
    assert len(lines_of(out)) == 70


@pytest.mark.parametrize("tier", ["llm", "cascade"])
def test_missing_llm_error_explains_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tier: str
) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"id": "1", "text": TEXTS[0]}) + "\n")
    _, stderr = ran(capsys, *command(source, out, "--tier", tier), code=1)
    assert "Error: no LLM has been trained: run `tagalong train llm`\n" in stderr


@pytest.mark.slow
def test_cascade_predicts_the_least_certain_share_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    source.write_text(
        "".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(TEXTS))
    )
    base = save_llm(tmp_path / "base", CORPUS, initializer_range=0.15)
    store = ModelStore(tmp_path / "m")
    store.promote("llm", publish_llm_version(store, base).name)
    stdout, _ = ran(
        capsys, *command(source, out, "--tier", "cascade", "--llm-share", "20%", "--json")
    )
    versions = json.loads(stdout)["versions"]
    [llm] = [name for name in versions if name.startswith("tiny")]
    assert versions[llm]["documents"] == len(TEXTS) // 5
    assert sum(share["documents"] for share in versions.values()) == len(TEXTS)
    assert sum(share["share"] for share in versions.values()) == pytest.approx(1)
    decoding = versions[llm]["decoding"]
    assert decoding["documents"] == len(TEXTS) // 5
    assert decoding["slots"] > decoding["passes"] > 0
    assert Counter(line["model_version"] for line in lines_of(out)) == {
        name: share["documents"] for name, share in versions.items()
    }
    out.unlink()
    stdout, _ = ran(capsys, *command(source, out, "--tier", "llm", "--cost-per-hour", "3"))
    assert "decoding:" in stdout
    assert "$" in stdout


def test_dry_run_writes_nothing(tasks: Path, tmp_path: Path, capsys) -> None:
    stdout, _ = ran(capsys, "prelabel", str(tasks), "--dry-run", "--models", str(tmp_path / "m"))
    assert stdout.startswith("160 documents ")
    assert list(tmp_path.iterdir()) == [tasks]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "name a file or folder"),
        (["x.json", "--project", "1"], "not both"),
        (["x.json"], "--out"),
        (["--project", "1", "--out", "y"], "takes no --out"),
        (["x.json", "--out", "y", "--view", "3"], "are for a --project"),
        (["--project", "1"], "LABEL_STUDIO_URL"),
        (["x.json", "--out", "y", "--llm-share", "lots"], "not a share"),
        (["x.json", "--out", "y", "--llm-share", "120%"], "not a share"),
    ],
)
def test_wrong_usage(arguments: list[str], expected: str, capsys, monkeypatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    _, stderr = ran(capsys, "prelabel", *arguments, code=2)
    assert expected in " ".join(stderr.replace("│", " ").split())


def test_unwritable_output(tasks: Path, tmp_path: Path, capsys) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if os.access(locked, os.W_OK):  # root may write anywhere
        locked = Path("/proc/no-such-folder")
    _, stderr = ran(capsys, *command(tasks, locked / "out.jsonl"), code=1)
    failed(stderr, "state-file-unusable")
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_full_disk_keeps_finished_work(tasks: Path, tmp_path: Path) -> None:
    """The journal reaches a file size limit, which is then removed."""
    out, other = tmp_path / "out.jsonl", tmp_path / "undisturbed.jsonl"
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (45_000, -1)); "
    limited += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    full = run_forked("-c", limited + MAIN, *command(tasks, out))
    assert full.returncode == 1
    failed(full.stderr, "state-file-unusable")
    assert not out.exists()
    for path in (out, other):
        run_forked("-m", "tagalong", *command(tasks, path), check=True)
    assert out.read_bytes() == other.read_bytes()


def test_batch_of_a_project_predicts_with_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, label_studio = ModelStore(tmp_path / "models"), FakeLabelStudio(3)
    versions = {}
    for number, model in enumerate(["cardiology", "genes"]):
        versions[model] = publish_number(store, number, model=model).version
        store.promote(model, versions[model])
    assign_model(store.root, "1.1", "encoder", "cardiology")
    connected = "tagalong.backend.label_studio.connected_project.connect_project"
    for name in (connected, "tagalong.backend.batch.label_studio_project.connect_project"):
        monkeypatch.setattr(name, lambda *_, **__: nullcontext(connect_project(label_studio)))
    monkeypatch.setattr(
        "tagalong.cli.prelabel.command.load_tagger_by_reference",
        lambda store, reference, **_: LexiconTagger(store.resolve(reference).name),
    )
    monkeypatch.chdir(tmp_path)  # where the journal goes
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    command = ["prelabel", "--project", "1", "--models", str(store.root), "--rate", "1000"]
    stdout, _ = ran(capsys, *command)
    assert {one.model_version for one in label_studio.stored} == {versions["cardiology"]}
    assert f"{versions['cardiology']} predicts: project 1 is assigned the model" in stdout
    stdout, _ = ran(capsys, *command, "--model", "genes", "--json")
    [model] = json.loads(stdout)["models"]
    assert (model["model"], model["version"]) == ("genes", versions["genes"])
    assert Counter(one.model_version for one in label_studio.stored) == dict.fromkeys(
        versions.values(), 3
    )
    assign_model(store.root, "1.1", "encoder", "gone")
    stdout, stderr = ran(capsys, *command, "--dry-run", "--encoder", versions["genes"])
    assert "gone" not in stderr
    stdout, stderr = ran(capsys, *command, "--dry-run")
    assert "there is no model 'gone'" in stderr
    assert "it is the default" in stdout
    _, stderr = ran(capsys, *command, "--model", "genes", "--encoder", "bundled", code=1)
    failed(stderr, "two-models-of-one-tier")
