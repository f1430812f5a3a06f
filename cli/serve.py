"""``tagalong serve``: the ML backend that Label Studio connects to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagalong.backend.label_studio.fetch import parse_hosts
from tagalong.backend.models.openvino import OPENVINO_MISSING_MESSAGE
from tagalong.backend.retraining.trigger import RetrainSettings
from tagalong.cli import serve_options
from tagalong.cli.terminal.console import error_console, print_warning
from tagalong.cli.terminal.options import ALLOWED_HOSTS_OPTION, ModelsOption
from tagalong.cli.terminal.subprocesses import RETRAINING_COMMAND, TAGALONG_COMMAND
from tagalong.ner.errors import InputError

if TYPE_CHECKING:
    from tagalong.backend.server.settings import Settings


def serve_cli(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9090,
    server_names: serve_options.ServerNamesOption = "",
    models: ModelsOption = Path("models"),
    username: serve_options.UsernameOption = None,
    password: serve_options.PasswordOption = None,
    webhook_secret: serve_options.WebhookSecretOption = None,
    allowed_hosts: Annotated[str, ALLOWED_HOSTS_OPTION] = "",
    label_studio_url: serve_options.LabelStudioURLOption = None,
    label_studio_key: serve_options.LabelStudioKeyOption = None,
    max_tasks: Annotated[int, typer.Option(min=1, help="Maximum tasks per request.")] = 1_000,
    max_characters: serve_options.MaxCharactersOption = 500_000,
    max_memory: serve_options.MaxMemoryOption = None,
    llm_weights: serve_options.LLMWeightsOption = None,
    retrain_after: serve_options.RetrainAfterOption = 0,
    retrain_promote: serve_options.PromotionPolicyOption = "auto",
    retrain_warm_start: serve_options.RetrainWarmStartOption = False,
    retrain_prelabel: serve_options.RetrainPrelabelOption = 0,
    openvino: serve_options.OpenVINOOption = True,
    access_log: Annotated[bool, typer.Option(help="Log every request, without its body.")] = False,
) -> None:
    """Serve predictions to Label Studio: the current versions in --models, else the bundled ones.

    Each project has the model that is assigned to it, else the default one of its tier.

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
    url, key = label_studio_url or None, label_studio_key or None  # set, but empty: not given
    settings = Settings(
        models=models.absolute(),
        credentials=Credentials(username, password) if username and password else None,
        webhook_secret=webhook_secret or None,
        server_names=parse_server_names(server_names, host),
        allowed_hosts=parse_hosts(allowed_hosts),
        label_studio_url=url,
        label_studio_key=key,
        max_memory_bytes=max_memory * 2**20 if max_memory else None,
        llm_weights=llm_weights,
        retraining=make_retrain_settings(
            url,
            key,
            *("--models", str(models.absolute()), "--promote", retrain_promote),
            *("--prelabel", str(retrain_prelabel), "--allowed-hosts", allowed_hosts),
            *(["--warm-start"] if retrain_warm_start else ()),
            min_annotations=retrain_after,
        ),
        limits=Limits(max_tasks=max_tasks, max_text_characters=max_characters),
        openvino_build_command=make_openvino_build_command(is_enabled=openvino),
    )
    check_listen_address(host, port)  # before a model is loaded
    warn_about_access(host, settings)
    error_console.print(f"Serving on http://{host}:{port} (Ctrl-C stops it).")
    serve(settings, host=host, port=port, access_log=access_log)


def parse_server_names(value: str, host: str) -> frozenset[str] | None:
    """Parse names separated by commas; None, for any name, if there is none and `host` is public.

    On a loopback address, the loopback names are enough. Raises `InputError` for an address.
    """
    from tagalong.backend.server.request_checks import HOST_PATTERN, is_loopback

    names = frozenset(name.strip("[] ").lower() for name in value.split(",") if name.strip())
    for name in names:
        if not HOST_PATTERN.fullmatch(f"[{name}]" if ":" in name else name):
            raise InputError(
                f"{name!r:.60} in --server-names is no host name: write it as the URLs have it, "
                "without http://, port and path",
                code="invalid-server-name",
            )
    return names if names or is_loopback(host) else None


def warn_about_access(host: str, settings: "Settings") -> None:
    """Warn of a server that everybody can use or listen to, or that refuses the train button."""
    from tagalong.backend.server.request_checks import is_loopback

    if not is_loopback(host) and settings.credentials is None:
        print_warning(
            f"Everybody who can reach {host} can use this server: set TAGALONG_USERNAME and "
            "TAGALONG_PASSWORD."
        )
    elif not is_loopback(host):
        print_warning(
            f"Passwords and texts reach {host} unencrypted: let only a proxy with TLS, or a "
            "network that you trust, reach this server."
        )
    if settings.webhook_secret and settings.credentials is None:
        print_warning(
            "The server will refuse Label Studio's train button, which sends credentials but not "
            "the secret: set TAGALONG_USERNAME and TAGALONG_PASSWORD, or unset "
            "TAGALONG_WEBHOOK_SECRET."
        )


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
    url: str | None, key: str | None, *arguments: str, min_annotations: int
) -> RetrainSettings:
    """Settings of retraining, which runs ``python -m tagalong.training.jobs`` as its own process.

    Without the address and the key of Label Studio, they say why retraining is unavailable.
    """
    if url is None or key is None:
        return RetrainSettings(
            unavailable_reason="the server cannot read annotations: start it with LABEL_STUDIO_URL "
            "and LABEL_STUDIO_API_KEY set",
            min_annotations=min_annotations,
        )
    # The key is no argument, because the list of processes shows arguments.
    environment = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": key}
    command = (*RETRAINING_COMMAND, *arguments)
    return RetrainSettings(command, environment, min_annotations=min_annotations)
