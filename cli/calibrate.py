"""``tagalong calibrate``: what each tier costs on this machine, and which one to use for what."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.console import console, echo_json, errors
from cli.engines import NONE_THERE, engines_wanted, make_engine
from cli.grid import print_tables
from cli.options import LLM, AsJson, Models, finite, open_store
from cli.quiet import hush_libraries
from ner.catalogue import DEFAULT_TIER
from ner.errors import EngineError, InputError, TagalongError
from ner.manifest import read_manifest
from ner.printable import visible
from ner.store import Store
from ner.words import word_offsets
from training.corpus import read_corpus

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from training.calibrate.quality import Quality
    from training.calibrate.report import CalibrationReport
    from training.calibrate.timing import Setting, Timing, Way

OWN = "the 48 abstracts of BC5CDR that come with Tagalong"


def calibrate_cli(
    documents: Annotated[
        list[Path] | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="Documents like those to be annotated, in any format that `data check` reads.",
            show_default=OWN,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="An encoder version.", show_default="the current one, else the bundled"),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(help="An LLM version.", show_default="the current one, if there is one"),
    ] = None,
    budget_ms: Annotated[
        float,
        typer.Option(
            min=1,
            callback=finite,
            help="Milliseconds that an annotator may wait for a document.",
        ),
    ] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Documents of a batch.")] = 100_000,
    price: Annotated[
        float | None,
        typer.Option(
            min=0, callback=finite, help="What an hour of this machine costs, in whatever money."
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A report.json of `tagalong evaluate --report`, for what a version finds; may be "
            "given again.",
            show_default="what its own manifest says",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.1,
            callback=finite,
            help="For each of two measurements of each way to serve.",
        ),
    ] = 10,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Write report.html, report.md and report.json."
        ),
    ] = None,
    as_json: AsJson = False,
    models: Models = Path("models"),
) -> None:
    """Measure what each tier costs on this machine, and say which one to use for what.

    Example: tagalong calibrate export.json --budget-ms 100 --report calibration
    """
    from backend.engine.samples import sample_documents
    from training.calibrate.advice import Need, advise
    from training.calibrate.report import (
        CalibrationReport,
        calibration_to_html,
        calibration_to_json,
        calibration_to_markdown,
        this_machine,
    )
    from training.report import check_folder, write_report

    if report is not None:
        check_folder(report)
    store = open_store(models)
    read = read_corpus(documents).documents if documents else sample_documents()
    texts = [document.text for document in read if word_offsets(document.text)]
    if not texts:
        raise InputError("there is no document with a word in it: give some that have text")
    settings, notes = choose_settings(store, encoder, llm)
    qualities = known_qualities(settings, evaluation or [])
    timings, failed = time_all(settings, texts, seconds)
    elsewhere = None if models == Path("models") else str(models)
    need = Need(budget_ms / 1000, batch, price, elsewhere)
    found = CalibrationReport(
        need=need,
        source=", ".join(visible(path.name) for path in documents) if documents else OWN,
        documents=len(texts),
        words=sum(len(word_offsets(text)) for text in texts),
        timings=tuple(timings),
        qualities=qualities,
        advice=advise(timings, qualities, need, failed=tuple(failed)),
        notes=(*notes, *failed.values()),
        machine=this_machine(),
    )
    figures = calibration_to_json(found)
    if as_json:
        echo_json(figures)
    else:
        render_calibration(found)
    if report is not None:
        write_report(
            report,
            figures=figures,
            markdown=calibration_to_markdown(found),
            page=calibration_to_html(found),
        )


def choose_settings(
    store: Store, encoder: str | None, llm: str | None
) -> "tuple[list[Setting], list[str]]":
    """Find the ways to serve that are to be measured; an engine is made where there is none.

    Args:
        store: Where versions are.
        encoder: A reference to an encoder; None for the default.
        llm: A reference to an LLM; None for the current one, if there is one.

    Returns:
        The ways, and what to know of them, a sentence each.

    Raises:
        StoreError: If there is no such version.
        InputError: If a version is of the other tier.
    """
    from training.calibrate.timing import Setting

    folder = _of_tier(store, encoder or store.default(), DEFAULT_TIER)
    ways, notes = _ways(folder)
    settings = [Setting(folder.name, folder, way) for way in ways]
    if llm is None and store.current(LLM) is not None:
        llm = LLM
    if llm is not None:
        other = _of_tier(store, llm, LLM)
        shared = set(read_manifest(folder, verify=False).labels)
        drafts = not shared.isdisjoint(read_manifest(other, verify=False).labels)
        drafter = folder if drafts else None
        settings.append(Setting(other.name, other, "llm", drafter, engines=engines_wanted()))
    return settings, notes


def _of_tier(store: Store, reference: str, tier: str) -> Path:
    """The folder of a version, which must be of a certain tier."""
    folder = store.resolve(reference)
    manifest = read_manifest(folder, verify=False)
    if manifest.tier != tier:
        raise InputError(
            f"{manifest.version} is of tier {manifest.tier!r}, not {tier!r}: name it with "
            f"--{manifest.tier}"
        )
    return folder


def _ways(folder: Path) -> "tuple[list[Way], list[str]]":
    """How an encoder can be served here, the fastest first, and why not otherwise."""
    from backend.engine.cache import find_engine
    from backend.engine.library import library_version
    from backend.precision import has_bf16
    from backend.tier import default_device

    ways: list[Way] = ["torch", "fp32"] if has_bf16(default_device()) else ["torch"]
    if not engines_wanted():
        return ways, []
    if not library_version():
        return ways, [NONE_THERE]
    if find_engine(folder, read_manifest(folder, verify=False)) is None:
        try:
            with errors.status(f"Making the CPU engine of {escape(folder.name)}"):
                make_engine(folder)
        except EngineError as error:
            return ways, [f"PyTorch runs the encoder, as no CPU engine can: {error}."]
    return ["engine", *ways], []


def known_qualities(
    settings: "Sequence[Setting]", evaluations: Sequence[Path]
) -> "dict[str, Quality]":
    """What the versions find, as far as that is known.

    Args:
        settings: Ways to serve them.
        evaluations: Files of `tagalong evaluate`, which count for more than manifests.

    Returns:
        Their scores by name.

    Raises:
        InputError: If a file is no such one, or is of none of them.
    """
    from training.calibrate.quality import qualities_in, quality_of

    folders = {setting.version: setting.folder for setting in settings}
    manifests = {name: read_manifest(folder, verify=False) for name, folder in folders.items()}
    known = {name: quality_of(manifest) for name, manifest in manifests.items()}
    for path in evaluations:
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
            if figures.get("protocol") == "paper":
                raise InputError(f"{path} is by the paper's protocol: give one by the exact one")
            found = qualities_in(figures)
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


def time_all(
    settings: "Sequence[Setting]", texts: Sequence[str], seconds: float
) -> "tuple[list[Timing], dict[Setting, str]]":
    """Measure every way to serve, one after the other.

    Args:
        settings: The ways.
        texts: To be read.
        seconds: For each of two measurements.

    Returns:
        What they took, and which could not be measured, with a sentence of why.

    Raises:
        TagalongError: If none could.
    """
    from training.calibrate.timing import measure_apart

    timings: list[Timing] = []
    failed: dict[Setting, str] = {}
    for setting in settings:
        told = f"Measuring {escape(setting.version)}, {setting.way}"
        try:
            with errors.status(told):
                timing = measure_apart(setting, texts, seconds=seconds, prepare=hush_libraries)
        except TagalongError as error:
            if len(settings) == 1 or (setting == settings[-1] and not timings):
                raise
            failed[setting] = f"{setting.version}, {setting.way}, could not be measured: {error}."
        else:
            timings.append(timing)
    return timings, failed


def render_calibration(report: "CalibrationReport") -> None:
    """Show a calibration: what to do, and the figures.

    Args:
        report: What was found.
    """
    from training.calibrate.report import calibration_tables

    for sentence in report.advice:
        console.print(sentence, style="bold", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"Note: {note}", style="yellow", markup=False, soft_wrap=True)
    print_tables(calibration_tables(report))
