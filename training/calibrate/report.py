"""What was measured, laid out: tables for the terminal and for Markdown, JSON, and a page."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from backend.engine.library import usable_cpus
from backend.pages import brief, counted, page_environment
from backend.tier import default_device
from ner.catalogue import DEFAULT_TIER
from ner.scoring import LENGTHS
from training.calibrate.advice import Need, amount, hours, most_of, usable
from training.calibrate.quality import FEW_GOLD, Quality
from training.calibrate.timing import ENOUGH, Timing
from training.markdown import escape, table_to_markdown
from training.tables import NAMES, NOTHING, Table

MIB = 2**20


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Everything a calibration has found.

    Attributes:
        need: What was wanted.
        source: Where the documents come from.
        documents: How many there are.
        words: In all of them.
        timings: Of each way to serve.
        qualities: Of versions by name.
        advice: What to do, a sentence each.
        notes: What else to know, a sentence each.
        machine: On what it was measured.
    """

    need: Need
    source: str
    documents: int
    words: int
    timings: tuple[Timing, ...]
    qualities: Mapping[str, Quality]
    advice: tuple[str, ...]
    notes: tuple[str, ...] = ()
    machine: str = ""


def this_machine() -> str:
    """What may be used of it, and the libraries that count."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    device = default_device()
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{usable_cpus()} CPUs ({platform.machine()}), {libraries}"


def calibration_tables(report: CalibrationReport) -> list[Table]:
    """Lay out a calibration.

    Args:
        report: Any.

    Returns:
        Its tables, those without rows left out.
    """
    tables = [_one(report), _many(report), _batch(report), _quality(report)]
    return [table for table in tables if table.rows]


def _one(report: CalibrationReport) -> Table:
    """What one document takes."""
    of_encoders = [one.p50 for one in report.timings if one.tier == DEFAULT_TIER]
    best = min(of_encoders or [one.p50 for one in report.timings])
    asked_few = any(one.asked < ENOUGH for one in report.timings)
    few = f" Of fewer than {ENOUGH} that were asked, p95 is what all of them took at most."
    return Table(
        "One document at a time",
        ("Tier", "Runs on", "Asked", "p50", "p95", f"Within {report.need.allowed}", "Times"),
        "llrrrlr",
        tuple(
            (
                *(one.tier, one.runs_on, f"{one.asked:,}", brief(one.p50), brief(one.p95)),
                *("yes" if one.p95 <= report.need.budget else "no", f"{one.p50 / best:.3g}"),
            )
            for one in report.timings
        ),
        f"{report.documents:,} documents of {report.words / report.documents:,.0f} words, from "
        f"{report.source}, asked in a random order. Times: how often the fastest encoder's median "
        f"goes into this one's.{few if asked_few else ''}",
    )


def _many(report: CalibrationReport) -> Table:
    """What many documents take, and how much memory."""
    on_gpu = any(one.gpu_memory for one in report.timings)
    return Table(
        "Many at a time",
        (
            "Tier",
            "Runs on",
            "Documents/s",
            "Memory",
            *(("Of the GPU",) if on_gpu else ()),
            "Loading",
        ),
        "llrrr" + "r" * on_gpu,
        tuple(
            (
                *(one.tier, one.runs_on, f"{one.per_second:.3g}"),
                f"{one.memory / MIB:,.0f} MiB",
                *((f"{one.gpu_memory / MIB:,.0f} MiB",) if on_gpu else ()),
                brief(one.load_seconds),
            )
            for one in report.timings
        ),
        f"On {report.machine}. Memory is that of the whole process at its most"
        f"{', a GPU aside' if on_gpu else ''}.",
    )


def _batch(report: CalibrationReport) -> Table:
    """What a batch takes."""
    price = report.need.price
    return Table(
        f"A batch of {counted(report.need.batch, 'document')}",
        ("Tier", "Runs on", "Hours", *(("Cost",) if price is not None else ())),
        "llr" + "r" * (price is not None),
        tuple(
            (
                one.tier,
                one.runs_on,
                amount(hours(one, report.need.batch)),
                *((amount(hours(one, report.need.batch) * price),) if price is not None else ()),
            )
            for one in report.timings
        ),
        "" if price is None else f"An hour of this machine costs {price:,.2f}.",
    )


def _quality(report: CalibrationReport) -> Table:
    """What each version finds."""
    return Table(
        "Strict F1 by length of the entity",
        ("Version", "Judged on", "All", *(NAMES[length] for length in LENGTHS)),
        "llrrrr",
        tuple(
            (
                name,
                f"{quality.source}, {quality.documents:,} documents",
                f"{quality.f1:.3f}",
                *(
                    f"{quality.by_length[length]:.3f} ({support:,})" if support else NOTHING
                    for length in LENGTHS
                    for support in (quality.support.get(length, 0),)
                ),
            )
            for name, quality in report.qualities.items()
        ),
        f"In brackets, how many are in gold; of fewer than {FEW_GOLD}, nothing is made here.",
    )


def calibration_to_json(report: CalibrationReport) -> dict[str, Any]:
    """As an object that JSON can hold.

    Args:
        report: Any.

    Returns:
        The object: seconds, bytes, documents per second, and hours of the batch.
    """
    return {
        **asdict(report),
        "timings": [
            {
                **asdict(one),
                "tier": one.tier,
                "within_budget": one.p95 <= report.need.budget,
                "batch_hours": hours(one, report.need.batch),
            }
            for one in report.timings
        ],
    }


def calibration_to_markdown(report: CalibrationReport) -> str:
    """Write a calibration for people.

    Args:
        report: Any.

    Returns:
        Markdown.
    """
    blocks = ["# Which tier for which work"]
    blocks += [f"- {escape(sentence)}" for sentence in report.advice]
    blocks += [f"> {escape(note)}" for note in report.notes]
    blocks += map(table_to_markdown, calibration_tables(report))
    return "\n\n".join(blocks) + "\n"


def calibration_to_html(report: CalibrationReport) -> str:
    """Set a calibration as a page.

    Args:
        report: Any.

    Returns:
        HTML, whole and on its own.
    """
    slowest = max(one.p95 for one in report.timings)
    fastest = min(usable(report.timings), key=lambda one: one.p95)
    return _ENVIRONMENT.get_template("calibrate.html").render(
        report=report,
        tables=calibration_tables(report),
        slowest=max(slowest, report.need.budget),
        fastest=fastest,
        is_able=fastest.p95 <= report.need.budget,
        answered=most_of(fastest),
    )


_ENVIRONMENT = page_environment(Path(__file__).parents[1] / "templates")
