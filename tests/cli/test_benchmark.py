"""The command ``tagalong benchmark``."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.models.openvino import OPENVINO_SWITCH
from tagalong.backend.models.openvino.compile import compile_version
from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli import benchmark
from tagalong.cli.benchmark import choose_benchmark_configs
from tagalong.cli.models import compile_cli
from tagalong.cli.terminal.options import open_store
from tagalong.ner.errors import OpenVINOError
from tagalong.ner.tiers import TIERS
from tagalong.training.benchmark import measure
from tagalong.training.benchmark.measure import BenchmarkResult, run_benchmark
from tests.backend.models.openvino.test_compile import DOCUMENTS, older_cpu, publish  # noqa: F401 (a fixture)
from tests.cli.run_command import run, run_failing
from tests.errors import failed
from tests.forked_process import CONTEXT
from tests.llm_versions import publish_llm_version
from tests.terms_tier import TERMS, TERMS_SPEC, publish_terms
from tests.tiny_bases import CORPUS
from tests.tiny_llms import save_llm

SAMPLE = Path("tests/samples/bc5cdr.jsonl").resolve()
QUICK = ("--seconds", "0.1")
TEXT = "Naloxone reverses clonidine."

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in forked processes, which have torch imported."""
    monkeypatch.setattr(measure, "get_context", lambda _: CONTEXT)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_laptop_gets_a_recommendation(tmp_path: Path) -> None:
    report = tmp_path / "report"
    evaluated = run("evaluate", "bundled", SAMPLE, "--report", tmp_path, "--json")
    output = run(
        *(
            "benchmark",
            SAMPLE,
            *QUICK,
            "--batch",
            5_000,
            "--cost-per-hour",
            2,
            "--latency-budget-ms",
            60_000,
        ),
        *("--evaluation", tmp_path / "report.json", "--report", report),
    ).stdout
    assert "minilm-bc5cdr-" in output
    assert "5,000" in output
    report_json = json.loads((report / "report.json").read_text())
    assert {one["tier"] for one in report_json["timings"]} == {"encoder"}
    assert report_json["documents"] == 5
    (quality,) = report_json["scores"].values()
    assert quality["f1"] == json.loads(evaluated.stdout)["strict"]["f1"]
    assert (report / "report.html").is_file()
    assert (report / "report.md").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_llm_is_compared_with_the_encoder(store: ModelStore, tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", CORPUS, initializer_range=0.15)
    folder = publish_llm_version(store, base)
    store.promote("llm", folder.name)
    found = json.loads(run("benchmark", SAMPLE, *QUICK, "--json", "--models", store.root).stdout)
    assert [one["tier"] for one in found["timings"]][-1] == "llm"
    assert any("times as long" in sentence for sentence in found["advice"])
    named = f"--report DIR --models {shlex.quote(str(store.root))}` compares them"
    assert any(named in sentence for sentence in found["advice"])
    assert found["requirements"]["models_dir"] == str(store.root)


def test_losses_of_the_documents_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.tsv"
    path.write_text("renal\tI-X\tO\nfailure\tI-X\tB-Y\n")
    assert benchmark.read_texts([path]) == ["renal failure"]
    assert "I- without B-, 1 time" in (shown := capsys.readouterr().err)
    assert "1 annotation lost (1 another tag column)" in shown

    def refuse(*_: object, **__: object) -> None:
        raise OpenVINOError("no", code="no")

    monkeypatch.setattr("tagalong.backend.models.openvino.compile.compile_version", refuse)
    with pytest.raises(OpenVINOError):
        compile_cli("bundled", documents=[path])
    assert capsys.readouterr().err == shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--encoder", "gone"), "version-not-found"),
        (("--llm", "bundled"), "version-of-another-tier"),
        (("--evaluation", SAMPLE), "not-an-evaluation-report"),
    ],
)
def test_failed_measurement_has_a_reason(
    arguments: tuple[object, ...], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(run_failing(capsys, "benchmark", *QUICK, *arguments), code)


def test_evaluation_by_the_paper_protocol_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", "bundled", SAMPLE, "--protocol", "paper", "--report", tmp_path)
    sentence = run_failing(capsys, "benchmark", *QUICK, "--evaluation", tmp_path / "report.json")
    failed(sentence, "report-of-paper-protocol")


def test_evaluation_with_other_lengths_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", SAMPLE, SAMPLE, "--length-by", "blanks", "--report", tmp_path)
    sentence = run_failing(capsys, "benchmark", *QUICK, "--evaluation", tmp_path / "report.json")
    failed(sentence, "report-of-other-lengths")


@pytest.mark.parametrize(
    "arguments", [("--cost-per-hour", "inf"), ("--latency-budget-ms", "inf"), ("--seconds", "inf")]
)
def test_infinite_options_are_refused(arguments: tuple[str, ...]) -> None:
    output = " ".join(run("benchmark", *arguments, code=2).stderr.replace("│", " ").split())
    assert f"Invalid value for '{arguments[0]}': inf is not a finite number" in output


@pytest.mark.usefixtures("older_cpu")
def test_every_runtime_is_measured_with_its_serving_options(
    store: ModelStore,
    tmp_path: Path,
    tiny_base: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OPENVINO_SWITCH, "true")
    encoder = publish(tiny_base("bert-cased"), store)
    compile_version(encoder, quantization_documents=DOCUMENTS, check_documents=DOCUMENTS)
    llm = publish_llm_version(store, save_llm(tmp_path / "base", CORPUS, initializer_range=0.15))
    settings, notes = choose_benchmark_configs(store, encoder.name, llm.name)
    assert notes == []
    assert [one.runtime for one in settings if one.runtime != "fp32"] == [
        "openvino",
        "torch",
        "llm",
    ]
    assert {one.version_dir for one in settings[:-1]} == {encoder}
    assert (settings[-1].version_dir, settings[-1].drafter_dir) == (llm, encoder)
    assert settings[-1].use_openvino
    measured = {
        one.runtime: run_benchmark(one, [TEXT], seconds=0.01).runtime_name for one in settings[:2]
    }
    assert measured["openvino"].startswith("OpenVINO")
    assert measured["torch"].startswith("PyTorch")
    monkeypatch.setenv(OPENVINO_SWITCH, "false")
    settings, _ = choose_benchmark_configs(store, encoder.name, llm.name)
    assert [one.runtime for one in settings if one.runtime != "fp32"] == ["torch", "llm"]
    assert settings[-1].drafter_dir == encoder
    assert not settings[-1].use_openvino


def test_current_version_of_a_further_tier_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.promote(TERMS, publish_terms(store).version)
    monkeypatch.setitem(TIER_SPECS, TERMS, TERMS_SPEC)
    for module in (benchmark, measure):
        monkeypatch.setattr(module, "TIERS", (*TIERS, TERMS))
    *encoders, config = choose_benchmark_configs(store, None, None)[0]
    assert {one.tier for one in encoders} == {"encoder"}
    assert (config.tier, config.version_dir, config.drafter_dir) == (
        TERMS,
        store.resolve(TERMS),
        None,
    )
    assert run_benchmark(config, [TEXT], seconds=0.01).version == config.version


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are no bytes elsewhere")
def test_documents_file_with_non_utf8_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/texts-\xe9.jsonl")
    shutil.copy(SAMPLE, odd)
    timing = BenchmarkResult(
        "small", "openvino", "OpenVINO, int8", 1.0, 0.02, 0.04, 100, 50.0, 2**29
    )
    monkeypatch.setattr(benchmark, "run_benchmarks", lambda *_: ([timing], {}))
    run("benchmark", odd, "--report", tmp_path / "report")
    for name in ("report.md", "report.html", "report.json"):
        assert "udce9.jsonl" in (tmp_path / "report" / name).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_failed_measurement_does_not_affect_others(store: ModelStore, tmp_path: Path) -> None:
    base = save_llm(tmp_path / "base", CORPUS, initializer_range=0.15)
    folder = publish_llm_version(store, base)
    store.promote("llm", folder.name)
    shutil.rmtree(base)
    found = json.loads(run("benchmark", SAMPLE, *QUICK, "--json", "--models", store.root).stdout)
    assert {one["tier"] for one in found["timings"]} == {"encoder"}
    assert any(f"{folder.name}, llm, could not be measured: " in note for note in found["notes"])
    assert found["advice"][-1] == f"The LLM {folder.name} could not be measured: see the note."


def test_evaluation_of_another_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", "bundled", SAMPLE, "--report", tmp_path)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "other"}))
    sentence = run_failing(capsys, "benchmark", *QUICK, "--evaluation", path)
    failed(sentence, "report-of-other-versions")


def test_documents_without_words_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"id": "1", "text": " ", "entities": []}\n')
    failed(run_failing(capsys, "benchmark", path, *QUICK), "no-words")
