"""``tagalong connect`` and ``disconnect``: the ML backend of a project, and its webhook."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from tagalong.cli.doctor import pair_login, print_findings, render_findings, render_summary
from tagalong.cli.terminal.console import console, print_line
from tagalong.cli.terminal.options import (
    LABEL_STUDIO_KEY_OPTION,
    LABEL_STUDIO_URL_OPTION,
    LabelStudioProjectOption,
)
from tagalong.ner.text_sanitizing import to_single_line

if TYPE_CHECKING:  # the SDK would make `tagalong --help` slow
    from tagalong.backend.doctor.connect import ConnectPlan
    from tagalong.backend.doctor.connect_checks import ConnectCheck
    from tagalong.backend.doctor.connect_context import ConnectContext

SERVER_URL = "http://127.0.0.1:9090"  # of `tagalong serve`
BackendURLOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Address of the server, as Label Studio reaches it."),
]
LocalURLOption = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="URL",
        help="Address of the server from this machine, if Label Studio uses another one.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Model for the project, instead of the server's default."),
]
KeepSamplingOption = Annotated[
    bool,
    typer.Option(
        "--keep-sampling", help="Leave the order of tasks, instead of uncertain ones first."
    ),
]
ConnectDryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the changes without making any.")
]


def connect_cli(
    url: Annotated[str, LABEL_STUDIO_URL_OPTION],
    key: Annotated[str, LABEL_STUDIO_KEY_OPTION],
    project: LabelStudioProjectOption,
    model: ModelOption = None,
    backend_url: BackendURLOption = SERVER_URL,
    backend: LocalURLOption = None,
    keep_sampling: KeepSamplingOption = False,
    dry_run: ConnectDryRunOption = False,
) -> None:
    """Connect a project to a running server: ML backend, webhook, sampling, shown predictions.

    Shows each change, then the findings of `tagalong doctor`. User, password and webhook secret
    come from the same environment variables as those of `tagalong serve`.

    Example: tagalong connect --project 1
    """
    from tagalong.backend.doctor.checks import is_healthy, run_checks
    from tagalong.backend.doctor.connect import plan_connection
    from tagalong.backend.doctor.connect_checks import CONNECT_CHECKS
    from tagalong.backend.doctor.connect_context import (
        ConnectContext,
        ConnectOptions,
        check_model_name,
        check_webhook_secret,
        parse_server_url,
    )

    server_url = parse_server_url(backend_url, model=model)
    options = ConnectOptions(
        url,
        key,
        project,
        server_url=server_url,
        local_server_url=parse_server_url(backend, model=model) if backend else server_url,
        model=None if model is None else check_model_name(model),
        # Not options, which every process of the machine could read.
        login=pair_login(*map(os.environ.get, ("TAGALONG_USERNAME", "TAGALONG_PASSWORD"))),
        webhook_secret=check_webhook_secret(os.environ.get("TAGALONG_WEBHOOK_SECRET", "")),
        keep_sampling=keep_sampling,
    )
    with closing(ConnectContext(options)) as context:
        _make_changes(context, CONNECT_CHECKS, plan_connection, dry_run=dry_run)
        last_check = context.options_of_last_check()
    if dry_run:  # the doctor would report what has not been changed
        return
    console.print()
    findings = print_findings(run_checks(last_check))
    console.print(render_summary(findings))
    if not is_healthy(findings):
        raise typer.Exit(1)


def disconnect_cli(
    url: Annotated[str, LABEL_STUDIO_URL_OPTION],
    key: Annotated[str, LABEL_STUDIO_KEY_OPTION],
    project: LabelStudioProjectOption,
    backend_url: BackendURLOption = SERVER_URL,
    dry_run: ConnectDryRunOption = False,
) -> None:
    """Remove the ML backend of a server from a project, and its webhook.

    Predictions, annotations and other backends stay. The server need not run.

    Example: tagalong disconnect --project 1
    """
    from tagalong.backend.doctor.connect import plan_disconnection
    from tagalong.backend.doctor.connect_checks import ACCESS_CHECKS
    from tagalong.backend.doctor.connect_context import (
        ConnectContext,
        ConnectOptions,
        parse_server_url,
    )

    options = ConnectOptions(url, key, project, server_url=parse_server_url(backend_url))
    with closing(ConnectContext(options)) as context:
        _make_changes(context, ACCESS_CHECKS, plan_disconnection, dry_run=dry_run)


def _make_changes(
    context: "ConnectContext",
    checks: "Sequence[ConnectCheck]",
    make_plan: "Callable[[ConnectContext], ConnectPlan]",
    *,
    dry_run: bool,
) -> None:
    """Check, plan, and make and print each change; ends the command if a check finds a problem."""
    from tagalong.backend.doctor.connect_checks import find_first_problem

    finding = find_first_problem(context, checks)
    if finding is not None:
        console.print(render_findings([finding]), soft_wrap=True)
        print_line("Nothing was changed.")
        raise typer.Exit(1)
    plan = make_plan(context)
    for change in plan.changes:
        if not dry_run:
            change.make()
        for line in change.lines:
            print_line(to_single_line(line))
    for note in plan.notes:
        print_line(to_single_line(note))
    if not plan.changes:
        print_line(f"Nothing to change for {context.backend_url} in project {context.project.id}.")
    elif dry_run:
        print_line("Dry run: nothing was changed.")
