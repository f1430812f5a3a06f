"""Benchmark reports as tables, JSON, Markdown and HTML."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tagalong.backend.models.load import default_device
from tagalong.backend.models.openvino.library import count_usable_cpus
from tagalong.backend.pages import format_count, format_latency, make_page_environment
from tagalong.ner.scoring import LENGTH_BUCKETS
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
from tagalong.training.evaluation.tables import EMPTY_CELL, LENGTH_COLUMN_NAMES, TextTable

BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """Results of a benchmark.

    Attributes:
        source: Name of the documents.
        documents: Number of documents.
        words: Number of words in all documents.
        results: One per runtime.
        scores: Known scores by version.
        advice: Recommendations, one sentence each.
        notes: Limits, one sentence each.
        machine: Description of the machine.
    """

    requirements: ServingRequirements
    source: str
    documents: int
    words: int
    results: tuple[BenchmarkResult, ...]
    scores: Mapping[str, VersionScores]
    advice: tuple[str, ...]
    notes: tuple[str, ...] = ()
    machine: str = ""


def describe_machine() -> str:
    """Describe GPU, usable CPUs and library versions."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    device = default_device()
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{count_usable_cpus()} CPUs ({platform.machine()}), {libraries}"


def benchmark_tables(report: BenchmarkReport) -> list[TextTable]:
    """Build the tables of a report; empty ones are omitted."""
    tables = [
        _latency_table(report),
        _throughput_table(report),
        _batch_cost_table(report),
        _score_table(report),
    ]
    return [table for table in tables if table.rows]


def _latency_table(report: BenchmarkReport) -> TextTable:
    encoder_medians = [one.p50_seconds for one in report.results if one.tier == DEFAULT_TIER]
    best = min(encoder_medians or [one.p50_seconds for one in report.results])
    is_p95_maximum = any(one.timed_documents < MIN_DOCUMENTS_FOR_P95 for one in report.results)
    few = f" With fewer than {MIN_DOCUMENTS_FOR_P95} requests, p95 is the maximum."
    return TextTable(
        "Latency",
        (
            "Tier",
            "Runs on",
            "Requests",
            "p50",
            "p95",
            f"Within {report.requirements.latency_budget_text}",
            "Slowdown",
        ),
        "llrrrlr",
        tuple(
            (
                *(
                    one.tier,
                    one.runtime_name,
                    f"{one.timed_documents:,}",
                    format_latency(one.p50_seconds),
                    format_latency(one.p95_seconds),
                ),
                *(
                    "yes"
                    if one.p95_seconds <= report.requirements.latency_budget_seconds
                    else "no",
                    f"{one.p50_seconds / best:.3g}",
                ),
            )
            for one in report.results
        ),
        f"{report.documents:,} documents of {report.words / report.documents:,.0f} words, from "
        f"{report.source}, in random order. Slowdown: median latency divided by that of the "
        f"fastest encoder.{few if is_p95_maximum else ''}",
    )


def _throughput_table(report: BenchmarkReport) -> TextTable:
    on_gpu = any(one.peak_gpu_memory_bytes for one in report.results)
    return TextTable(
        "Throughput",
        (
            "Tier",
            "Runs on",
            "Documents/s",
            "Memory",
            *(("GPU memory",) if on_gpu else ()),
            "Loading",
        ),
        "llrrr" + "r" * on_gpu,
        tuple(
            (
                *(one.tier, one.runtime_name, f"{one.documents_per_second:.3g}"),
                f"{one.peak_memory_bytes / BYTES_PER_MIB:,.0f} MiB",
                *((f"{one.peak_gpu_memory_bytes / BYTES_PER_MIB:,.0f} MiB",) if on_gpu else ()),
                format_latency(one.load_seconds),
            )
            for one in report.results
        ),
        f"On {report.machine}. Memory: peak of the whole process"
        f"{', without GPU memory' if on_gpu else ''}.",
    )


