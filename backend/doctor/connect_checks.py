"""Checks before a project is connected: the first that fails stops it, with nothing changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tagalong.backend.doctor.backend_client import call_backend
from tagalong.backend.doctor.backend_connection import check_network
from tagalong.backend.doctor.backend_responses import (
    check_reachable,
    check_setup,
    explain_refusal,
)
from tagalong.backend.doctor.connect_context import ConnectContext
from tagalong.backend.doctor.context import HEALTH_TIMEOUT_SECONDS, SETUP_TIMEOUT_SECONDS
from tagalong.backend.doctor.finding import DoctorFinding, ok, problem
from tagalong.backend.doctor.label_studio_access import (
    check_key,
    check_label_studio,
    check_project,
)
from tagalong.backend.doctor.project_settings import check_label_config
from tagalong.backend.doctor.webhook import PROBE_EVENT
from tagalong.backend.server.settings import MODEL_CLASS

ConnectCheck = tuple[str, Callable[[ConnectContext], DoctorFinding]]  # its title for users


def find_first_problem(
    context: ConnectContext, checks: Sequence[ConnectCheck]
) -> DoctorFinding | None:
    """The first problem that these checks find.

    Raises:
        LabelStudioError: If Label Studio fails, or the key lacks a right.
    """
    for title, check in checks:
        result = check(context)
        if result.status in ("problem", "skipped"):
            return replace(result, title=title)
    return None


def _check_model(context: ConnectContext) -> DoctorFinding:
    """Whether the server has the model."""
    options = context.connect_options
    if options.model is None or context.health_response.status != 404:
        return ok("The server has the model.")
    root = call_backend(
        f"{options.local_server_url}/health", timeout_seconds=HEALTH_TIMEOUT_SECONDS
    )
    if root.get("model_class") != MODEL_CLASS:
        return ok("Another check tells that this is no Tagalong.")
    return problem(
        "no-such-model",
        f"The server at {options.local_server_url} has no model {options.model!r}.",
        "Give a model that `tagalong models list` shows, or train it with `tagalong train encoder "
        f"--model {options.model}`.",
    )


def _check_program(context: ConnectContext) -> DoctorFinding:
    """Whether the server is ours."""
    if context.is_tagalong:
        return ok("The backend is Tagalong.")
    return problem(
        "not-tagalong",
        f"The backend at {context.local_backend_url} is another program than Tagalong.",
        "Start `tagalong serve`, with another --port if that program is to stay, and give its "
        "address with --backend-url.",
    )


def _check_login(context: ConnectContext) -> DoctorFinding:
    """Whether the backend accepts the user and password of the environment."""
    if context.setup_response.status != 401:
        return ok("The backend accepts the user and password, or needs none.")
    remedy = "Set TAGALONG_USERNAME and TAGALONG_PASSWORD, with the same values as on the server."
    if context.options.login is None:
        sentence = "The backend asks for a user and password, and the environment has none."
        return problem("login-not-given", sentence, remedy)
    sentence = "The backend refuses the user and password of the environment."
    return problem("given-login-refused", sentence, remedy)


def _check_secret(context: ConnectContext) -> DoctorFinding:
    """Whether the backend accepts an event with the secret of the environment."""
    if not context.secret_headers:  # the doctor tells whether one is needed
        return ok("No secret is given.")
    reply = context.call(
        "webhook",
        PROBE_EVENT,
        headers=context.secret_headers,
        timeout_seconds=SETUP_TIMEOUT_SECONDS,
    )
    if reply.status == 401:
        return problem(
            "given-secret-refused",
            "The backend refuses the webhook secret of the environment.",
            "Set TAGALONG_WEBHOOK_SECRET, with the same value as on the server.",
        )
    refusal = explain_refusal("An event with the secret", reply)
    return refusal or ok("The backend accepts the secret.")


ACCESS_CHECKS: Final[tuple[ConnectCheck, ...]] = (
    ("Label Studio", check_label_studio),
    ("Key", check_key),
    ("Project", check_project),
)
CONNECT_CHECKS: Final[tuple[ConnectCheck, ...]] = (
    *ACCESS_CHECKS,
    ("Model", _check_model),
    ("Backend (from here)", check_reachable),
    ("Backend (from here)", _check_program),
    ("Labelling config", check_label_config),
    ("User and password", _check_login),
    ("Setup", check_setup),
    ("Webhook secret", _check_secret),
    ("Network settings", check_network),
)
