"""``tagalong benchmark``: what each tier costs on this machine, and which one to use for what."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tagalong.backend.models.openvino.switch import OPENVINO_MISSING_MESSAGE
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import console, echo_json, error_console
from tagalong.cli.terminal.logging_setup import silence_libraries
from tagalong.cli.terminal.options import (
    JsonOption,
    ModelsOption,
    check_finite,
    open_store,
)
from tagalong.cli.terminal.tables import print_tables
from tagalong.ner.errors import InputError, OpenVINOError, TagalongError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import DEFAULT_TIER, LLM
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.ner.words import word_offsets
from tagalong.training.corpus import read_corpus

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.benchmark.known_scores import VersionScores
    from tagalong.training.benchmark.measure import BenchmarkConfig, BenchmarkResult, Runtime
    from tagalong.training.benchmark.report import BenchmarkReport

DEFAULT_DOCUMENTS_NAME = "the 48 abstracts of BC5CDR that come with Tagalong"


def benchmark_cli(
    documents: Annotated[
        list[Path] | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help=("Documents like yours, annotated or not, in any format that `data check` reads."),
            show_default=DEFAULT_DOCUMENTS_NAME,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder version.", show_default="the current one, else the bundled one"),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(help="LLM version.", show_default="the current one, if there is one"),
    ] = None,
    latency_budget_ms: Annotated[
        float,
        typer.Option(
            min=1,
            callback=check_finite,
            help=("Maximum latency per document for interactive use, in milliseconds."),
        ),
    ] = 100,
    batch: Annotated[
        int, typer.Option(min=1, help="Number of documents of the batch job to price.")
    ] = 100_000,
    cost_per_hour: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=check_finite,
            help="Price of this machine per hour, for the cost estimate.",
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help=(
                "A report.json of `tagalong evaluate --report`, for a version's scores; may "
                "be given again."
            ),
            show_default="the scores in the manifest",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.1,
            callback=check_finite,
            help=("Duration of each measurement; every runtime is measured twice."),
        ),
    ] = 10,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help=("Write report.html, report.md and report.json into this folder."),
        ),
    ] = None,
    as_json: JsonOption = False,
    models: ModelsOption = Path("models"),
) -> None:
    """Measure what each tier costs on this machine, and say which one to use for what.

    Example: tagalong benchmark export.json --latency-budget-ms 100 --report benchmark
    """
    from tagalong.backend.models.openvino.samples import read_sample_documents
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
    store = open_store(models)
    read = read_corpus(documents).documents if documents else read_sample_documents()
    texts = [document.text for document in read if word_offsets(document.text)]
    if not texts:
        raise InputError("there is no document with a word in it: give some that have text")
    settings, notes = choose_benchmark_configs(store, encoder, llm)
    qualities = collect_known_scores(settings, evaluation or [])
    timings, failed = run_benchmarks(settings, texts, seconds)
    elsewhere = None if models == Path("models") else str(models)
    need = ServingRequirements(latency_budget_ms / 1000, batch, cost_per_hour, elsewhere)
    found = BenchmarkReport(
        requirements=need,
        source=", ".join(escape_unprintable(path.name) for path in documents)
        if documents
        else DEFAULT_DOCUMENTS_NAME,
        documents=len(texts),
        words=sum(len(word_offsets(text)) for text in texts),
        results=tuple(timings),
        scores=qualities,
        advice=recommend_tiers(timings, qualities, need, failed=tuple(failed)),
        notes=(*notes, *failed.values()),
        machine=describe_machine(),
    )
    figures = benchmark_to_json(found)
    if as_json:
        echo_json(figures)
    else:
        render_benchmark(found)
    if report is not None:
        write_report(
            report,
            report_json=figures,
            markdown=benchmark_to_markdown(found),
            html=benchmark_to_html(found),
        )


def choose_benchmark_configs(
    store: ModelStore, encoder: str | None, llm: str | None
) -> "tuple[list[BenchmarkConfig], list[str]]":
    """Find the ways to serve that are to be measured; an engine is made where there is none.

    Args:
        store: Where versions are.
        encoder: A reference to an encoder; None for the default.
        llm: A reference to an LLM; None for the current one, if there is one.

    Returns:
        The ways, and what to know of them, a sentence each.

    Raises:
        RegistryError: If there is no such version.
        InputError: If a version is of the other tier.
    """
    from tagalong.backend.models.openvino.compile import should_use_openvino
    from tagalong.training.benchmark.measure import BenchmarkConfig

    folder = _resolve_version_of_tier(store, encoder or store.default_reference(), DEFAULT_TIER)
    ways, notes = _available_runtimes(folder)
    settings = [BenchmarkConfig(folder.name, folder, way) for way in ways]
    if llm is None and store.current_version(LLM) is not None:
        llm = LLM
    if llm is not None:
        other = _resolve_version_of_tier(store, llm, LLM)
        shared = set(read_manifest(folder, verify=False).labels)
        drafts = not shared.isdisjoint(read_manifest(other, verify=False).labels)
        drafter = folder if drafts else None
        settings.append(
            BenchmarkConfig(other.name, other, "llm", drafter, use_openvino=should_use_openvino())
        )
    return settings, notes


def _resolve_version_of_tier(store: ModelStore, reference: str, tier: str) -> Path:
    """The folder of a version, which must be of a certain tier."""
    folder = store.resolve(reference)
    manifest = read_manifest(folder, verify=False)
    if manifest.tier != tier:
        raise InputError(
            f"{manifest.version} is of tier {manifest.tier!r}, not {tier!r}: name it with "
            f"--{manifest.tier}"
        )
    return folder


def _available_runtimes(folder: Path) -> "tuple[list[Runtime], list[str]]":
    """How an encoder can be served here, the fastest first, and why not otherwise."""
    from tagalong.backend.models.base_models.precision import has_bf16
    from tagalong.backend.models.load import default_device
    from tagalong.backend.models.openvino.cache import find_openvino_model
    from tagalong.backend.models.openvino.compile import compile_version, should_use_openvino
    from tagalong.backend.models.openvino.library import openvino_version

    ways: list[Runtime] = ["torch", "fp32"] if has_bf16(default_device()) else ["torch"]
    if not should_use_openvino():
        return ways, []
    if not openvino_version():
        return ways, [OPENVINO_MISSING_MESSAGE]
    if find_openvino_model(folder, read_manifest(folder, verify=False)) is None:
        try:
            with error_console.status(f"Making the CPU engine of {escape(folder.name)}"):
                compile_version(folder)
        except OpenVINOError as error:
            return ways, [f"PyTorch runs the encoder, as no CPU engine can: {error}."]
    return ["engine", *ways], []


def collect_known_scores(
    configs: "Sequence[BenchmarkConfig]", evaluations: Sequence[Path]
) -> "dict[str, VersionScores]":
    """What the versions find, as far as that is known.

    Args:
        configs: Ways to serve them.
        evaluations: Files of `tagalong evaluate`, which count for more than manifests.

    Returns:
        Their scores by name.

    Raises:
        InputError: If a file is no such one, or is of none of them.
    """
    from tagalong.training.benchmark.known_scores import scores_from_manifest, scores_from_report

    folders = {setting.version: setting.version_dir for setting in configs}
    manifests = {name: read_manifest(folder, verify=False) for name, folder in folders.items()}
    known = {name: scores_from_manifest(manifest) for name, manifest in manifests.items()}
    for path in evaluations:
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
            if figures.get("protocol") == "paper":
                raise InputError(f"{path} is by the paper's protocol: give one by the exact one")
            found = scores_from_report(figures)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is no report.json of `tagalong evaluate --report`: give such a file"
            ) from error
        if folders.keys().isdisjoint(found):
            raise InputError(
                f"{path} judges {' and '.join(found)}, and measured are {', '.join(folders)}: "
                "evaluate one of those, by this name, or measure that version with --encoder or "
                "--llm"
            )
        known |= {name: quality for name, quality in found.items() if name in folders}
    return {name: quality for name, quality in known.items() if quality is not None}


def run_benchmarks(
    configs: "Sequence[BenchmarkConfig]", texts: Sequence[str], seconds: float
) -> "tuple[list[BenchmarkResult], dict[BenchmarkConfig, str]]":
    """Measure every way to serve, one after the other.

    Args:
        configs: The ways.
        texts: To be read.
        seconds: For each of two measurements.

    Returns:
        What they took, and which could not be measured, with a sentence of why.

    Raises:
        TagalongError: If none could.
    """
    from tagalong.training.benchmark.measure import benchmark_in_subprocess

    timings: list[BenchmarkResult] = []
    failed: dict[BenchmarkConfig, str] = {}
    for setting in configs:
        told = f"Measuring {escape(setting.version)}, {setting.runtime}"
        try:
            with error_console.status(told):
                timing = benchmark_in_subprocess(
                    setting, texts, seconds=seconds, initializer=silence_libraries
                )
        except TagalongError as error:
            if len(configs) == 1 or (setting == configs[-1] and not timings):
                raise
            failed[setting] = (
                f"{setting.version}, {setting.runtime}, could not be measured: {error}."
            )
        else:
            timings.append(timing)
    return timings, failed


def render_benchmark(report: "BenchmarkReport") -> None:
    """Show a calibration: what to do, and the figures.

    Args:
        report: What was found.
    """
    from tagalong.training.benchmark.report import benchmark_tables

    for sentence in report.advice:
        console.print(sentence, style="bold", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"Note: {note}", style="yellow", markup=False, soft_wrap=True)
    print_tables(benchmark_tables(report))
