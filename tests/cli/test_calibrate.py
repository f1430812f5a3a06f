"""``tagalong calibrate`` as it is typed."""

import json
import shutil
from pathlib import Path

import pytest

from ner.store import Store
from tests.cli.typed import fails, run
from tests.llm_versions import publish_llm_version
from tests.tiny_bases import CORPUS
from tests.tiny_llms import save_llm

SAMPLE = Path("tests/samples/bc5cdr.jsonl").resolve()
QUICK = ("--seconds", "0.1")

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_laptop_gets_a_recommendation(tmp_path: Path) -> None:
    report = tmp_path / "report"
    evaluated = run("evaluate", "bundled", SAMPLE, "--report", tmp_path, "--json")
    said = run(
        *("calibrate", SAMPLE, *QUICK, "--batch", 5_000, "--price", 2, "--budget-ms", 60_000),
        *("--evaluation", tmp_path / "report.json", "--report", report),
    ).stdout
    assert "In real time: serve the encoder minilm-bc5cdr-" in said
    assert "A batch of 5,000 documents takes" in said
    assert "train one with `tagalong train llm`" in said
    figures = json.loads((report / "report.json").read_text())
    assert {one["tier"] for one in figures["timings"]} == {"encoder"}
    assert figures["documents"] == 5
    (quality,) = figures["qualities"].values()
    assert quality["f1"] == json.loads(evaluated.stdout)["strict"]["f1"]
    assert (report / "report.html").is_file()
    assert (report / "report.md").is_file()


def test_an_llm_is_set_beside_the_encoder(store: Store, tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", CORPUS, initializer_range=0.15)
    folder = publish_llm_version(store, base)
    store.promote("llm", folder.name)
    found = json.loads(run("calibrate", SAMPLE, *QUICK, "--json", "--models", store.root).stdout)
    assert [one["tier"] for one in found["timings"]][-1] == "llm"
    assert any("times as long" in sentence for sentence in found["advice"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--encoder", "gone"), "no model version is called 'gone'"),
        (("--llm", "bundled"), "is of tier 'encoder', not 'llm': name it with --encoder"),
        (("--evaluation", SAMPLE), "is no report.json of `tagalong evaluate --report`"),
    ],
)
def test_what_cannot_be_measured_says_why(
    arguments: tuple[object, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in fails(capsys, "calibrate", *QUICK, *arguments)


def test_an_evaluation_by_the_papers_protocol_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", "bundled", SAMPLE, "--protocol", "paper", "--report", tmp_path)
    sentence = fails(capsys, "calibrate", *QUICK, "--evaluation", tmp_path / "report.json")
    assert "is by the paper's protocol" in sentence


def test_one_that_cannot_be_measured_does_not_cost_the_others(store: Store, tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", CORPUS, initializer_range=0.15)
    folder = publish_llm_version(store, base)
    store.promote("llm", folder.name)
    shutil.rmtree(base)
    found = json.loads(run("calibrate", SAMPLE, *QUICK, "--json", "--models", store.root).stdout)
    assert {one["tier"] for one in found["timings"]} == {"encoder"}
    assert any(f"{folder.name}, llm, could not be measured: " in note for note in found["notes"])


def test_an_evaluation_of_another_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", "bundled", SAMPLE, "--report", tmp_path)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "other"}))
    sentence = fails(capsys, "calibrate", *QUICK, "--evaluation", path)
    assert "judges other, and measured are minilm-bc5cdr-" in sentence


def test_documents_without_a_word_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"id": "1", "text": " ", "entities": []}\n')
    assert "no document with a word in it" in fails(capsys, "calibrate", path, *QUICK)
