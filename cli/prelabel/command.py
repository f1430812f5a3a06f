"""``tagalong prelabel``: predictions for any number of texts, resumable after any end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tagalong.backend.batch.files import open_files
from tagalong.backend.batch.local_engine import Engine
from tagalong.backend.batch.models import BatchModels, ModelReference, choose_models
from tagalong.backend.batch.prelabel import (
    EngineOpener,
    estimate_batch,
    open_batch_journal,
    open_local_engine,
    run_batch,
    sort_versions_by_share,
    summarize_batch,
)
from tagalong.backend.batch.project_model import (
    ChosenModel,
    choose_by_options,
    choose_for_project,
)
from tagalong.backend.batch.source_and_sink import ProjectOptions, SourceAndSink
from tagalong.backend.formats.registry import describe_formats
from tagalong.backend.label_studio.fetch import parse_hosts
from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.prelabel.report import (
    batch_progress_bar,
    describe_choices,
    render_choices,
    render_estimate,
    render_summary,
)
from tagalong.cli.terminal.console import echo_json, error_console, print_warning
from tagalong.cli.terminal.options import (
    ALLOWED_HOSTS_OPTION,
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    CostPerHourOption,
    JsonOption,
    LabelConfigOption,
    ModelsOption,
    build_read_options,
    load_tagger_by_reference,
    open_store,
)
from tagalong.ner.errors import BatchError
from tagalong.ner.tiers import ENCODER, LLM, TierName

EngineName = Literal["local", "ray"]
CASCADE = "cascade"
BatchTier = Literal[TierName, "cascade"]


def parse_share(value: str) -> float:
    """Read a share from 0 to 1, as ``20%`` or ``0.2``."""
    number = value.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{value!r} is not a share: give one such as 20% or 0.2")
    return share


SourceArgument = Annotated[
    Path | None,
    typer.Argument(help=f"Texts: {describe_formats('texts')}, or a folder of text files (*.txt)."),
]
ProjectIdOption = Annotated[
    int | None,
    typer.Option(min=1, help="Project id, instead of files: the number in the project's address."),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="Output file, written once all predictions are made: Label Studio tasks if it ends in "
        ".json, else JSON lines.",
    ),
]
TierOption = Annotated[
    BatchTier,
    typer.Option(
        help="Model type: encoder, llm, or cascade (the LLM for the documents with the most "
        "expected errors)."
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Encoder version.",
        show_default="that of the project, else the current one, else the bundled one",
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        help="LLM version; in a cascade, the version for the second pass.",
        show_default="that of the project, else the current one",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Model whose current version predicts, as `tagalong models list` shows it.",
        show_default="that of the project, else the default of the tier",
    ),
]
LlmShareOption = Annotated[
    float,
    typer.Option(
        parser=parse_share,
        metavar="SHARE",
        help="Share of the documents that the LLM predicts in a cascade.",
    ),
]
UnlabeledOption = Annotated[
    bool, typer.Option("--unlabeled", help="Only tasks without annotations (with --project).")
]
ViewOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Only the tasks of this Data Manager tab: the number after tab= in its address (with "
        "--project).",
    ),
]
ShowOption = Annotated[
    bool,
    typer.Option(
        "--show",
        help="Make Label Studio show these predictions instead of another version's (with "
        "--project).",
        show_default="only if none are shown",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print the number of documents and the estimated time, then exit."
    ),
]
RateOption = Annotated[
    float, typer.Option(min=0.01, help="Maximum requests per second to Label Studio.")
]
EngineOption = Annotated[
    EngineName, typer.Option(help="Run the models in this process, or on a Ray cluster.")
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        help="Address of the Ray cluster, host:port.",
        show_default="a temporary one on this machine",
    ),
]
JournalOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="Checkpoint file for resuming.",
        show_default="OUT.journal, or named after the project",
    ),
]


def prelabel_cli(
    source: SourceArgument = None,
    project: ProjectIdOption = None,
    url: Annotated[str | None, LABEL_STUDIO_URL_OPTION] = None,
    key: Annotated[str | None, LABEL_STUDIO_KEY_OPTION] = None,
    out: OutOption = None,
    tier: TierOption = ENCODER,
    model: ModelOption = None,
    encoder: EncoderOption = None,
    llm: LlmOption = None,
    llm_share: LlmShareOption = "20%",  # type: ignore[assignment] # it is parsed like typed text
    unlabeled: UnlabeledOption = False,
    view: ViewOption = None,
    show: ShowOption = False,
    dry: DryRunOption = False,
    rate: RateOption = 10.0,
    cost_per_hour: CostPerHourOption = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    label_config: LabelConfigOption = None,
    allowed_hosts: Annotated[str, ALLOWED_HOSTS_OPTION] = "",
    journal: JournalOption = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Predict for a file, a folder or a project; an interrupted batch resumes.

    Examples: tagalong prelabel tasks.json --out predictions.jsonl
    or: tagalong prelabel --project 1 --label-studio-url http://localhost:8080
    """
    options = ProjectOptions(
        project=project or 0,
        url=url or "",
        key=key or "",
        allowed_hosts=parse_hosts(allowed_hosts),
        requests_per_second=rate,
        unlabeled_only=unlabeled,
        view_id=view,
        replace_shown_version=show,
    )
    _check_usage(source, out, options, dry=dry, label_config=label_config)
    open_engine = _choose_engine(engine, ray_address)
    store = open_store(models)
    versions: dict[str, str | None] = {ENCODER: encoder, LLM: llm}
    choices = _choose_references(store, tier, versions, model, options)
    chosen = _choose_models(store, choices, llm_share)
    reasons = describe_choices(chosen, choices)
    if not as_json:
        render_choices(reasons)
    with _open_source_and_sink(source, out, options, chosen, label_config) as source_and_sink:
        for note in source_and_sink.notes:
            print_warning(note)
        if dry:
            estimate = estimate_batch(source_and_sink, chosen, cost_per_hour=cost_per_hour)
            estimate["models"] = reasons
            echo_json(estimate) if as_json else render_estimate(estimate)
            return
        path = journal or source_and_sink.journal_path
        summary = _run(path, source_and_sink, chosen, open_engine, cost_per_hour)
    summary["models"] = reasons
    echo_json(summary) if as_json else render_summary(summary, source_and_sink, path)


