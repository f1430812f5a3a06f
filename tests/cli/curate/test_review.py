"""The commands `tagalong curate review` and `agreement`."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.formats.file_format import ReadOptions
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.main import app
from tagalong.ner.document import Document, Span
from tagalong.ner.errors import (
    InputError,
    LabelError,
    LabelStudioError,
    OutputError,
    TagalongError,
    TrainingError,
    VersionNotFound,
)
from tagalong.ner.manifest import VersionMetadata
from tagalong.ner.tags import TagSet
from tagalong.training.corpus import read_corpus
from tagalong.training.loop.training_state import lock_training
from tests.errors import assert_error
from tests.lexicon_tagger import LEXICON, LexiconTagger
from tests.toy_corpus import LABELS, toy_documents

# BC5CDR, train, document 227508 (public domain).
TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
NALOXONE, EFFECT, CLONIDINE = (0, 8, "Chemical"), (22, 45, "Disease"), (49, 58, "Chemical")


def run(*arguments):
    return CliRunner().invoke(
        app, ["curate", *(str(argument) for argument in arguments)], env={"COLUMNS": "80"}
    )


def run_json(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(*arguments) -> TagalongError:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, TagalongError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def write(path: Path, documents) -> Path:
    lines = [json.dumps(document_to_json(document)) + "\n" for document in documents]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def models(tmp_path: Path, tiny_base) -> Path:
    """A store with a random version with both labels of the toy corpus."""
    torch.manual_seed(0)
    base, store, tag_set = (
        BaseModelRef(str(tiny_base("bert-cased"))),
        ModelStore(tmp_path / "m"),
        TagSet(LABELS),
    )
    with store.staging_folder("encoder") as folder:
        model = base.load_token_classifier(tag_set.tag_names)
        save_model(model, base.load_tokenizer(), folder, base=base)
        draft = VersionMetadata(
            tier="encoder",
            name="untrained",
            base=base.reference,
            labels=tag_set.labels,
            config={"reading": {"window": 96, "context": 8}},
            calibration={"temperature": 1.0},
        )
        store.promote("encoder", store.publish(folder, draft).version)
    return store.root


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write(tmp_path / "export.jsonl", toy_documents(12, seed=4))


@pytest.fixture
def by_model(export, models) -> list:
    return ["review", export, "--model", "encoder", "--models", models]


def test_review_with_a_version_needs_no_training_and_has_a_note(by_model, tmp_path):
    review = run_json(*by_model, "--out", tmp_path / "queue.jsonl", "--report", tmp_path / "page")
    assert json.loads((tmp_path / "page" / "report.json").read_text(encoding="utf-8")) == review
    assert review["model"] in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "page" / "report.md").is_file()
    documents = toy_documents(12, seed=4)
    assert review["documents"] == 12
    assert review["annotations"] == sum(len(document.spans) for document in documents)
    assert review["findings"]  # random weights predict many entities
    scores = [finding["score"] for finding in review["findings"]]
    assert scores == sorted(scores)
    assert all(0 <= score <= 1 for score in scores)
    assert review["model"] in review["notes"][0]
    lines = (tmp_path / "queue.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == review["findings"]
    texts = {document.id: document.text for document in documents}
    for finding in review["findings"]:
        spans = [span for span in (finding["gold"], finding["suggested"]) if span]
        start, end = min(span["start"] for span in spans), max(span["end"] for span in spans)
        assert texts[finding["document"]][start:end] == finding["text"]


def test_table_has_the_requested_rows_and_is_plain_in_a_pipe(by_model):
    shown = run(*by_model, "--limit", "3").stdout
    assert "Note: If untrained-" in shown
    assert max(map(len, shown.splitlines()[2:-1])) <= 80
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    ranks = [cell for line in rows if (cell := line.split("|")[1].strip()).isdigit()]
    assert ranks == ["1", "2", "3"]
    assert re.search(r"documents.*: 4-\d+ \(\d+\)", shown)


def test_folds_are_trained_and_removed(export, tmp_path, tiny_base):
    command = ["review", export, "--folds", "2", "--epochs", "1", "--models", tmp_path / "models"]
    review = run_json(*command, "--base", tiny_base("bert-uncased"))
    assert review["model"] == "models of 2 folds"
    assert review["notes"] == []
    assert not (tmp_path / "models").exists()


def test_folds_are_kept_if_the_report_cannot_be_written(export, tmp_path, tiny_base, monkeypatch):
    def refuse(*_) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("tagalong.cli.curate.review.write_json_lines", refuse)
    command = ["review", export, "--folds", "2", "--epochs", "1", "--models", tmp_path / "models"]
    command += ["--base", tiny_base("bert-uncased"), "--out", tmp_path / "queue.jsonl"]
    assert isinstance(refusal(*command), OutputError)
    [folder] = (tmp_path / "models" / "encoder").iterdir()
    assert {path.name for path in folder.iterdir()} == {"fold-1", "fold-2"}
    with lock_training(folder):
        assert isinstance(refusal(*command), TrainingError)
    monkeypatch.undo()
    assert run(*command).exit_code == 0
    assert not folder.exists()


def test_folds_are_kept_until_findings_are_shown(export, tmp_path, tiny_base, monkeypatch):
    """An unreachable Label Studio or a full disk must not lose an hour of training."""
    corpus, tab = read_corpus([export], ReadOptions()), "http://localhost/projects/1/data?tab=7"
    place = SimpleNamespace(show_tasks_in_tab=lambda *_: tab)
    project = nullcontext((corpus, place))
    monkeypatch.setattr("tagalong.cli.curate.review.open_annotated_corpus", lambda *_: project)
    command = ["review", "--project", "1", "--create-view", "--report", tmp_path / "page"]
    command += ["--folds", "2", "--epochs", "1", "--models", tmp_path / "models"]
    command += ["--base", tiny_base("bert-uncased")]

    def away(*_, **__) -> None:
        raise LabelStudioError("Label Studio is away", "unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(place, "show_tasks_in_tab", away)
        assert isinstance(refusal(*command), LabelStudioError)
    [folder] = (tmp_path / "models" / "encoder").iterdir()
    folds = {path: path.read_bytes() for path in folder.iterdir()}
    assert {path.name for path in folds} == {"fold-1", "fold-2"}
    for last in (
        "tagalong.training.evaluation.report.write_report",
        "tagalong.cli.curate.review.render_review",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(last, away)
            refusal(*command)
        assert {path: path.read_bytes() for path in folder.iterdir()} == folds
    with monkeypatch.context() as patch:
        patch.setattr("tagalong.cli.curate.review.echo_json", away)
        refusal(*command, "--json")
    monkeypatch.setattr(
        "tagalong.training.curate.cross_validation.train_encoder", away
    )  # without another training
    shown = run(*command)
    assert shown.exit_code == 0, shown.output
    assert tab in shown.stdout
    assert (tmp_path / "page" / "report.json").is_file()
    assert not folder.exists()


def test_invalid_reviews_are_refused(export, models, tmp_path):
    bare = write(tmp_path / "bare.jsonl", [Document("1", TEXT)])
    drugs = write(tmp_path / "drugs.jsonl", [Document("1", TEXT, (Span(0, 8, "Drug"),))])
    single = write(tmp_path / "single.jsonl", toy_documents(1))
    half = Span(0, 4, "Chemical")  # of a word
    lost = write(
        tmp_path / "lost.jsonl", [Document(one, one, (half,)) for one in ("aspirin", "lithium")]
    )
    taken = ["--out", export]
    for arguments, error, code in (
        ([bare], InputError, "no-annotations"),
        ([single], InputError, "too-few-texts-for-folds"),
        ([drugs, "--model", "encoder"], LabelError, "labels-unknown-to-model"),
        ([lost, "--model", "encoder"], InputError, "no-known-words"),
        ([export, "--model", "absent"], VersionNotFound, "version-not-found"),
        ([export, *taken], OutputError, "file-exists"),
    ):
        refused = refusal("review", *arguments, "--models", models)
        assert isinstance(refused, error)
        assert refused.code == code
    assert run("review", export, "--model", "encoder", "--epochs", "2").exit_code == 2


def test_only_encoders_can_review(export, models, monkeypatch):
    tagger = LexiconTagger("llm-1", LEXICON)
    monkeypatch.setattr("tagalong.cli.curate.review.load_tagger_by_reference", lambda *_: tagger)
    refused = refusal("review", export, "--model", "llm-1", "--models", models)
    assert isinstance(refused, InputError)
    assert_error(refused, "review-needs-encoder")


def test_annotations_of_unknown_labels_are_counted(models, tmp_path):
    document = toy_documents(1)[0]
    odd = replace(document, spans=(*document.spans[1:], replace(document.spans[0], label="Drug")))
    path = write(tmp_path / "odd.jsonl", [odd])
    review = run_json("review", path, "--model", "encoder", "--models", models)
    assert review["lost"] == {"label unknown": 1}
    assert any("unknown (1)" in note for note in review["notes"])


def annotated(task: int, *annotations) -> dict:
    """A task of Label Studio's export, with an annotation per annotator."""

    def item(start: int, end: int, label: str) -> dict:
        value = {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}
        return {"type": "labels", "from_name": "label", "to_name": "text", "value": value}

    return {
        "id": task,
        "data": {"text": TEXT},
        "annotations": [
            {"completed_by": who, "result": [item(*one) for one in drawn]}
            for who, drawn in annotations
        ],
    }


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    tasks = [
        annotated(1, (7, [NALOXONE, CLONIDINE]), (8, [NALOXONE, CLONIDINE])),
        annotated(2, (7, [NALOXONE, EFFECT]), (8, [NALOXONE])),
        annotated(3, (7, [NALOXONE])),
    ]
    path = tmp_path / "shared.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_agreement_lists_the_worst_task_first(shared, tmp_path):
    report = tmp_path / "page"
    review = run_json("agreement", shared, "--out", tmp_path / "tasks.jsonl", "--report", report)
    assert json.loads((report / "report.json").read_text(encoding="utf-8")) == review
    assert "Inter-annotator" in (report / "report.html").read_text(encoding="utf-8")
    assert (review["tasks"], review["single_annotator_tasks"]) == (2, 1)
    assert review["overall"]["exact_f1"] == pytest.approx(6 / 7, abs=1e-4)
    assert review["by_label"]["Disease"] == {"spans": 1, "exact_f1": 0.0, "overlap_f1": 0.0}
    assert review["by_pair"][0]["annotators"] == ["7", "8"]
    assert [task["task"] for task in review["by_task"]] == ["2", "1"]
    lines = (tmp_path / "tasks.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == review["by_task"]


def test_agreement_tables_are_plain(shared):
    shown = run("agreement", shared, "--limit", "1").stdout
    assert re.search(r"2 tasks.* 1 ", shown.splitlines()[0])
    for row in ("| All ", "| Disease ", "| 3+ words ", "| 7 and 8 ", "| 2 "):
        assert row in shown
    assert shown.isascii()
    assert shown.count("7, 8") == 1


def test_agreement_needs_two_annotators(shared, tmp_path, export):
    alone_in = tmp_path / "alone.json"
    alone_in.write_text(json.dumps([annotated(1, (7, [NALOXONE]))]), encoding="utf-8")
    for path in (alone_in, export):
        assert_error(refusal("agreement", path), "no-task-with-two-annotators")
    assert isinstance(refusal("agreement", shared, "--out", export), OutputError)
