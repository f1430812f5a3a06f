"""The command `tagalong evaluate`."""

import json
import os
import sys
from html import unescape
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from tagalong.backend.documents.jsonl import prediction_to_json
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.evaluate import evaluate_cli
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError, LabelError, TagalongError, VersionNotFound
from tagalong.ner.length_buckets import LENGTH_NOTES
from tagalong.ner.manifest import VersionMetadata
from tagalong.ner.tags import TagSet
from tagalong.training.evaluation import html
from tests.errors import assert_error

# BC5CDR, test, document 8701013 (public domain).
TEXT = (
    "Famotidine-associated delirium. A series of six cases. Famotidine is a histamine H2-receptor"
)
CHEMICAL = {"start": 0, "end": 10, "label": "Chemical"}
DISEASE = {"start": 22, "end": 30, "label": "Disease"}
WRONG = {"start": 55, "end": 65, "label": "Disease", "score": 0.25}


def write(path: Path, *entities: list[dict], version: str | None = None, text: str = TEXT) -> str:
    """Write JSON lines, with one document per list of entities."""
    lines = [
        {"id": f"{number}", "text": text, "entities": entries}
        | ({"score": 0.5, "model_version": version} if version else {})
        for number, entries in enumerate(entities)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def gold(tmp_path: Path) -> str:
    return write(tmp_path / "gold.jsonl", [CHEMICAL, DISEASE], [CHEMICAL], [])


@pytest.fixture
def predictions(tmp_path: Path) -> str:
    return write(tmp_path / "said.jsonl", [CHEMICAL, WRONG], [CHEMICAL], [], version="tagger-1")


def run(*arguments: str):
    app = typer.Typer()
    app.command()(evaluate_cli)
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "80"})


def run_json(*arguments: str):
    result = run(*arguments, "--json", "--resamples", "20")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_folders_are_gold_and_predictions(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text(TEXT)
    (tmp_path / "1.ann").write_text("T1\tChemical 0 10\tFamotidine\n")
    evaluation = run_json(str(tmp_path), str(tmp_path))
    assert evaluation["documents"] == 1


def test_files_without_versions_are_told_apart_by_name(tmp_path: Path, gold: str) -> None:
    first = write(tmp_path / "first.jsonl", [CHEMICAL], [CHEMICAL], [])
    second = write(tmp_path / "second.jsonl", [CHEMICAL, WRONG], [], [])
    evaluation = run_json(first, gold, "--against", second)
    assert (evaluation["model"], evaluation["against"]["model"]) == ("first.jsonl", "second.jsonl")


@pytest.mark.parametrize(
    ("columns", "exact"),
    [
        (["2", "3", "2"], (1.0, 1.0)),  # of gold, the first and the second system
        (["2"], (0.0, 1.0)),
        (["2", "3"], (1.0, 0.0)),
    ],
)
def test_columns_are_those_of_all_files_until_others_are_named(
    columns: list[str], exact: tuple[float, float], tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("gold.tsv", "first.tsv", "second.tsv")]
    for path, (one, other) in zip(paths, ["BO", "OB", "BO"], strict=True):
        rows = [f"renal {one}-X {other}-X", "failure O O", "improved O O"]
        path.write_text("\n".join(rows).replace("O-X", "O").replace(" ", "\t") + "\n")
    gold, first, second = map(str, paths)
    options = [part for column in columns for part in ("--tag-column", column)]
    evaluation = run_json(first, gold, "--against", second, *options)
    strict = evaluation["strict"]["f1"], evaluation["against"]["strict"]["difference"]
    assert strict[0] == exact[0]
    assert strict[1] == exact[0] - exact[1]


def test_more_columns_than_files_are_refused(gold) -> None:
    result = run(gold, gold, *["--word-column", "1"] * 4)
    assert result.exit_code == 2
    assert "4 times" in result.output


def test_findings_of_reading_are_told_for_gold_and_predictions(tmp_path: Path) -> None:
    said, gold = tmp_path / "said.txt", tmp_path / "gold.txt"
    said.write_text("renal I-X\nfailure I-X\nimproved O\n")
    gold.write_text("renal B-X\nfailure I-X\nimproved O\n")
    for pair, name in (((said, gold), said), ((gold, said), "gold"), ((gold, gold), None)):
        told = [one for one in run_json(*map(str, pair))["warnings"] if "Reading" in one]
        assert len(told) == (name is not None)
        assert all(one.startswith(f"Reading {name}: I- without B-, 1 time;") for one in told)


@pytest.mark.parametrize("protocol", ["exact", "paper"])
def test_losses_of_every_file_are_told(protocol: str, tmp_path: Path) -> None:
    path = tmp_path / "nested.tsv"
    path.write_text("renal\tB-X\tB-Y\nfailure\tI-X\tO\nimproved\tO\tO\n")
    evaluation = run_json(str(path), str(path), "--protocol", protocol)
    losses = "1 annotation lost (1 another tag column)"
    told = [f"Reading {path}: {losses}."]
    if protocol == "paper":
        told = [f"Reading gold: {losses}.", *told]
    else:
        assert evaluation["lost"]["import"]["by_reason"] == {"another tag column": 1}
    assert [one for one in evaluation["warnings"] if "lost" in one] == told


def test_labels_that_look_alike_are_told_and_may_be_typed_in_another_form(tmp_path: Path) -> None:
    composed, decomposed = "M\u00e9d, a", "Me\u0301d, a"
    gold, said = (
        write(tmp_path / name, [CHEMICAL, {**DISEASE, "label": label}])
        for name, label in (("gold.jsonl", decomposed), ("said.jsonl", composed))
    )
    evaluation = run_json(said, gold)
    assert evaluation["strict"]["tp"] == 1
    assert any(
        r"look alike, but differ: 'Me\u0301d, a', 'M\xe9d, a'" in one
        for one in evaluation["warnings"]
    )
    assert run_json(gold, gold, "--labels", composed)["strict"]["tp"] == 1
    blank = write(tmp_path / "blank.jsonl", [{**DISEASE, "label": " A"}])
    assert run_json(blank, blank, "--labels", " A")["strict"]["tp"] == 1


def refusal(*arguments: str) -> TagalongError:
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, TagalongError)
    return result.exception


