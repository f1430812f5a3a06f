"""Benchmark reports as tables, JSON, Markdown and HTML."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tagalong.backend.models.load import default_device
from tagalong.backend.models.openvino.library import count_usable_cpus
from tagalong.backend.pages import format_count, format_latency, make_page_environment
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.length_buckets import LENGTH_BUCKETS, LENGTH_NOTES, SHORT_LENGTH_NAMES
from tagalong.ner.tiers import DEFAULT_TIER
from tagalong.training.benchmark.advice import (
    ServingRequirements,
    batch_hours,
    deployable_results,
    describe_p95_share,
    format_amount,
)
from tagalong.training.benchmark.known_scores import MIN_GOLD_ENTITIES, VersionScores
from tagalong.training.benchmark.measure import MIN_DOCUMENTS_FOR_P95, BenchmarkResult
from tagalong.training.evaluation.markdown import escape_markdown, table_to_markdown
from tagalong.training.evaluation.tables import EMPTY_CELL, TextTable


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """Results of a benchmark."""

    requirements: ServingRequirements
    source: str  # name of the documents
    documents: int
    words: int  # in all documents
    results: tuple[BenchmarkResult, ...]  # one per runtime
    scores: Mapping[str, VersionScores]  # known ones, by version
    advice: tuple[str, ...]  # one sentence each
    notes: tuple[str, ...] = ()  # limits, one sentence each
    machine: str = ""


def describe_machine() -> str:
    """Describe GPU, usable CPUs and library versions."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    device = default_device()
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{count_usable_cpus()} CPUs ({platform.machine()}), {libraries}"


def benchmark_tables(report: BenchmarkReport) -> list[TextTable]:
    """Build the tables of a report; empty ones are omitted."""
    build = (_latency_table, _throughput_table, _batch_cost_table, _score_table)
    return [table for table in (function(report) for function in build) if table.rows]


def _latency_table(report: BenchmarkReport) -> TextTable:
    encoder_medians = [one.p50_seconds for one in report.results if one.tier == DEFAULT_TIER]
    best = min(encoder_medians or [one.p50_seconds for one in report.results])
    is_p95_maximum = any(one.timed_documents < MIN_DOCUMENTS_FOR_P95 for one in report.results)
    few = f" With fewer than {MIN_DOCUMENTS_FOR_P95} requests, p95 is the maximum."
    budget = f"Within {report.requirements.latency_budget_text}"
    return TextTable(
        "Latency",
        ("Tier", "Runs on", "Requests", "p50", "p95", budget, "Slowdown"),
        "llrrrlr",
        tuple(
            (
                one.tier,
                one.runtime_name,
                f"{one.timed_documents:,}",
                format_latency(one.p50_seconds),
                format_latency(one.p95_seconds),
                "yes" if report.requirements.allows(one) else "no",
                f"{one.p50_seconds / best:.3g}",
            )
            for one in report.results
        ),
        f"{pluralize(report.documents, 'document')} of {report.words / report.documents:,.0f} "
        "words, from "
        f"{report.source}, in random order. Slowdown: median latency divided by that of the "
        f"fastest encoder.{few if is_p95_maximum else ''}",
    )


def _throughput_table(report: BenchmarkReport) -> TextTable:
    on_gpu = any(one.peak_gpu_memory_bytes for one in report.results)
    return TextTable(
        "Throughput",
        ("Tier", "Runs on", "Documents/s", "Memory", *["GPU memory"] * on_gpu, "Loading"),
        "llrrr" + "r" * on_gpu,
        tuple(
            (
                one.tier,
                one.runtime_name,
                f"{one.documents_per_second:.3g}",
                _format_mib(one.peak_memory_bytes),
                *[_format_mib(one.peak_gpu_memory_bytes)] * on_gpu,
                format_latency(one.load_seconds),
            )
            for one in report.results
        ),
        f"On {report.machine}. Memory: peak of the whole process"
        f"{', without GPU memory' if on_gpu else ''}.",
    )


