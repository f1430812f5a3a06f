"""``tagalong serve``: the backend that Label Studio connects to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import errors
from cli.engines import NONE_THERE, SWITCH
from cli.itself import TAGALONG
from cli.options import HOSTS, Models, hosts_of
from ner.errors import InputError

if TYPE_CHECKING:
    from backend.retraining.due import Training

Weights = Literal["merged", "adapter", "nf4"]
Promotion = Literal["auto", "always", "never"]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve_cli(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9090,
    models: Models = Path("models"),
    username: Annotated[
        str | None, typer.Option(envvar="TAGALONG_USERNAME", help="Who may ask.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="TAGALONG_PASSWORD", help="Better set in the environment."),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            envvar="TAGALONG_WEBHOOK_SECRET",
            help="What webhook events carry in the header X-Tagalong-Secret.",
        ),
    ] = None,
    allowed_hosts: Annotated[str, HOSTS] = "",
    label_studio_url: Annotated[
        str | None,
        typer.Option(
            envvar="LABEL_STUDIO_URL",
            help="Where Label Studio is, for texts in its own files; its host must be allowed.",
        ),
    ] = None,
    label_studio_key: Annotated[
        str | None,
        typer.Option(
            envvar="LABEL_STUDIO_API_KEY", help="For such texts, and for annotations to train on."
        ),
    ] = None,
    max_tasks: Annotated[int, typer.Option(min=1, help="Tasks of one request at most.")] = 1_000,
    max_characters: Annotated[
        int, typer.Option(min=1, help="Characters of one text at most.")
    ] = 500_000,
    llm_weights: Annotated[
        Weights | None,
        typer.Option(
            envvar="TAGALONG_LLM_WEIGHTS",
            help="How an LLM is kept: adapter folded into its base (merged: the fastest), beside "
            "it (adapter: promotions do not load the base again), or beside the base in 4 bits "
            "(nf4: the least memory).",
            show_default="as it was trained, merged if not in 4 bits",
        ),
    ] = None,
    retrain_after: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="TAGALONG_RETRAIN_AFTER",
            help="New or changed annotations of a project after which the encoder is retrained; 0 "
            "waits for Label Studio's train button.",
        ),
    ] = 0,
    retrain_promote: Annotated[
        Promotion,
        typer.Option(
            envvar="TAGALONG_RETRAIN_PROMOTE",
            help="Whether a retrained version is promoted: auto, unless it is worse beyond noise "
            "or the server has other projects.",
        ),
    ] = "auto",
    retrain_warm: Annotated[
        bool,
        typer.Option(
            "--retrain-warm",
            envvar="TAGALONG_RETRAIN_WARM",
            help="Retrain from the version that serves, instead of from its base.",
        ),
    ] = False,
    retrain_prelabel: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="TAGALONG_RETRAIN_PRELABEL",
            help="Tasks nobody has annotated that a retrained version predicts once it serves.",
        ),
    ] = 0,
    cpu_engine: Annotated[
        bool,
        typer.Option(
            envvar=SWITCH,
            help="Have encoders run by OpenVINO, two or three times as fast on a CPU, once that is "
            "made ready; or by PyTorch alone.",
        ),
    ] = True,
    access_log: Annotated[bool, typer.Option(help="Log every request, without its body.")] = False,
) -> None:
    """Serve pre-annotations to Label Studio: the current versions in --models, else the bundled.

    All connected projects share these versions. To keep projects apart, run one server for each.

    Example: tagalong serve --port 9090
    """
    from backend.server.run import check_address, serve
    from backend.server.settings import Credentials, Limits, Settings

    if bool(username) != bool(password):
        raise InputError(
            f"there is {'a username' if username else 'a password'}, but not the other: "
            "give both, or neither for a server that everybody may ask"
        )
    credentials = Credentials(username, password) if username and password else None
    settings = Settings(
        models=models.absolute(),
        credentials=credentials,
        webhook_secret=webhook_secret or None,
        allowed_hosts=hosts_of(allowed_hosts),
        label_studio_url=label_studio_url or None,
        label_studio_key=label_studio_key or None,
        llm_weights=llm_weights,
        training=how_to_train(
            models.absolute(),
            label_studio_url,
            label_studio_key,
            after=retrain_after,
            promote=retrain_promote,
            prelabel=retrain_prelabel,
            warm=retrain_warm,
        ),
        limits=Limits(tasks=max_tasks, characters=max_characters),
        make_engine=how_to_make_engines(wanted=cpu_engine),
    )
    check_address(host, port)
    if host not in LOOPBACK and credentials is None:
        errors.print(
            f"Everybody who reaches {host} may ask: set TAGALONG_USERNAME and TAGALONG_PASSWORD.",
            style="yellow",
        )
    if settings.webhook_secret and credentials is None:
        errors.print(
            "Label Studio's train button will be refused, because it carries no secret but only a "
            "username and password: set TAGALONG_USERNAME and TAGALONG_PASSWORD beside "
            "TAGALONG_WEBHOOK_SECRET, or leave that out.",
            style="yellow",
        )
    errors.print(f"Serving on http://{host}:{port} (Ctrl-C stops it).")
    serve(settings, host=host, port=port, access_log=access_log)


def how_to_make_engines(*, wanted: bool) -> tuple[str, ...]:
    """What the server has CPU engines made by; nothing where none is wanted or can be.

    Args:
        wanted: Whether encoders are to be run by them.

    Returns:
        The command, to which the version is added.
    """
    from backend.engine.library import library_version

    if wanted and not library_version():
        errors.print(NONE_THERE, markup=False, soft_wrap=True)
    usable = wanted and library_version()
    return (*TAGALONG, "models", "engine") if usable else ()


def how_to_train(
    models: Path,
    url: str | None,
    key: str | None,
    *,
    after: int,
    promote: Promotion,
    prelabel: int,
    warm: bool,
) -> "Training":
    """How the server trains: by ``tagalong retrain``, in a process of its own.

    Args:
        models: The folder of model versions.
        url: Of Label Studio.
        key: A token.
        after: Annotations after which it does so by itself; 0 for never.
        promote: Whether what comes of it serves.
        prelabel: Tasks that it predicts once it does.
        warm: Whether it begins at the version that serves.

    Returns:
        All of it; why it cannot be done where Label Studio cannot be asked.
    """
    from backend.retraining.due import Training

    if not url or not key:
        return Training(
            why_not="the server may not read annotations: start it with LABEL_STUDIO_URL and "
            "LABEL_STUDIO_API_KEY set",
            after=after,
        )
    command = (*TAGALONG, "retrain", "--models", str(models))
    command += ("--promote", promote, "--prelabel", str(prelabel), *(("--warm",) if warm else ()))
    return Training(
        command=command,
        environment={"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": key},
        after=after,
    )