def test_json_is_one_object_with_scores(gold, predictions):
    evaluation = run_json(predictions, gold)
    assert (evaluation["documents"], evaluation["model"], evaluation["gold"]) == (
        3,
        "tagger-1",
        gold,
    )
    assert [evaluation["strict"][key] for key in ("tp", "fp", "fn")] == [2, 1, 1]
    assert evaluation["by_label"]["Disease"]["strict"]["recall"] == 0.0
    assert evaluation["bootstrap"]["resamples"] == 20


def test_tables_fit_80_columns_and_are_plain_in_a_pipe(gold, predictions):
    result = run(predictions, gold, "--resamples", "20", "--against", predictions)
    assert result.exit_code == 0
    assert result.stdout.isascii()
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "tagger-1" in result.stdout
    assert "0.667" in result.stdout


def test_report_is_written_besides_the_output(tmp_path, gold, predictions):
    evaluation = run_json(predictions, gold, "--report", str(tmp_path / "report"))
    written = (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
    assert json.loads(written) == evaluation
    markdown = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Evaluation of tagger-1")


def test_html_is_rendered_only_for_a_report(tmp_path, gold, predictions, monkeypatch):
    made = []
    monkeypatch.setattr(html, "report_to_html", lambda report: made.append(report) or "page")
    run_json(predictions, gold)
    assert made == []
    run_json(predictions, gold, "--report", str(tmp_path / "report"))
    assert len(made) == 1
    assert (tmp_path / "report" / "report.html").read_text(encoding="utf-8") == "page"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are no bytes elsewhere")
def test_gold_file_with_non_utf8_name(tmp_path, gold, predictions):
    odd = Path(gold).rename(os.fsdecode(os.fsencode(tmp_path) + b"/gold-\xe9.jsonl"))
    evaluation = run_json(predictions, str(odd), "--report", str(tmp_path / "report"))
    assert evaluation["gold"] == str(tmp_path / "gold-\\udce9.jsonl")
    for name in ("report.md", "report.html", "report.json"):
        text = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert "udce9.jsonl" in text


def test_long_names_are_shown_in_full(tmp_path, gold):
    names = ["a-version-of-a-long-name-20261126-1", "a-version-of-a-long-name-20261126-2"]
    one, other = (
        write(tmp_path / f"{name}.jsonl", [CHEMICAL], [], [], version=name) for name in names
    )
    result = run(one, gold, "--against", other, "--resamples", "5")
    shown = result.stdout.partition("Effort: ")[2]
    cells = [line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("| ")]
    assert all(name in "".join(cells) for name in names)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_two_systems_are_compared(tmp_path, gold, predictions):
    silent = write(tmp_path / "silent.jsonl", [], [], [], version="silent")
    against = run_json(predictions, gold, "--against", silent)["against"]
    assert against["model"] == "silent"
    assert against["strict"]["difference"] == pytest.approx(2 / 3)


def test_paper_protocol_mode(gold, predictions):
    evaluation = run_json(predictions, gold, "--protocol", "paper")
    assert evaluation["protocol"] == "paper"
    assert evaluation["partial"]["correct"] == 2
    result = run(predictions, gold, "--protocol", "paper", "--against", predictions)
    assert result.exit_code == 2


def test_labels_option(gold, predictions):
    evaluation = run_json(predictions, gold, "--labels", "Disease")
    assert [evaluation["strict"][key] for key in ("tp", "fp", "fn")] == [0, 1, 1]
    assert evaluation["lost"]["import"]["by_reason"] == {"label unknown": 2}
    assert evaluation["lost"]["predicted"]["by_reason"] == {"label unknown": 2}
    assert isinstance(refusal(predictions, gold, "--labels", "Disaese"), LabelError)
    assert run(predictions, gold, "--labels", " , ").exit_code == 2
    assert run("absent", gold, "--labels", " , ").exit_code == 2  # before a system is read
    assert run("absent", gold).exit_code == 1


@pytest.mark.parametrize(("unit", "lengths"), [("words", (0, 0, 3)), ("blanks", (1, 1, 1))])
def test_lengths_are_counted_in_words_or_tokens(tmp_path, unit, lengths):
    text = "IL-2 blocks 5-HT receptors and Na+/K+ pumps of muscle"
    names = ("IL-2", "5-HT receptors", "Na+/K+ pumps of muscle")
    spans = [
        {"start": text.index(name), "end": text.index(name) + len(name), "label": "X"}
        for name in names
    ]
    path, report = write(tmp_path / "gold.jsonl", spans, text=text), tmp_path / "report"
    options = () if unit == "words" else ("--length-by", unit)
    evaluation = run_json(path, path, *options, "--against", path, "--report", str(report))
    assert evaluation["length_by"] == unit
    for strata in (evaluation["by_length"], evaluation["by_label_and_length"]["X"]):
        assert tuple(one["strict"]["gold"] for one in strata.values()) == lengths
    shown = run(path, path, *options, "--resamples", "5", "--against", path).stdout
    written = [(report / f"report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html")]
    for output in (" ".join(shown.split()), *map(html_text, written)):
        assert f"3+ {'tokens' if unit == 'blanks' else 'words'}" in output
        assert f"3+ {'words' if unit == 'blanks' else 'tokens'}" not in output
        assert LENGTH_NOTES[unit] in output


def html_text(source: str) -> str:
    return " ".join(unescape(source).split())


def test_lengths_of_the_paper_protocol_are_words(gold, predictions):
    arguments = (predictions, gold, "--protocol", "paper")
    assert run(*arguments, "--length-by", "blanks").exit_code == 2
    assert run_json(*arguments)["length_by"] == "words"


def test_labels_with_commas(tmp_path):
    spans = [CHEMICAL | {"label": "drug, small molecule"}, DISEASE, WRONG | {"label": "drug"}]
    path = write(tmp_path / "commas.jsonl", spans)
    for values, expected in (
        (["drug, small molecule"], {"drug, small molecule"}),
        (["Disease,drug, small molecule"], {"Disease", "drug, small molecule"}),
        (["drug,Disease"], {"drug", "Disease"}),
        (["drug", "drug, small molecule"], {"drug", "drug, small molecule"}),
    ):
        options = [part for value in values for part in ("--labels", value)]
        assert run_json(path, path, *options)["by_label"].keys() == expected
    assert_error(refusal(path, path, "--labels", "small molecule"), "label-without-spans")


CONFIG = (
    '<View><Labels name="l" toName="t"><Label value="Drug" predicted_values="Chemical"/>'
    '<Label value="Illness" alias="Disorder" predicted_values="Disease"/></Labels>'
    '<Text name="t" value="$text"/></View>'
)


@pytest.fixture
def config(tmp_path) -> str:
    path = tmp_path / "config.xml"
    path.write_text(CONFIG, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("gold_labels", [("Drug", "Disorder"), ("Chemical", "Disease")])
@pytest.mark.parametrize("labels", [("drug", "ILLNESS"), ("Chemical", "Disease")])
def test_label_config_maps_gold_and_both_systems(tmp_path, config, gold_labels, labels):
    def spans(names):
        return [CHEMICAL | {"label": names[0]}, DISEASE | {"label": names[1]}]

    gold = write(tmp_path / "gold.jsonl", spans(gold_labels))
    system = write(tmp_path / "system.jsonl", spans(labels), version="v")
    evaluation = run_json(system, gold, "--label-config", config, "--against", system)
    assert evaluation["strict"]["f1"] == evaluation["against"]["strict"]["f1"] == 1.0
    assert evaluation["by_label"].keys() == {"Drug", "Disorder"}
    for name in ("Drug", "Chemical"):
        evaluation = run_json(system, gold, "--label-config", config, "--labels", name)
        assert evaluation["by_label"].keys() == {"Drug"}


def test_labels_that_the_project_lacks_are_counted_and_not_scored(tmp_path, config):
    gene = WRONG | {"label": "Gene"}
    gold = write(tmp_path / "gold.jsonl", [CHEMICAL, gene])
    system = write(tmp_path / "system.jsonl", [CHEMICAL, gene, DISEASE], version="v")
    evaluation = run_json(system, gold, "--label-config", config)
    assert [evaluation["strict"][key] for key in ("tp", "fp", "fn")] == [1, 1, 0]
    assert evaluation["lost"]["predicted"]["by_reason"] == {"label unknown": 1}
    assert evaluation["lost"]["import"]["by_reason"] == {"label unknown": 1}
    told = [warning for warning in evaluation["warnings"] if "the project lacks" in warning]
    assert [warning.split(" are not")[0] for warning in told] == [
        "1 gold entities",
        f"1 predicted entities of {system}",
    ]
    for part in ("Gene (1)", "Drug, Disorder", "predicted_values"):
        assert all(part in warning for warning in told)


def test_a_model_is_scored_in_the_labels_of_the_project(tmp_path, config, untrained):
    store, version = untrained
    gold = write(tmp_path / "gold.jsonl", [CHEMICAL | {"label": "Drug"}, DISEASE])
    evaluation = run_json(version, gold, "--label-config", config, "--models", str(store.root))
    assert list(evaluation["by_label"]) == ["Disorder", "Drug"]  # the model has no Drug
    assert evaluation["unknown_labels"] == {"Drug": 1}


def test_without_a_common_label_it_says_how_to_map_them(tmp_path, config):
    gold = write(tmp_path / "gold.jsonl", [CHEMICAL | {"label": "Drug"}])
    system = write(tmp_path / "system.jsonl", [CHEMICAL, DISEASE], version="v")
    other = write(tmp_path / "other.jsonl", [CHEMICAL | {"label": "Substance"}], version="w")
    evaluation = run_json(system, gold, "--against", other)
    told = evaluation["warnings"][:2]
    for warning, names in zip(told, ("Chemical, Disease", "Substance"), strict=True):
        for part in ("gold has Drug", f"has {names}", "--label-config", 'value="Drug"'):
            assert part in warning
    mapped = run_json(other, gold, "--label-config", config)["warnings"]
    assert any("gold has Drug" in one and "has Substance" in one for one in mapped)
    assert not any("in common" in one for one in run_json(gold, gold)["warnings"])


def test_label_config_names_the_text_of_predicted_tasks(tmp_path, config):
    def region(name, label):
        value = {"start": 0, "end": 10, "text": TEXT[:10], "labels": [label]}
        return {"from_name": name, "to_name": "t", "type": "labels", "value": value}

    predicted = {"result": [region("l", "Chemical"), region("other", "Disease")], "score": 0.5}
    task = {
        "id": 0,
        "data": {"text": TEXT, "t": "something else"},
        "annotations": [{"result": [region("l", "Drug")]}],
        "predictions": [{"model_version": "v", **predicted}],
    }
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]), encoding="utf-8")
    evaluation = run_json(str(path), str(path), "--label-config", config)
    assert [evaluation["strict"][key] for key in ("tp", "fp", "fn")] == [1, 0, 0]
    evaluation = run_json(
        str(path), write(tmp_path / "gold.jsonl", [CHEMICAL]), "--label-config", config
    )
    assert evaluation["strict"]["tp"] == 1


