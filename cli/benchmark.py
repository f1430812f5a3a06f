"""``tagalong benchmark``: speed and cost of the tiers on this machine, with advice."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tagalong.backend.models.openvino import OPENVINO_MISSING_MESSAGE
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import (
    console,
    echo_json,
    error_console,
    silence_libraries,
    warn,
)
from tagalong.cli.terminal.options import (
    CostPerHourOption,
    JsonOption,
    ModelsOption,
    ReportOption,
    check_finite,
    open_store,
)
from tagalong.cli.terminal.tables import print_tables
from tagalong.ner.errors import InputError, OpenVINOError, TagalongError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.ner.tiers import DEFAULT_TIER, LLM, TIERS
from tagalong.ner.words import word_offsets
from tagalong.training.corpus import describe_reading, read_corpus

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.benchmark.known_scores import VersionScores
    from tagalong.training.benchmark.measure import BenchmarkConfig, BenchmarkResult, Runtime
    from tagalong.training.benchmark.report import BenchmarkReport

DEFAULT_DOCUMENTS_NAME = "the 48 abstracts of BC5CDR that come with Tagalong"
DEFAULT_MODELS = Path("models")

DocumentsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        exists=True,
        help="Documents like yours, annotated or not, in any format that `data check` reads.",
        show_default=DEFAULT_DOCUMENTS_NAME,
    ),
]
BenchmarkEncoderOption = Annotated[
    str | None,
    typer.Option(help="Encoder version.", show_default="the current one, else the bundled one"),
]
BenchmarkLlmOption = Annotated[
    str | None,
    typer.Option(help="LLM version.", show_default="the current one, if there is one"),
]
LatencyBudgetOption = Annotated[
    float,
    typer.Option(
        min=1,
        callback=check_finite,
        help="Maximum latency per document for interactive use, in milliseconds.",
    ),
]
BatchOption = Annotated[
    int, typer.Option(min=1, help="Number of documents of the batch job to price.")
]
EvaluationOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="A report.json of `tagalong evaluate --report`, for a version's scores; may be given "
        "again.",
        show_default="the scores in the manifest",
    ),
]
SecondsOption = Annotated[
    float,
    typer.Option(
        min=0.1,
        callback=check_finite,
        help="Duration of each measurement; every runtime is measured twice.",
    ),
]


def benchmark_cli(
    documents: DocumentsArgument = None,
    encoder: BenchmarkEncoderOption = None,
    llm: BenchmarkLlmOption = None,
    latency_budget_ms: LatencyBudgetOption = 100,
    batch: BatchOption = 100_000,
    cost_per_hour: CostPerHourOption = None,
    evaluation: EvaluationOption = None,
    seconds: SecondsOption = 10,
    report: ReportOption = None,
    as_json: JsonOption = False,
    models: ModelsOption = DEFAULT_MODELS,
) -> None:
    """Measure speed and cost of each tier on this machine, and recommend one for each use case.

    Example: tagalong benchmark export.json --latency-budget-ms 100 --report benchmark
    """
    from tagalong.training.benchmark.advice import ServingRequirements, recommend_tiers
    from tagalong.training.benchmark.report import (
        BenchmarkReport,
        benchmark_to_html,
        benchmark_to_json,
        benchmark_to_markdown,
        describe_machine,
    )
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if report is not None:
        check_report_dir(report)
    texts = read_texts(documents)
    configs, notes = choose_benchmark_configs(open_store(models), encoder, llm)
    # Before the measurements, so that an unusable --evaluation costs no time.
    scores = collect_known_scores(configs, evaluation or [])
    results, failed = run_benchmarks(configs, texts, seconds)
    models_dir = None if models == DEFAULT_MODELS else str(models)
    requirements = ServingRequirements(latency_budget_ms / 1000, batch, cost_per_hour, models_dir)
    names = [escape_unprintable(path.name) for path in documents or ()]
    benchmark = BenchmarkReport(
        requirements=requirements,
        source=", ".join(names) or DEFAULT_DOCUMENTS_NAME,
        documents=len(texts),
        words=sum(len(word_offsets(text)) for text in texts),
        results=tuple(results),
        scores=scores,
        advice=recommend_tiers(results, scores, requirements, failed=tuple(failed)),
        notes=(*notes, *failed.values()),
        machine=describe_machine(),
    )
    report_json = benchmark_to_json(benchmark)
    if as_json:
        echo_json(report_json)
    else:
        render_benchmark(benchmark)
    if report is not None:
        markdown, html = benchmark_to_markdown(benchmark), benchmark_to_html(benchmark)
        write_report(report, report_json=report_json, markdown=markdown, html=html)


def read_texts(files: Sequence[Path] | None) -> list[str]:
    """Read the texts with words of files, with warnings of losses, or those of the sample.

    Raises:
        InputError: If there are none.
    """
    from tagalong.backend.models.openvino.compile import read_sample_documents

    corpus = read_corpus(files) if files else None
    for sentence in describe_reading(corpus) if corpus else ():
        warn(sentence)
    documents = corpus.documents if corpus else read_sample_documents()
    texts = [document.text for document in documents if word_offsets(document.text)]
    if not texts:
        raise InputError(
            "the documents contain no words: give documents with text", code="no-words"
        )
    return texts


def choose_benchmark_configs(
    store: ModelStore, encoder: str | None, llm: str | None
) -> "tuple[list[BenchmarkConfig], list[str]]":
    """Choose the versions and runtimes to measure; an encoder is compiled if needed.

    Without `encoder`, it is the default version. Without `llm`, and of every further tier, it is
    the current one, if any.

    Returns the configs, and notes of one sentence each.

    Raises:
        RegistryError: If a version does not exist.
        InputError: If a version has another tier.
    """
    from tagalong.backend.models.openvino.compile import should_use_openvino
    from tagalong.backend.models.tier_specs import TIER_SPECS
    from tagalong.training.benchmark.measure import BenchmarkConfig

    folder = store.resolve_in_tier(encoder or DEFAULT_TIER, DEFAULT_TIER)
    labels = {*read_manifest(folder, verify=False).labels}
    runtimes, notes = _available_runtimes(folder)
    configs = [BenchmarkConfig(folder.name, folder, runtime) for runtime in runtimes]
    for tier in TIERS:
        reference = (llm if tier == LLM else None) or (store.current_version(tier) and tier)
        if tier == DEFAULT_TIER or not reference:
            continue
        other = store.resolve_in_tier(reference, tier)
        drafts = TIER_SPECS[tier].drafter_tier == DEFAULT_TIER and not labels.isdisjoint(
            read_manifest(other, verify=False).labels
        )
        drafter = folder if drafts else None  # as in serving
        configs.append(
            BenchmarkConfig(other.name, other, tier, drafter, use_openvino=should_use_openvino())
        )
    return configs, notes


def _available_runtimes(folder: Path) -> "tuple[list[Runtime], list[str]]":
    """Runtimes of an encoder on this machine, fastest first, with notes on missing ones."""
    from tagalong.backend.models.base_models.precision import has_bf16
    from tagalong.backend.models.load import default_device
    from tagalong.backend.models.openvino.cache import find_openvino_model
    from tagalong.backend.models.openvino.compile import compile_version, should_use_openvino
    from tagalong.backend.models.openvino.library import openvino_version

    runtimes: list[Runtime] = ["torch", "fp32"] if has_bf16(default_device()) else ["torch"]
    if not should_use_openvino():
        return runtimes, []
    if not openvino_version():
        return runtimes, [OPENVINO_MISSING_MESSAGE]
    if find_openvino_model(read_manifest(folder, verify=False)) is None:
        try:
            with error_console.status(f"Compiling {escape(folder.name)}"):
                compile_version(folder)
        except OpenVINOError as error:  # the other runtimes still work
            note = f"The encoder runs on PyTorch, because OpenVINO cannot run it: {error}."
            return runtimes, [note]
    return ["openvino", *runtimes], []


def collect_known_scores(
    configs: "Sequence[BenchmarkConfig]", evaluations: Sequence[Path]
) -> "dict[str, VersionScores]":
    """Collect known scores by version, of evaluation reports rather than manifests.

    Raises:
        InputError: If a file is no such report, or evaluates none of the versions.
    """
    from tagalong.training.benchmark.known_scores import scores_from_manifest, scores_from_report

    folders = {config.version: config.version_dir for config in configs}
    known = {
        name: scores_from_manifest(read_manifest(folder, verify=False))
        for name, folder in folders.items()
    }
    for path in evaluations:
        try:
            report_json = json.loads(path.read_text(encoding="utf-8"))
            if report_json.get("protocol") == "paper":
                raise InputError(
                    f"{path} uses --protocol paper: give a report of the exact protocol",
                    code="report-of-paper-protocol",
                )
            if report_json.get("length_by", "words") != "words":
                raise InputError(
                    f"{path} counts lengths by {report_json['length_by']}, other scores count "
                    "words: evaluate again without --length-by",
                    code="report-of-other-lengths",
                )
            evaluated = scores_from_report(report_json)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is no report.json of `tagalong evaluate --report`: give one",
                code="not-an-evaluation-report",
            ) from error
        if folders.keys().isdisjoint(evaluated):
            raise InputError(
                f"{path} evaluates {' and '.join(evaluated)}, but the benchmark measures "
                f"{', '.join(folders)}: evaluate one of these, or select another with "
                "--encoder or --llm",
                code="report-of-other-versions",
            )
        known |= {name: scores for name, scores in evaluated.items() if name in folders}
    return {name: scores for name, scores in known.items() if scores is not None}


def run_benchmarks(
    configs: "Sequence[BenchmarkConfig]", texts: Sequence[str], seconds: float
) -> "tuple[list[BenchmarkResult], dict[BenchmarkConfig, str]]":
    """Measure all configs, one after the other.

    Returns results, and the failed configs with a sentence each.

    Raises:
        TagalongError: If all configs failed.
    """
    from tagalong.training.benchmark.measure import benchmark_in_subprocess

    results: list[BenchmarkResult] = []
    failed: dict[BenchmarkConfig, str] = {}
    for config in configs:
        name = f"{config.version}, {config.runtime}"
        try:
            with error_console.status(f"Measuring {escape(name)}"):
                results.append(
                    benchmark_in_subprocess(
                        config, texts, seconds=seconds, initializer=silence_libraries
                    )
                )
        except TagalongError as error:
            if config == configs[-1] and not results:  # without any result there is no report
                raise
            failed[config] = f"{name}, could not be measured: {error}."
    return results, failed


def render_benchmark(report: "BenchmarkReport") -> None:
    """Print advice, notes and tables of a benchmark."""
    from tagalong.training.benchmark.report import benchmark_tables

    for sentence in report.advice:
        console.print(sentence, style="bold", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"Note: {note}", style="yellow", markup=False, soft_wrap=True)
    print_tables(benchmark_tables(report))