def _choose_references(
    store: ModelStore,
    tier: BatchTier,
    versions: Mapping[str, str | None],
    model: str | None,
    options: ProjectOptions,
) -> list[ChosenModel]:
    """Choose the models of the passes: by options, by the project, or the defaults."""
    tiers = (ENCODER, LLM) if tier == CASCADE else (tier,)
    chosen = choose_by_options(store, tiers, versions, model)
    if missing := [tier for tier in tiers if tier not in chosen]:
        if options.project:
            # They take a second to import, so only where there is a Label Studio.
            from tagalong.backend.label_studio.api.outage_retry import RateLimitedRetry
            from tagalong.backend.label_studio.connected_project import connect_project

            with connect_project(
                options.url, options.key, options.project, RateLimitedRetry(notify=print_warning)
            ) as project:
                chosen |= choose_for_project(project, store, missing, warn=print_warning)
        else:
            chosen |= {tier: ChosenModel(tier) for tier in missing}
    for tier in tiers:
        store.resolve_in_tier(chosen[tier].reference, tier)
    return [chosen[tier] for tier in tiers]


def _choose_models(
    store: ModelStore, choices: Sequence[ChosenModel], llm_share: float
) -> BatchModels:
    references = [choice.reference for choice in choices]
    load = partial(load_tagger_by_reference, use_openvino=True)
    return choose_models(store, *references, load=load, second_pass_share=llm_share)


def _check_usage(
    source: Path | None,
    out: Path | None,
    options: ProjectOptions,
    *,
    dry: bool,
    label_config: Path | None,
) -> None:
    if (source is None) == (not options.project):
        raise typer.BadParameter("name a file or folder to read, or a --project, and not both")
    if source is not None:
        if out is None and not dry:
            raise typer.BadParameter("name the file for the predictions with --out")
        if options.unlabeled_only or options.replace_shown_version or options.view_id is not None:
            raise typer.BadParameter("--unlabeled, --view and --show are for a --project")
        return
    if out is not None or label_config is not None:
        raise typer.BadParameter("a --project takes no --out and no --label-config")
    if not options.url or not options.key:
        raise typer.BadParameter(
            "name Label Studio's address and token with --label-studio-url and "
            "--label-studio-key, or with LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )


def _open_source_and_sink(
    source: Path | None,
    out: Path | None,
    options: ProjectOptions,
    models: BatchModels,
    label_config: Path | None,
) -> AbstractContextManager[SourceAndSink]:
    if source is not None:
        config = build_read_options("majority", label_config).label_config
        return open_files(source, out or Path("predictions.jsonl"), models, config=config)
    # Takes a second to import, so only where there is a Label Studio.
    from tagalong.backend.batch.label_studio_project import open_project

    return open_project(options, models, notify=print_warning)


def _run(
    path: Path,
    source_and_sink: SourceAndSink,
    models: BatchModels,
    open_engine: EngineOpener,
    cost_per_hour: float | None,
) -> dict[str, Any]:
    try:
        with open_batch_journal(path, source_and_sink, models, notify=print_warning) as journal:
            run_batch(
                journal,
                source_and_sink,
                models,
                open_engine=open_engine,
                report_pass=batch_progress_bar,
            )
            summary = summarize_batch(journal, models, cost_per_hour=cost_per_hour)
            summary["shown"] = source_and_sink.show(sort_versions_by_share(summary, models))
            if not summary["failed"]:
                journal.remove()  # a failed document needs the journal to be tried again
    except KeyboardInterrupt:
        error_console.print("Stopped: run the same command again to continue.")
        raise
    return summary


def _choose_engine(engine: EngineName, ray_address: str | None) -> EngineOpener:
    if engine == "ray":
        return partial(_open_ray, ray_address)
    if ray_address is not None:
        raise typer.BadParameter("--ray-address is of a cluster for --engine ray")
    return open_local_engine


@contextmanager
def _open_ray(address: str | None, model: ModelReference) -> Iterator[Engine]:
    try:
        from tagalong.backend.batch.ray_engine import open_ray_engine
    except ImportError as error:
        raise BatchError(
            f"--engine ray needs {error.name}: install Tagalong with its extra ray, or leave it "
            "out",
            code="ray-missing",
        ) from error
    with open_ray_engine(model.load, address=address) as engine:
        yield engine