def test_entity_label_is_that_of_predictions_too(tmp_path):
    path = tmp_path / "bare.tsv"
    path.write_text("Lithium\tB\ncaused\tO\nfever\tB\n", encoding="utf-8")
    evaluation = run_json(str(path), str(path), "--entity-label", "Thing")
    assert evaluation["strict"]["f1"] == 1.0
    assert list(evaluation["by_label"]) == ["Thing"]


def test_common_only_option(tmp_path, gold):
    fewer = write(tmp_path / "fewer.jsonl", [CHEMICAL], [], version="v")
    assert_error(refusal(fewer, gold), "documents-differ")
    evaluation = run_json(fewer, gold, "--only-common")
    assert evaluation["documents"] == 2
    assert evaluation["warnings"][0].startswith("1 ")


@pytest.mark.parametrize("missing", [None, "", "absent"])
def test_predictions_without_ids_are_matched_by_text(tmp_path, missing):
    texts = ["Lithium caused acute renal failure .", "No entity here.", "Cisplatin and fever."]
    spans = [[(0, 7), (15, 34)], [], [(0, 9), (14, 19)]]
    lines = [
        {"text": text, "entities": [{"start": s, "end": e, "label": "X"} for s, e in one]}
        for text, one in zip(texts, spans, strict=True)
    ]
    gold, predicted = tmp_path / "gold.jsonl", tmp_path / "predicted.jsonl"
    with_ids = [{"id": number, **line} for number, line in enumerate(lines, start=7)]
    without = lines if missing == "absent" else [{"id": missing, **line} for line in lines]
    for path, content in ((gold, with_ids), (predicted, without)):
        path.write_text("".join(json.dumps(line) + "\n" for line in content), encoding="utf-8")
    for arguments, named in (((predicted, gold), str(predicted)), ((gold, predicted), "Gold")):
        evaluation = run_json(*map(str, arguments))
        assert evaluation["strict"]["f1"] == 1.0
        assert f"{named} has 3 documents without ids, matched by text." in evaluation["warnings"]


