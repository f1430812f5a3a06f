"""The command `tagalong curate select`."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer
from typer.testing import CliRunner

from tagalong.backend.batch.files import open_source
from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.storage.assignments import assign_model
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.curate import select
from tagalong.cli.curate.select import select_cli
from tagalong.ner.document import Document
from tagalong.ner.errors import InputError, LabelError, OutputError, TagalongError, VersionNotFound
from tagalong.ner.manifest import VersionMetadata
from tagalong.ner.tags import TagSet
from tests.backend.batch.fake_label_studio import FakeLabelStudio, connect_project
from tests.errors import assert_error
from tests.lexicon_tagger import LEXICON, LexiconTagger
from tests.toy_corpus import toy_documents
from tests.versions import publish_number

POOL = toy_documents(20, seed=3)
TAGGERS = {
    "all": LexiconTagger("all-1", LEXICON),
    "fewer": LexiconTagger("fewer-1", {"naloxone": "Chemical"}),
    "genes": LexiconTagger("genes-1", {"brca1": "Gene"}),
}


def run(*arguments: str):
    app = typer.Typer()
    app.command()(select_cli)
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "80"})


def run_json(*arguments: str):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(*arguments: str) -> TagalongError:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, TagalongError)
    assert "\n" not in str(result.exception)
    return result.exception


def write(path: Path, documents) -> str:
    lines = [json.dumps(document_to_json(document)) + "\n" for document in documents]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return write(tmp_path / "pool.jsonl", POOL)


@pytest.fixture
def lexicons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces versions by lexicon taggers."""
    monkeypatch.setattr(select, "load_tagger_by_reference", lambda _, reference: TAGGERS[reference])


@pytest.fixture
def untrained(tmp_path: Path, tiny_base) -> tuple[str, ...]:
    """Options for a version with random weights."""
    torch.manual_seed(0)
    base, store = BaseModelRef(str(tiny_base("bert-cased"))), ModelStore(tmp_path / "models")
    with store.staging_folder("encoder") as folder:
        model = base.load_token_classifier(TagSet(("Chemical", "Disease")).tag_names)
        save_model(model, base.load_tokenizer(), folder, base=base)
        draft = VersionMetadata(
            tier="encoder",
            name="untrained",
            base=base.reference,
            labels=("Chemical", "Disease"),
            config={"reading": {"window": 96, "context": 8}},
            calibration={"temperature": 1.0},
        )
        version = store.publish(folder, draft).version
    return "--model", version, "--models", str(store.root)


@pytest.mark.parametrize("strategy", ["mixed", "k-means", "k-center", "margin", "long"])
def test_selection_ignores_the_order_of_the_file(
    tmp_path: Path, pool: str, untrained, strategy: str
) -> None:
    options = (*untrained, "--strategy", strategy, "--count", "10")
    selection = run_json(pool, *options)
    assert [one["rank"] for one in selection["selected"]] == list(range(1, 11))
    assert [one["reason"] for one in selection["selected"]].count("random") == 1
    assert (selection["pool"], selection["strategy"]) == (20, strategy)
    shuffled = write(tmp_path / "shuffled.jsonl", POOL[::-1])
    assert run_json(shuffled, *options) == selection


def test_annotated_and_duplicate_documents_are_excluded(
    tmp_path: Path, pool: str, lexicons: None
) -> None:
    labelled = write(tmp_path / "labelled.jsonl", POOL[:6])
    twice = write(tmp_path / "twice.jsonl", [*POOL, *toy_documents(2, seed=3)])
    model = ("--model", "all", "--strategy", "uncertainty")
    selection = run_json(twice, "--labeled", labelled, *model)
    assert (selection["pool"], selection["annotated"]) == (14, 8)
    assert {one["id"] for one in selection["selected"]} == {document.id for document in POOL[6:]}
    shown = run(twice, "--labeled", labelled, *model).stdout
    assert re.search(r"14 of 14 .* 8 .* uncertainty.* all-1", shown)
    assert "50" in shown.splitlines()[1]


