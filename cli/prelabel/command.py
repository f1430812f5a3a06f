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
            help="Label Studio's tasks (JSON), JSON lines with a text each, a text, or a folder of "
            "texts (*.txt)."
        ),
    ] = None,
    project: Annotated[
        int | None,
        typer.Option(min=1, help="In place of a file: the number in a project's address."),
    ] = None,
    url: Annotated[str | None, LABEL_STUDIO_URL_OPTION] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY_OPTION] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Of a file's predictions: Label Studio's tasks if it ends in .json, else JSON "
            "lines; there once all are.",
        ),
    ] = None,
    tier: Annotated[
        PrelabelTier,
        typer.Option(help="Who reads; in a cascade the LLM reads again where it pays most."),
    ] = ENCODER,
    encoder: Annotated[
        str | None,
        typer.Option(help="An encoder.", show_default="the current one, else the bundled one"),
    ] = None,
    llm: Annotated[str, typer.Option(help="An LLM, or whatever is to read again.")] = LLM,
    budget: Annotated[
        float,
        typer.Option(
            parser=parse_share, metavar="SHARE", help="What the LLM reads again in a cascade."
        ),
    ] = "20%",  # type: ignore[assignment] # it is parsed like what is typed
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Of a project, only tasks nobody has annotated.")
    ] = False,
    view: Annotated[
        int | None,
        typer.Option(min=1, help="Of a project, only what this tab shows: the number behind tab=."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Of a project, have annotators see these predictions in place of another "
            "version's.",
            show_default="where they see none",
        ),
    ] = False,
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what there is to do and how long it takes; do nothing."
        ),
    ] = False,
    rate: Annotated[
        float, typer.Option(min=0.01, help="Requests a second to Label Studio, at most.")
    ] = 10.0,
    dollars: Annotated[
        float | None,
        typer.Option(
            "--dollars-per-hour",
            min=0,
            callback=check_finite,
            help="Of this machine, to say what it cost.",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="Where models run: in this process, or on a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Of a Ray cluster, host:port.", show_default="one on this machine, meanwhile"
        ),
    ] = None,
    label_config: LabelConfigOption = None,
    allowed_hosts: Annotated[str, ALLOWED_HOSTS_OPTION] = "",
    journal: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Keeps what is done until all is.",
            show_default="OUT.journal, or named after the project",
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Predict for a file, a folder or a project; stopped or killed, the same command goes on.

    Examples: tagalong prelabel tasks.json --out predictions.jsonl
    or: tagalong prelabel --project 1 --url http://localhost:8080
    """
    if (source is None) == (project is None):
        raise typer.BadParameter("name a file or folder to read, or a --project, and not both")
    if source is not None and out is None and not dry:
        raise typer.BadParameter("say with --out which file the predictions go to")
    if project is not None and (out is not None or label_config is not None):
        raise typer.BadParameter("a project has its own labels, and takes the predictions itself")
    if source is not None and (unlabelled or show or view is not None):
        raise typer.BadParameter("--unlabelled, --view and --show are for a --project")
    if project is not None and (url is None or key is None):
        raise typer.BadParameter(
            "say where Label Studio is and with which token, by --url and --key or by "
            "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )
    if ray_address is not None and engine != "ray":
        raise typer.BadParameter("--ray-address is of a cluster for --engine ray")
    with ExitStack() as stack:
        readers = choose_models(open_store(models), tier, encoder, llm, budget)
        if project is not None:
            place = stack.enter_context(
                open_project(
                    *(project, url or "", key or ""),
                    prelabel_models=readers,
                    hosts=parse_hosts(allowed_hosts),
                    rate=rate,
                    unlabelled=unlabelled,
                    view=view,
                    replace_shown_version=show,
                )
            )
        else:
            place = open_file(source or Path(), out, prelabel_models=readers, config=label_config)
        for note in place.notes:
            error_console.print(note, style="yellow", markup=False, soft_wrap=True)
        if dry:
            run_dry_run(place, readers, dollars=dollars, as_json=as_json)
            return
        stack.enter_context(printing_resume_hint())
        held = stack.enter_context(
            open_batch_journal(journal or place.journal_path, place, readers)
        )
        engines = partial(open_engine, engine=engine, address=ray_address)
        run_batch(held, place, readers, engines)
        summary = summarize_batch(held, readers, dollars=dollars)
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