def test_spans_of_gold_and_predictions_are_trimmed_alike(tmp_path):
    wide = [CHEMICAL, {"start": 21, "end": 31, "label": "Disease"}]
    path = write(tmp_path / "wide.jsonl", wide, text=TEXT.replace(".", " .", 1))
    evaluation = run_json(path, path)
    assert evaluation["strict"]["f1"] == 1.0
    for name in ("gold", path):
        told = f"Reading {name}: white space trimmed, 1 time;"
        assert any(one.startswith(told) for one in evaluation["warnings"])


def test_predictions_without_scores_or_version_are_evaluated(tmp_path, gold):
    plain = write(tmp_path / "plain.jsonl", [CHEMICAL], [], [])
    evaluation = run_json(plain, gold)
    assert evaluation["strict"]["tp"] == 1
    assert evaluation["calibration"] is None


def test_predicted_overlaps_are_counted_and_outside_entities_reported(tmp_path, gold):
    longer = CHEMICAL | {"end": 21}
    outside = CHEMICAL | {"end": 1000}
    odd = write(tmp_path / "odd.jsonl", [CHEMICAL, longer, outside], [], [], version="v")
    evaluation = run_json(odd, gold)
    assert [evaluation["strict"][key] for key in ("tp", "fp", "fn")] == [1, 1, 2]
    assert evaluation["lost"]["predicted"]["by_reason"] == {"offset outside the text": 1}
    assert any("outside" in warning for warning in evaluation["warnings"])