def test_table_has_reasons_and_fits_80_columns(pool: str, lexicons: None) -> None:
    result = run(pool, "--model", "all", "--strategy", "uncertainty", "--random-share", "0.5")
    assert result.exit_code == 0
    assert result.stdout.replace("β", "b").isascii()  # from the texts
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "uncertain" in result.stdout
    assert "random" in result.stdout
    assert "0.250" in result.stdout  # 1 - MNLP of documents with an entity


def test_two_models_are_compared_on_common_labels(pool: str, lexicons: None) -> None:
    options = ("--strategy", "disagreement", "--random-share", "0", "--count", "20")
    selection = run_json(pool, "--model", "all", "--against", "fewer", *options)["selected"]
    texts = {document.id: document.text.lower() for document in POOL}
    missed = ("clonidine", "lithium")  # "hypertension" is a Disease, and the other knows none
    disputed = [one for one in selection if one["score"] > 0]
    assert 0 < len(disputed) < 20
    for one in selection:
        assert (one["score"] > 0) == any(name in texts[one["id"]] for name in missed)


def test_output_files_are_ordered_and_readable(tmp_path: Path, pool: str, lexicons: None) -> None:
    lines, tasks = tmp_path / "next.jsonl", tmp_path / "next.json"
    options = ("--model", "all", "--strategy", "uncertainty", "--count", "5")
    selection = run_json(pool, *options, "--out", str(lines))["selected"]
    run_json(pool, *options, "--out", str(tasks))
    written = lines.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == selection
    first = json.loads(tasks.read_text(encoding="utf-8"))[0]
    assert first["data"] == selection[0]
    assert not {"annotations", "predictions"} & first.keys()
    for path in (lines, tasks):
        with open_source(path) as source:
            again = [item.document for item in source]
        assert [(one.id, one.text) for one in again] == [
            (one["id"], one["text"]) for one in selection
        ]


