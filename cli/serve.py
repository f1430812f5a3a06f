"""``tagalong serve``: the ML backend that Label Studio connects to."""

from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS
from tagalong.backend.models.base_models.load_options import WeightsMode
from tagalong.backend.models.openvino import OPENVINO_MISSING_MESSAGE, OPENVINO_SWITCH
from tagalong.backend.retraining.job import PromotionPolicy
from tagalong.backend.retraining.trigger import RetrainSettings
from tagalong.cli.terminal.console import error_console, print_warning
from tagalong.cli.terminal.options import ALLOWED_HOSTS_OPTION, ModelsOption, parse_hosts
from tagalong.cli.terminal.subprocesses import RETRAINING_COMMAND, TAGALONG_COMMAND
from tagalong.ner.errors import InputError
from tagalong.training.jobs.job_requests import RetrainOptions


def serve_cli(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9090,
    models: ModelsOption = Path("models"),
    username: Annotated[
        str | None,
        typer.Option(envvar="TAGALONG_USERNAME", help="User name for HTTP basic authentication."),
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="TAGALONG_PASSWORD",
            help=("Password for HTTP basic authentication; better set in the environment."),
        ),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            envvar="TAGALONG_WEBHOOK_SECRET",
            help=("Secret that webhook requests must send in the header X-Tagalong-Secret."),
        ),
    ] = None,
    allowed_hosts: Annotated[str, ALLOWED_HOSTS_OPTION] = "",
    label_studio_url: Annotated[
        str | None,
        typer.Option(
            envvar="LABEL_STUDIO_URL",
            help=(
                "Address of Label Studio, for retraining and for texts in its own files; its "
                "host must be in --allowed-hosts."
            ),
        ),
    ] = None,
    label_studio_key: Annotated[
        str | None,
        typer.Option(
            envvar="LABEL_STUDIO_API_KEY",
            help=("API token of Label Studio, for retraining and for texts in its own files."),
        ),
    ] = None,
    max_tasks: Annotated[int, typer.Option(min=1, help="Maximum tasks per request.")] = 1_000,
    max_characters: Annotated[
        int, typer.Option(min=1, help="Maximum characters per text.")
    ] = 500_000,
    llm_weights: Annotated[
        WeightsMode | None,
        typer.Option(
            envvar="TAGALONG_LLM_WEIGHTS",
            help=(
                "Memory layout of the LLM: adapter merged into its base (fastest), adapter "
                "beside its base (promotions do not reload the base), or adapter beside a "
                "4-bit base (least memory)."
            ),
            show_default="as it was trained, merged if not in 4 bits",
        ),
    ] = None,
    retrain_after: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="TAGALONG_RETRAIN_AFTER",
            help=(
                "Retrain the encoder after this many new or changed annotations of a project;"
                " 0: only on Label Studio's Start Training button."
            ),
        ),
    ] = 0,
    retrain_promote: Annotated[
        PromotionPolicy,
        typer.Option(
            envvar="TAGALONG_RETRAIN_PROMOTE",
            help=(
                "When to make a retrained version the current one; auto: unless it is "
                "significantly worse than the served version, or the server has other "
                "projects."
            ),
        ),
    ] = "auto",
    retrain_warm_start: Annotated[
        bool,
        typer.Option(
            "--retrain-warm-start",
            envvar="TAGALONG_RETRAIN_WARM_START",
            help=("Retrain from the served version instead of from its base model."),
        ),
    ] = False,
    retrain_prelabel: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="TAGALONG_RETRAIN_PRELABEL",
            help="Number of unannotated tasks to predict after a promotion.",
        ),
    ] = 0,
    openvino: Annotated[
        bool,
        typer.Option(
            envvar=OPENVINO_SWITCH,
            help=(
                "Run encoders on OpenVINO, 2 to 3 times as fast on a CPU as PyTorch, once the"
                " model is compiled."
            ),
        ),
    ] = True,
    access_log: Annotated[bool, typer.Option(help="Log every request, without its body.")] = False,
) -> None:
    """Serve predictions to Label Studio: the current versions in --models, else the bundled ones.

    All connected projects share these versions. To separate projects, run one server for each.

    Example: tagalong serve --port 9090
    """
    from tagalong.backend.server.prediction.request import Limits  # they import Flask and torch
    from tagalong.backend.server.run import check_listen_address, serve
    from tagalong.backend.server.settings import Credentials, Settings

    if bool(username) != bool(password):
        raise InputError(
            f"only {'a username' if username else 'a password'} is given: give both, or neither "
            "for a server without authentication",
            code="incomplete-credentials",
        )
    credentials = Credentials(username, password) if username and password else None
    retrain_options = RetrainOptions(
        label_studio_url=label_studio_url or None,
        label_studio_key=label_studio_key or None,
        promotion_policy=retrain_promote,
        prelabel_tasks=retrain_prelabel,
        warm_start=retrain_warm_start,
    )
    settings = Settings(
        models=models.absolute(),
        credentials=credentials,
        webhook_secret=webhook_secret or None,
        allowed_hosts=parse_hosts(allowed_hosts),
        label_studio_url=label_studio_url or None,
        label_studio_key=label_studio_key or None,
        llm_weights=llm_weights,
        retraining=make_retrain_settings(
            models.absolute(), retrain_options, min_annotations=retrain_after
        ),
        limits=Limits(max_tasks=max_tasks, max_text_characters=max_characters),
        openvino_build_command=make_openvino_build_command(is_enabled=openvino),
    )
    check_listen_address(host, port)
    if host not in LOOPBACK_HOSTS and credentials is None:
        print_warning(
            f"Everybody who can reach {host} can use this server: set TAGALONG_USERNAME and "
            "TAGALONG_PASSWORD."
        )
    if settings.webhook_secret and credentials is None:
        print_warning(
            "The server will refuse Label Studio's train button, which sends credentials but not "
            "the secret: set TAGALONG_USERNAME and TAGALONG_PASSWORD, or unset "
            "TAGALONG_WEBHOOK_SECRET."
        )
    error_console.print(f"Serving on http://{host}:{port} (Ctrl-C stops it).")
    serve(settings, host=host, port=port, access_log=access_log)