@pytest.mark.parametrize("protocol", ["exact", "paper"])
def test_predicted_gold_has_a_warning_everywhere(tmp_path, predictions, protocol):
    wide = {**DISEASE, "start": 21}  # with a space at its end, for a warning
    gold = write(tmp_path / "gold.jsonl", [CHEMICAL, wide], [], [], version="tagger-0")
    report = tmp_path / "report"
    evaluation = run_json(predictions, gold, "--protocol", protocol, "--report", str(report))
    assert evaluation["warnings"][0].startswith("Reading gold: made by a model, 3 times; ")
    assert "not what a person annotated" in evaluation["warnings"][0]
    assert evaluation["warnings"][0] in (report / "report.md").read_text(encoding="utf-8")
    shown = " ".join(
        run(predictions, gold, "--protocol", protocol, "--resamples", "5").stdout.split()
    )
    assert f"Note: {evaluation['warnings'][0]}" in shown


def test_warnings_of_reading_gold_are_shown(tmp_path, predictions):
    wide = {**DISEASE, "start": 21}
    evaluation = run_json(predictions, write(tmp_path / "gold.jsonl", [wide], [], []))
    assert evaluation["warnings"][0].startswith("Reading gold: white space trimmed, 1 time; kept: ")


def test_gold_without_entities_gives_zeros_and_a_warning(tmp_path):
    nothing = write(tmp_path / "nothing.jsonl", [])
    evaluation = run_json(write(tmp_path / "p.jsonl", [CHEMICAL], version="v"), nothing)
    assert evaluation["strict"]["f1"] == 0.0
    assert "entities" in evaluation["warnings"][0]