def test_tasks_keep_the_text_key_of_the_labelling_config(tmp_path: Path, lexicons: None) -> None:
    config = tmp_path / "config.xml"
    config.write_text(
        '<View><Labels name="l" toName="t"><Label value="Chemical"/></Labels>'
        '<Text name="t" value="$body"/></View>'
    )
    pool, out = tmp_path / "tasks.json", tmp_path / "next.json"
    good = {"id": 7, "data": {"body": "Naloxone.", "title": "x"}}
    pool.write_text(json.dumps([good, {"id": 8, "data": {"title": "x"}}]))
    options = ("--model", "all", "--strategy", "random", "--label-config", str(config))
    result = run(str(pool), *options, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "task 8" in result.output
    [task] = json.loads(out.read_text(encoding="utf-8"))
    assert (task["id"], task["data"]["body"]) == ("7", "Naloxone.")


PROJECT = {
    "project": replace(connect_project(FakeLabelStudio(0)), config=None),
    "read_unlabeled_documents": lambda: POOL,
    "read_annotated_corpus": lambda _: None,
}


def test_model_of_the_project_selects(
    tmp_path: Path, lexicons: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(tmp_path)
    for number, model in enumerate(["fewer", "all"]):
        store.promote(model, publish_number(store, number, model=model).version)
    assign_model(tmp_path, "1.1", "encoder", "fewer")
    place = SimpleNamespace(**PROJECT)
    monkeypatch.setattr(select, "open_project", lambda *_: nullcontext(place))
    options = ("--project", "1", "--models", str(tmp_path), "--strategy", "uncertainty")
    selection = run_json(*options)
    assert selection["model"] == "fewer-1"
    assert selection["model_reason"] == "project 1 is assigned the model fewer"
    assert run_json(*options, "--model", "all")["model"] == "all-1"
    assert run(*options).stdout.startswith("fewer-1 predicts: project 1 is assigned")


def test_queue_scores_are_explained(lexicons: None, monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[str] = []

    def queue(documents: list[Document], tagger: LexiconTagger) -> str:
        queued.extend(one.id for one in documents)
        return "http://localhost/projects/1/data?tab=7"

    place = SimpleNamespace(**PROJECT, queue_documents=queue)
    monkeypatch.setattr(select, "open_project", lambda *_: nullcontext(place))
    result = run(
        "--project", "1", "--queue", "--model", "all", "--count", "3", "--strategy", "random"
    )
    assert result.exit_code == 0, result.output
    assert len(queued) == 3
    assert "http://localhost/projects/1/data?tab=7\n" in result.output
    assert "-5.00%" in result.output


def test_folder_of_texts_is_a_pool(tmp_path: Path, lexicons: None) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text(f"Naloxone {name}.", encoding="utf-8")
    selection = run_json(str(folder), "--model", "all", "--strategy", "uncertainty")
    assert {one["id"] for one in selection["selected"]} == {"a.txt", "b.txt"}


def test_invalid_selections_are_refused(tmp_path: Path, pool: str, lexicons: None) -> None:
    everything = write(tmp_path / "everything.jsonl", POOL)
    nothing, out = tmp_path / "nothing.json", tmp_path / "out.jsonl"
    nothing.write_text("[]", encoding="utf-8")
    out.write_text("")
    both = ("--strategy", "disagreement", "--model", "all", "--against")
    assert isinstance(refusal(str(nothing), "--model", "all"), InputError)
    for arguments, error, code in (
        (("--model", "all", "--labeled", everything), InputError, "nothing-to-select"),
        (("--model", "genes", "--labeled", everything), LabelError, "labels-unknown-to-model"),
        (("--model", "all", "--strategy", "mixed"), InputError, "strategy-needs-encoder"),
        ((*both, "genes"), LabelError, "no-common-label"),
        ((*both, "all"), InputError, "same-model"),
        (("--model", "all", "--out", str(out)), OutputError, "file-exists"),
    ):
        refused = refusal(pool, *arguments)
        assert isinstance(refused, error)
        assert_error(refused, code)


def test_labels_unknown_to_the_model_are_reported(
    tmp_path: Path, pool: str, lexicons: None
) -> None:
    labelled = write(tmp_path / "labelled.jsonl", POOL[:6])
    options = ("--labeled", labelled, "--strategy", "uncertainty", "--model", "fewer")
    warning, *_ = run(pool, *options).output.splitlines()
    assert {"fewer-1", "Disease:"} <= set(warning.split())


def test_labelling_config_maps_labels(tmp_path: Path, pool: str, lexicons: None) -> None:
    config, labelled = tmp_path / "config.xml", tmp_path / "labelled.jsonl"
    config.write_text(
        '<View><Labels name="l" toName="t"><Label value="Drug" predicted_values="Chemical"/>'
        '</Labels><Text name="t" value="$text"/></View>'
    )
    drug = {"start": 0, "end": 8, "label": "Drug"}
    line = {"id": "1", "text": "Naloxone.", "entities": [drug]}
    labelled.write_text(json.dumps(line) + "\n", encoding="utf-8")
    options = (pool, "--model", "fewer", "--strategy", "uncertainty", "--labeled", str(labelled))
    assert isinstance(refusal(*options), LabelError)
    assert "does not know" not in run(*options, "--label-config", str(config)).output


def test_missing_version(tmp_path: Path, pool: str) -> None:
    refused = refusal(pool, "--model", "no-such-version", "--models", str(tmp_path))
    assert isinstance(refused, VersionNotFound)


@pytest.mark.parametrize(
    "options",
    [
        ("--against", "all"),
        ("--strategy", "disagreement"),
        ("--strategy", "best"),
        ("--count", "0"),
        ("--random-share", "1.5"),
        ("--seed", "-1"),
        ("--labeled", "no-such-file.json"),
    ],
)
def test_wrong_usage(pool: str, options: tuple[str, ...]) -> None:
    assert run(pool, *options).exit_code == 2
    assert run("no-such-pool.jsonl").exit_code == 2