def make_openvino_build_command(*, is_enabled: bool) -> tuple[str, ...]:
    """The command that compiles a version for OpenVINO; empty if it is disabled or missing."""
    from tagalong.backend.models.openvino.library import openvino_version

    if not is_enabled:
        return ()
    if not openvino_version():
        error_console.print(OPENVINO_MISSING_MESSAGE, markup=False, soft_wrap=True)
        return ()
    return (*TAGALONG_COMMAND, "models", "compile")


def make_retrain_settings(
    models: Path, options: RetrainOptions, *, min_annotations: int
) -> RetrainSettings:
    """Settings of retraining, which runs ``python -m tagalong.training.jobs`` as its own process.

    Args:
        models: The folder of model versions.
        options: Of every job.
        min_annotations: New annotations that trigger a job; 0 for never.

    Returns:
        The settings; without an address and a key, the reason why retraining is unavailable.
    """
    if not options.label_studio_url or not options.label_studio_key:
        return RetrainSettings(
            unavailable_reason="the server cannot read annotations: start it with LABEL_STUDIO_URL "
            "and LABEL_STUDIO_API_KEY set",
            min_annotations=min_annotations,
        )
    command = (
        *(*RETRAINING_COMMAND, "--models", str(models), "--promote", options.promotion_policy),
        *("--prelabel", str(options.prelabel_tasks)),
        *(("--warm-start",) if options.warm_start else ()),
    )
    return RetrainSettings(
        command=command,
        # Not as arguments, which the list of processes shows.
        environment={
            "LABEL_STUDIO_URL": options.label_studio_url,
            "LABEL_STUDIO_API_KEY": options.label_studio_key,
        },
        min_annotations=min_annotations,
    )