def test_invalid_evaluations_are_refused_and_nothing_is_written(tmp_path, gold):
    empty, report = tmp_path / "empty.jsonl", tmp_path / "report"
    empty.write_text("", encoding="utf-8")
    other = write(tmp_path / "other.jsonl", [], [], [], version="v", text=TEXT.lower())
    for bad, error, words in (
        (str(empty), InputError, "empty"),
        (other, InputError, "'0'"),
        (str(tmp_path / "absent.jsonl"), InputError, "absent.jsonl"),
        ("no-such-version", VersionNotFound, "no-such-version"),
    ):
        refused = refusal(bad, gold, "--report", str(report), "--models", str(tmp_path))
        assert isinstance(refused, error)
        assert words in str(refused)
        assert "\n" not in str(refused)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{not json}\n", encoding="utf-8")
    assert isinstance(refusal(str(broken), gold), FormatError)
    assert not report.exists()


@pytest.fixture
def untrained(tmp_path: Path, tiny_base) -> tuple[ModelStore, str]:
    """A version with random weights, with one label of gold and one other."""
    torch.manual_seed(0)
    base, store = BaseModelRef(str(tiny_base("bert-cased"))), ModelStore(tmp_path / "models")
    tag_set = TagSet(("Disease", "Gene"))
    with store.staging_folder("encoder") as folder:
        model = base.load_token_classifier(tag_set.tag_names)
        save_model(model, base.load_tokenizer(), folder, base=base)
        reading = {"reading": {"window": 96, "context": 8}}
        draft = VersionMetadata(
            tier="encoder",
            name="untrained",
            base=base.reference,
            labels=tag_set.labels,
            config=reading,
            calibration={"temperature": 1.0},
        )
        return store, store.publish(folder, draft).version


def test_model_and_its_predictions_have_equal_scores(tmp_path, gold, untrained):
    store, version = untrained
    evaluation = run_json(version, gold, "--models", str(store.root))
    assert evaluation["model"] == version
    assert evaluation["unknown_labels"] == {"Chemical": 2}
    assert list(evaluation["by_label"]) == ["Disease", "Gene", "Chemical"]
    assert evaluation["strict"]["predicted"] > 0  # random weights predict many entities

    documents = [Document(f"{number}", TEXT) for number in range(3)]
    answers = load_tagger(store.resolve(version)).predict(documents)
    lines = map(prediction_to_json, documents, answers)
    saved = tmp_path / "saved.jsonl"
    saved.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    again = run_json(str(saved), gold)
    for part in ("strict", "relaxed", "by_length", "errors", "calibration"):
        assert again[part] == evaluation[part]


def test_model_is_compared_with_predictions_on_chosen_labels(gold, predictions, untrained):
    store, version = untrained
    evaluation = run_json(
        version, gold, "--against", predictions, "--labels", "Disease", "--models", str(store.root)
    )
    assert list(evaluation["by_label"]) == ["Disease"]
    assert evaluation["against"]["model"] == "tagger-1"
    assert evaluation["unknown_labels"] == {}


def test_control_characters_of_predictions_are_escaped(tmp_path, gold):
    odd = [{**CHEMICAL, "label": "Chem\x1b[31m"}]
    predictions = write(tmp_path / "said.jsonl", odd, [], [], version="tag\x1b[2Jger")
    shown = run(predictions, gold, "--resamples", "5", "--against", predictions).stdout
    assert "\x1b" not in shown
    assert "tag\\x1b[2Jger" in shown
