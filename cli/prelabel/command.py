"""``tagalong prelabel``: predictions for any number of texts; whatever ends it, it goes on."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.batch.engine import Engine
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.run import BatchRunner
from tagalong.cli.prelabel.models import (
    EngineName,
    ModelReference,
    PrelabelModels,
    PrelabelTier,
    choose_models,
    open_engine,
)
from tagalong.cli.prelabel.report import (
    progress_bar,
    render_summary,
    run_dry_run,
    sort_versions_by_share,
    summarize_batch,
)
from tagalong.cli.prelabel.resume import open_batch_journal
from tagalong.cli.prelabel.source_and_sink import SourceAndSink, open_file, open_project
from tagalong.cli.terminal.console import echo_json, error_console
from tagalong.cli.terminal.options import (
    ALLOWED_HOSTS_OPTION,
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    check_finite,
    open_store,
    parse_hosts,
)
from tagalong.ner.model_registry import ENCODER, LLM


def parse_share(value: str) -> float:
    """Read a share, as ``20%`` or ``0.2``.

    Args:
        value: What was typed.

    Returns:
        The share, from 0 to 1.

    Raises:
        BadParameter: If it is not one.
    """
    number, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{value!r} is not a share: give one such as 20% or 0.2")
    return share


def prelabel_cli(
    source: Annotated[
        Path | None,
        typer.Argument(
            help=(
                "Texts: Label Studio tasks (JSON), JSON lines with a text each, a text file, "
                "or a folder of text files (*.txt)."
            )
        ),
    ] = None,
    project: Annotated[
        int | None,
        typer.Option(
            min=1, help=("Project id, instead of files: the number in the project's address.")
        ),
    ] = None,
    url: Annotated[str | None, LABEL_STUDIO_URL_OPTION] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY_OPTION] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help=(
                "Output file, written once all predictions are made: Label Studio tasks if it"
                " ends in .json, else JSON lines."
            ),
        ),
    ] = None,
    tier: Annotated[
        PrelabelTier,
        typer.Option(
            help=(
                "Model type: encoder, llm, or cascade (the LLM for the documents with the "
                "most expected errors)."
            )
        ),
    ] = ENCODER,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder version.", show_default="the current one, else the bundled one"),
    ] = None,
    llm: Annotated[
        str, typer.Option(help="LLM version; in a cascade, the version for the second pass.")
    ] = LLM,
    llm_share: Annotated[
        float,
        typer.Option(
            parser=parse_share,
            metavar="SHARE",
            help="Share of the documents that the LLM predicts in a cascade.",
        ),
    ] = "20%",  # type: ignore[assignment] # it is parsed like what is typed
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Only tasks without annotations (with --project).")
    ] = False,
    view: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=(
                "Only the tasks of this Data Manager tab: the number after tab= in its "
                "address (with --project)."
            ),
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help=(
                "Make Label Studio show these predictions instead of another version's (with "
                "--project)."
            ),
            show_default="only if none are shown",
        ),
    ] = False,
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run", help=("Print the number of documents and the estimated time, then exit.")
        ),
    ] = False,
    rate: Annotated[
        float, typer.Option(min=0.01, help="Maximum requests per second to Label Studio.")
    ] = 10.0,
    cost_per_hour: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=check_finite,
            help="Price of this machine per hour, for the cost estimate.",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="Run the models in this process, or on a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Address of the Ray cluster, host:port.",
            show_default="one on this machine, meanwhile",
        ),
    ] = None,
    label_config: LabelConfigOption = None,
    allowed_hosts: Annotated[str, ALLOWED_HOSTS_OPTION] = "",
    journal: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Checkpoint file for resuming.",
            show_default="OUT.journal, or named after the project",
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Predict for a file, a folder or a project; stopped or killed, the same command goes on.

    Examples: tagalong prelabel tasks.json --out predictions.jsonl
    or: tagalong prelabel --project 1 --label-studio-url http://localhost:8080
    """
    if (source is None) == (project is None):
        raise typer.BadParameter("name a file or folder to read, or a --project, and not both")
    if source is not None and out is None and not dry:
        raise typer.BadParameter("say with --out which file the predictions go to")
    if project is not None and (out is not None or label_config is not None):
        raise typer.BadParameter("a project has its own labels, and takes the predictions itself")
    if source is not None and (unlabeled or show or view is not None):
        raise typer.BadParameter("--unlabeled, --view and --show are for a --project")
    if project is not None and (url is None or key is None):
        raise typer.BadParameter(
            "say where Label Studio is and with which token, by --label-studio-url and --label-studio-key or by "
            "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )
    if ray_address is not None and engine != "ray":
        raise typer.BadParameter("--ray-address is of a cluster for --engine ray")
    with ExitStack() as stack:
        readers = choose_models(open_store(models), tier, encoder, llm, llm_share)
        if project is not None:
            place = stack.enter_context(
                open_project(
                    *(project, url or "", key or ""),
                    prelabel_models=readers,
                    hosts=parse_hosts(allowed_hosts),
                    rate=rate,
                    unlabelled=unlabeled,
                    view=view,
                    replace_shown_version=show,
                )
            )
        else:
            place = open_file(source or Path(), out, prelabel_models=readers, config=label_config)
        for note in place.notes:
            error_console.print(note, style="yellow", markup=False, soft_wrap=True)
        if dry:
            run_dry_run(place, readers, dollars=cost_per_hour, as_json=as_json)
            return
        stack.enter_context(printing_resume_hint())
        held = stack.enter_context(
            open_batch_journal(journal or place.journal_path, place, readers)
        )
        engines = partial(open_engine, engine=engine, address=ray_address)
        run_batch(held, place, readers, engines)
        summary = summarize_batch(held, readers, dollars=cost_per_hour)
        summary["shown"] = place.show(sort_versions_by_share(summary, readers))
        if not summary["aside"]:
            held.remove()
    if as_json:
        echo_json(summary)
    else:
        render_summary(summary, place, held.path)


def run_batch(
    journal: BatchJournal,
    source_and_sink: SourceAndSink,
    prelabel_models: PrelabelModels,
    open_model_engine: Callable[[ModelReference], AbstractContextManager[Engine]],
) -> None:
    """Run a batch to its end.

    Args:
        journal: Of the batch.
        source_and_sink: What is read, and where predictions go.
        prelabel_models: Who reads.
        open_model_engine: What predicts, given who reads.

    Raises:
        TagalongError: If it cannot go on; what is done is kept.
    """
    batch = BatchRunner(journal, source_and_sink.sink)
    first, second = prelabel_models.first_pass, prelabel_models.second_pass
    with (
        open_model_engine(first) as engine,
        progress_bar("Reading", source_and_sink.total_items) as report,
    ):
        batch.predict(source_and_sink.items, engine, defer=second is not None, on_progress=report)
    if second is not None:
        chosen = journal.select_for_second_tier(prelabel_models.second_pass_share)
        error_console.print(f"{second.version} reads {chosen:,} again.", markup=False)
        with (
            open_model_engine(second) as engine,
            progress_bar("Reading again", source_and_sink.total_items) as report,
        ):
            batch.predict_selected(source_and_sink.items, engine, on_progress=report)
    source_and_sink.sink.finish(journal)


@contextmanager
def printing_resume_hint() -> Iterator[None]:
    """Tell a user who ends a batch that nothing is lost.

    Yields:
        Once.

    Raises:
        KeyboardInterrupt: Which the user ended it with.
    """
    try:
        yield
    except KeyboardInterrupt:
        error_console.print("Stopped: the same command goes on from where it was.")
        raise
