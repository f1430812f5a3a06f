"""The Python interface: its documented example, and the same results as the commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tagalong
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.errors import InputError
from tests.cli.run_command import run
from tests.errors import raises
from tests.toy_corpus import toy_documents

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLE = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
# The default of at least 300 steps takes a minute.
FEW_STEPS = "from tagalong.training.recipes import encoder_recipe\nencoder_recipe.MIN_STEPS = 4\n"
TEXTS = [
    "Naloxone reverses the antihypertensive effect of clonidine.",
    "",
    "β-blockers 😀 cause asthma.",
]


def run_python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )


def test_importing_is_fast(tmp_path: Path) -> None:
    program = "import sys, tagalong; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    assert run_python(program, tmp_path).stdout == "set()\n"


@pytest.mark.slow
def test_documented_example_runs_without_output(tmp_path: Path) -> None:
    done = run_python(FEW_STEPS + EXAMPLE, tmp_path)
    first, _, lengths = done.stdout.partition("\n")[0], *done.stdout.rpartition("{")[1:]
    assert first.startswith("Naloxone Chemical ")
    assert "'1': 8" in lengths
    assert done.stderr == ""
    assert len(list((tmp_path / "models" / "encoder").glob("notes-*"))) == 1


@pytest.fixture(scope="module")
def tagger() -> tagalong.Tagger:
    return tagalong.load("bundled")


def test_predictions_equal_those_of_the_command(tagger: tagalong.Tagger, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"text": text}) for text in TEXTS)
    shown = run("predict", "-", "--model", "bundled", "--models", tmp_path, "--json", stdin=lines)
    for spans, line in zip(tagger.predict(TEXTS), shown.stdout.splitlines(), strict=True):
        entities = json.loads(line)["entities"]
        assert [(one.start, one.end, one.label) for one in spans] == [
            (one["start"], one["end"], one["label"]) for one in entities
        ]
        assert [one.score for one in spans] == pytest.approx([one["score"] for one in entities])
    assert tagger.predict(TEXTS[0]) == tagger.predict(TEXTS)[0]
    assert tagger.predict([]) == []


def test_tagger_evaluation_hides_gold_and_equals_its_predictions(tagger: tagalong.Tagger) -> None:
    gold = toy_documents(6)
    report = tagalong.evaluate(gold, tagger)
    by_hand = tagalong.evaluate(gold, tagger.predict_documents(gold), labels=tagger.labels)
    assert report.overall == by_hand.overall
    perfect = [Prediction(one.spans, 1.0, "x") for one in gold]
    assert tagalong.evaluate(gold, perfect).overall.strict.counts.f1 == 1
    assert report.overall.strict.counts.f1 < 1


def test_files_of_any_format_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    entity = {"start": 0, "end": 8, "label": "Chemical"}
    path.write_text(json.dumps({"id": "1", "text": "Naloxone.", "entities": [entity]}))
    assert tagalong.evaluate(str(path), path).overall.strict.counts.f1 == 1
    document = Document("1", "Naloxone.", (Span(0, 8, "Chemical"),))
    assert tagalong.evaluate([document], path).overall.strict.counts.f1 == 1


def test_missing_predictions_are_refused() -> None:
    with raises(InputError, "prediction-count"):
        tagalong.evaluate(toy_documents(2), [])


def test_all_exported_names_exist() -> None:
    assert {getattr(tagalong, name) for name in tagalong.__all__}
    assert set(tagalong.__all__) <= set(dir(tagalong))
    with pytest.raises(AttributeError):
        _ = tagalong.nothing


def test_labels_are_mapped_by_a_labelling_config(tmp_path: Path) -> None:
    config = tmp_path / "config.xml"
    config.write_text(
        '<View><Labels name="l" toName="t"><Label value="Drug" predicted_values="Chemical"/>'
        '</Labels><Text name="t" value="$text"/></View>',
        encoding="utf-8",
    )
    text = "aspirin and fever"
    gold = [Document("1", text, (Span(0, 7, "Drug"),))]
    predicted = [Prediction((Span(0, 7, "Chemical"), Span(12, 17, "Disease")), 1.0, "v")]
    report = tagalong.evaluate(gold, predicted, label_config=config)
    assert (report.overall.strict.counts.tp, report.overall.strict.counts.fp) == (1, 0)
    assert report.dropped_predictions.by_reason == {"label unknown": 1}