def _batch_cost_table(report: BenchmarkReport) -> TextTable:
    cost_per_hour = report.requirements.cost_per_hour
    return TextTable(
        f"A batch of {format_count(report.requirements.batch_documents, 'document')}",
        ("Tier", "Runs on", "Hours", *(("Cost",) if cost_per_hour is not None else ())),
        "llr" + "r" * (cost_per_hour is not None),
        tuple(
            (
                one.tier,
                one.runtime_name,
                format_amount(batch_hours(one, report.requirements.batch_documents)),
                *(
                    (
                        format_amount(
                            batch_hours(one, report.requirements.batch_documents) * cost_per_hour
                        ),
                    )
                    if cost_per_hour is not None
                    else ()
                ),
            )
            for one in report.results
        ),
        "" if cost_per_hour is None else f"Price of this machine: {cost_per_hour:,.2f} per hour.",
    )


def _score_table(report: BenchmarkReport) -> TextTable:
    return TextTable(
        "Strict F1 by length of the entity",
        (
            "Version",
            "Evaluated on",
            "All",
            *(LENGTH_COLUMN_NAMES[length] for length in LENGTH_BUCKETS),
        ),
        "llrrrr",
        tuple(
            (
                name,
                f"{version_scores.source}, {version_scores.documents:,} documents",
                f"{version_scores.f1:.3f}",
                *(
                    f"{version_scores.by_length[length]:.3f} ({support:,})"
                    if support
                    else EMPTY_CELL
                    for length in LENGTH_BUCKETS
                    for support in (version_scores.support.get(length, 0),)
                ),
            )
            for name, version_scores in report.scores.items()
        ),
        f"In brackets: gold entities; with fewer than {MIN_GOLD_ENTITIES}, scores are not used.",
    )


def benchmark_to_json(report: BenchmarkReport) -> dict[str, Any]:
    """Convert a report to JSON types: seconds, bytes, documents per second, hours per batch."""
    return {
        "need": {
            "budget": report.requirements.latency_budget_seconds,
            "batch": report.requirements.batch_documents,
            "price": report.requirements.cost_per_hour,
            "models": report.requirements.models_dir,
        },
        "source": report.source,
        "documents": report.documents,
        "words": report.words,
        "qualities": {
            version: {
                "source": scores.source,
                "documents": scores.documents,
                "f1": scores.f1,
                "by_length": dict(scores.by_length),
                "support": dict(scores.support),
                "paired": {
                    name: list(interval) for name, interval in scores.paired_intervals.items()
                },
            }
            for version, scores in report.scores.items()
        },
        "advice": list(report.advice),
        "notes": list(report.notes),
        "machine": report.machine,
        "timings": [
            {
                "version": one.version,
                "way": one.runtime,
                "runs_on": one.runtime_name,
                "load_seconds": one.load_seconds,
                "p50": one.p50_seconds,
                "p95": one.p95_seconds,
                "asked": one.timed_documents,
                "per_second": one.documents_per_second,
                "memory": one.peak_memory_bytes,
                "gpu_memory": one.peak_gpu_memory_bytes,
                "tier": one.tier,
                "within_budget": one.p95_seconds <= report.requirements.latency_budget_seconds,
                "batch_hours": batch_hours(one, report.requirements.batch_documents),
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
    slowest = max(one.p95_seconds for one in report.results)
    fastest = min(deployable_results(report.results), key=lambda one: one.p95_seconds)
    return _ENVIRONMENT.get_template("benchmark.html").render(
        report=report,
        tables=benchmark_tables(report),
        slowest=max(slowest, report.requirements.latency_budget_seconds),
        fastest=fastest,
        is_able=fastest.p95_seconds <= report.requirements.latency_budget_seconds,
        p95_share=describe_p95_share(fastest),
    )


_ENVIRONMENT = make_page_environment(Path(__file__).parents[1] / "templates")