def _format_mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _batch_cost_table(report: BenchmarkReport) -> TextTable:
    batch, price = report.requirements.batch_documents, report.requirements.cost_per_hour
    rows: list[tuple[str, ...]] = []
    for one in report.results:
        hours = batch_hours(one, batch)
        cost = () if price is None else (format_amount(hours * price),)
        rows.append((one.tier, one.runtime_name, format_amount(hours), *cost))
    return TextTable(
        f"A batch of {format_count(batch, 'document')}",
        ("Tier", "Runs on", "Hours", *["Cost"] * (price is not None)),
        "llr" + "r" * (price is not None),
        tuple(rows),
        "" if price is None else f"Price of this machine: {price:,.2f} per hour.",
    )


def _score_table(report: BenchmarkReport) -> TextTable:
    rows = []
    for name, scores in report.scores.items():
        support = [(length, scores.support.get(length, 0)) for length in LENGTH_BUCKETS]
        by_length = (
            f"{scores.by_length[length]:.3f} ({count:,})" if count else EMPTY_CELL
            for length, count in support
        )
        source = f"{scores.source}, {pluralize(scores.documents, 'document')}"
        rows.append((name, source, f"{scores.f1:.3f}", *by_length))
    return TextTable(
        "Strict F1 by length of the entity",
        ("Version", "Evaluated on", "All", *SHORT_LENGTH_NAMES.values()),
        "llrrrr",
        tuple(rows),
        f"In brackets: gold entities; with fewer than {MIN_GOLD_ENTITIES}, scores are not used. "
        f"{LENGTH_NOTES['words']}",
    )


def benchmark_to_json(report: BenchmarkReport) -> dict[str, Any]:
    """Convert a report to JSON types: seconds, bytes, documents per second, hours per batch."""
    need = report.requirements
    return {
        "requirements": {
            "latency_budget_seconds": need.latency_budget_seconds,
            "batch_documents": need.batch_documents,
            "cost_per_hour": need.cost_per_hour,
            "models_dir": need.models_dir,
        },
        "source": report.source,
        "documents": report.documents,
        "words": report.words,
        "scores": {version: asdict(scores) for version, scores in report.scores.items()},
        "advice": list(report.advice),
        "notes": list(report.notes),
        "machine": report.machine,
        "timings": [
            {
                "version": one.version,
                "runtime": one.runtime,
                "runtime_name": one.runtime_name,
                "load_seconds": one.load_seconds,
                "p50_seconds": one.p50_seconds,
                "p95_seconds": one.p95_seconds,
                "timed_documents": one.timed_documents,
                "documents_per_second": one.documents_per_second,
                "peak_memory_bytes": one.peak_memory_bytes,
                "peak_gpu_memory_bytes": one.peak_gpu_memory_bytes,
                "tier": one.tier,
                "within_budget": need.allows(one),
                "batch_hours": batch_hours(one, need.batch_documents),
            }
            for one in report.results
        ],
    }


def benchmark_to_markdown(report: BenchmarkReport) -> str:
    """Convert a report to Markdown."""
    blocks = ["# Benchmark"]
    blocks += [f"- {escape_markdown(sentence)}" for sentence in report.advice]
    blocks += [f"> {escape_markdown(note)}" for note in report.notes]
    blocks += map(table_to_markdown, benchmark_tables(report))
    return "\n\n".join(blocks) + "\n"


def benchmark_to_html(report: BenchmarkReport) -> str:
    """Render a report as a self-contained HTML page."""
    fastest = min(deployable_results(report.results), key=lambda one: one.p95_seconds)
    p95_seconds = [one.p95_seconds for one in report.results]
    return _ENVIRONMENT.get_template("benchmark.html").render(
        report=report,
        tables=benchmark_tables(report),
        slowest=max(*p95_seconds, report.requirements.latency_budget_seconds),  # end of the axis
        fastest=fastest,
        is_able=report.requirements.allows(fastest),
        p95_share=describe_p95_share(fastest),
    )


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
