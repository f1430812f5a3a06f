"""``tagalong serve``: the backend that Label Studio connects to."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.console import errors
from cli.options import HOSTS, Models, hosts_of
from ner.errors import InputError

Weights = Literal["merged", "adapter", "nf4"]
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
        typer.Option(envvar="LABEL_STUDIO_API_KEY", help="Sent to Label Studio for such texts."),
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
            "(nf4: the least memory). [default: as it was trained, merged if not in 4 bits]",
        ),
    ] = None,
    access_log: Annotated[bool, typer.Option(help="Log every request, without its body.")] = False,
) -> None:
    """Serve pre-annotations to Label Studio: the current versions in --models, else the bundled.

    Example: tagalong serve --port 9090
    """
    # Before torch is imported, which reads it then.
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
        limits=Limits(tasks=max_tasks, characters=max_characters),
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
