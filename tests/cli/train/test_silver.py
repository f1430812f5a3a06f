"""Training on gold and silver: comparison with gold alone, and promotion."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

import tagalong.cli.train.messages
from tagalong.backend.documents.jsonl import document_to_json, prediction_to_json
from tagalong.ner.document import Document, Prediction
from tests.cli.run_command import run, run_failing
from tests.errors import failed
from tests.toy_corpus import toy_documents

SETTINGS = (
    "--learning-rate", "0.003", "--batch-tokens", "256", "--window", "96", "--epochs", "3",
    "--precision", "fp32", "--name", "toy",
)  # fmt: skip
GOLD, DEV, OTHERS = (toy_documents(count, seed=seed) for count, seed in ((8, 1), (8, 2), (32, 3)))


def write_gold(path, documents):
    lines = (json.dumps(document_to_json(document)) for document in documents)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_predictions(path, documents, *, score=0.9, label=None):
    """Write predictions of a system that is always correct, except for a given label."""
    lines = []
    for one in documents:
        spans = [replace(span, score=score, label=label or span.label) for span in one.spans]
        blank = Document(one.id, one.text)
        lines.append(
            json.dumps(prediction_to_json(blank, Prediction(tuple(spans), score, "llm-1")))
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def places(tiny_base, tmp_path_factory):
    """Files of gold, dev and silver, and the options of a training without silver and store."""
    folder = tmp_path_factory.mktemp("silver")
    gold, dev = write_gold(folder / "gold.jsonl", GOLD), write_gold(folder / "dev.jsonl", DEV)
    silver_path = write_predictions(folder / "said.jsonl", [*OTHERS, *GOLD[:1], *DEV[:2]])
    command = ["train", "encoder", gold, "--dev", dev, "--base", tiny_base("bert-uncased")]
    return folder, silver_path, [*map(str, command), *SETTINGS]


@pytest.fixture(scope="module")
def made(places, tmp_path_factory):
    """A version of gold and silver as JSON, its store, and the output."""
    _, silver_path, command = places
    models = tmp_path_factory.mktemp("models")
    result = run(*command, "--silver", silver_path, "--models", models, "--json")
    return json.loads(result.stdout), models, result.stderr


def test_gold_and_silver_are_compared_with_gold_alone(made):
    version, models, _ = made
    against = version["report"]["against"]
    assert against["model"] == "gold alone"
    assert against["strict"]["difference"] > 0
    assert against["by_length"].keys() == {"1", "2", "3+"}
    f1 = version["report"]["strict"]["f1"]
    assert version["scores"]["dev"]["strict_f1"] == pytest.approx(f1, abs=1e-4)
    assert f1 == pytest.approx(against["strict"]["f1"] + against["strict"]["difference"])
    assert version["report"]["model"] == version["version"]
    left = {path.name for path in (models / "encoder").iterdir()}
    assert left == {version["version"], "current", ".current-backup", ".lock"}  # no state is left


def test_manifest_describes_the_silver(made):
    version, models, _ = made
    written = models / "encoder" / version["version"] / "manifest.json"
    data = json.loads(written.read_text(encoding="utf-8"))["data"]
    silver = data["silver"]
    assert data["train"]["documents"] == len(GOLD)
    assert (silver["sources"], silver["versions"]) == (["said.jsonl"], ["llm-1"])
    assert silver["documents"] == len(OTHERS)
    assert silver["left_out"] == {"text in dev": 2, "text in gold": 1}


def test_same_version_is_published_without_baseline(made, places, tmp_path):
    version, _, _ = made
    _, silver_path, command = places
    result = run(*command, "--silver", silver_path, "--models", tmp_path, "--no-baseline", "--json")
    other = json.loads(result.stdout)
    assert other["version"] == version["version"]  # named by weights and data
    assert other["report"] is None


def test_terminal_shows_f1_overall_and_by_length(places, tmp_path):
    folder, _, command = places
    silver_path = write_predictions(folder / "few.jsonl", OTHERS[:8])
    shown = run(*command, "--silver", silver_path, "--models", tmp_path, "--epochs", "1").stdout
    assert "gold alone" in shown
    for spans in ("All", "1 word", "2 words", "3+"):
        assert spans in shown


def test_harmful_silver_is_published_but_not_promoted(places, tmp_path, tiny_base):
    folder, _, _ = places
    gold = write_gold(folder / "much.jsonl", toy_documents(40, seed=5))
    wrong = write_predictions(folder / "wrong.jsonl", toy_documents(40, seed=6), label="Disease")
    result = run(
        "train", "encoder", gold, "--dev", folder / "dev.jsonl", "--base",
        tiny_base("bert-uncased"), *SETTINGS, "--silver", wrong, "--silver-weight", "1",
        "--models", tmp_path,
    )  # fmt: skip
    assert "--silver-weight" in result.stderr  # the remedy
    assert not (tmp_path / "encoder" / "current").exists()
    assert len(list(tmp_path.glob("encoder/toy-*"))) == 1


class Stop(Exception):
    """Stops a training."""


@pytest.mark.parametrize(("training", "again"), [(1, [2, 3, 1, 2, 3]), (2, [2, 3])])
def test_stopped_training_resumes_in_either_phase(
    made, places, tmp_path, monkeypatch, training, again
):
    version, _, _ = made
    _, silver_path, command = places
    command = [*command, "--silver", silver_path, "--models", tmp_path]
    bar = tagalong.cli.train.messages.training_progress_bar
    first_steps = []

    @contextmanager
    def stopping(console):
        with bar(console) as report:

            def stop(now):
                report(now)
                if now.step == 1 and not now.dev_scores:
                    first_steps.append(now)
                if len(first_steps) == training and now.epoch == 2:
                    raise Stop

            yield stop

    with monkeypatch.context() as patch:
        patch.setattr(tagalong.cli.train.messages, "training_progress_bar", stopping)
        with pytest.raises(Stop):
            run(*command)
    result = run(*command, "--resume", "--json")
    assert json.loads(result.stdout)["version"] == version["version"]
    assert json.loads(result.stdout)["report"] == version["report"]
    lines = [line for line in result.stderr.splitlines() if line.startswith("Epoch ")]
    assert [int(line.split()[1]) for line in lines] == again


def test_state_depends_on_silver_and_its_weight(places, tmp_path, monkeypatch):
    _, silver_path, command = places
    seen = []

    def locked(path):
        seen.append(path.name)
        raise Stop

    monkeypatch.setattr("tagalong.training.jobs.train_version.lock_training", locked)
    for options in (
        [],
        ["--silver", silver_path],
        ["--silver", silver_path, "--silver-weight", "0.1"],
    ):
        with pytest.raises(Stop):
            run(*command, "--models", tmp_path, *options, *["--no-baseline"] * bool(options))
    assert len(set(seen)) == 3
    with pytest.raises(Stop):
        run(*command, "--models", tmp_path, "--silver", silver_path)
    assert seen[3] == seen[0]  # the baseline equals a training on gold alone


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda path: write_predictions(path, OTHERS, label="Gene"), "silver-labels-not-in-gold"),
        (lambda path: write_predictions(path, OTHERS, score=0.4), "no-silver-documents"),
        (lambda path: write_predictions(path, [Document("d", "none")]), "silver-without-entities"),
    ],
)
def test_unusable_silver_is_refused(places, tmp_path, capsys, write, code):
    _, _, command = places
    write(tmp_path / "said.jsonl")
    options = ("--silver", tmp_path / "said.jsonl", "--silver-min-score", "0.5")
    failed(run_failing(capsys, *command, *options, "--models", tmp_path / "models"), code)
    assert not (tmp_path / "models").exists()


def test_excluded_texts_are_not_in_silver(places, tmp_path, capsys):
    _, silver_path, command = places
    held_out = write_gold(tmp_path / "test.jsonl", OTHERS)
    options = ("--silver", silver_path, "--exclude", held_out, "--models", tmp_path / "models")
    failed(run_failing(capsys, *command, *options), "no-silver-documents")


def test_gold_without_entities_is_reported_first(places, tmp_path, capsys):
    _, silver_path, _ = places
    bare = write_gold(tmp_path / "bare.jsonl", [Document("d", "nothing here")])
    command = (
        "train",
        "encoder",
        bare,
        "--dev",
        bare,
        "--silver",
        silver_path,
        "--models",
        tmp_path,
    )
    failed(run_failing(capsys, *command), "train-without-spans")


@pytest.mark.parametrize(
    "options", [["--silver-weight", "0.5"], ["--silver-min-score", "0"], ["--no-baseline"]]
)
def test_silver_options_need_silver(places, tmp_path, options):
    _, _, command = places
    result = run(*command, "--models", tmp_path, *options, code=2)
    assert "--silver" in result.stderr
    assert not list(tmp_path.iterdir())
