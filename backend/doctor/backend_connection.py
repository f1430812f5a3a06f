"""Checks of the connection from Label Studio to the backend."""

import re

from tagalong.backend.doctor.backend_client import REFUSALS
from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import DoctorFinding, ok, problem, skipped, warning
from tagalong.ner.errors import LabelStudioError

ADDRESS_ERROR_SIGNS = ("network address", "resolve", "URL was not allowed")
INVALID_PROJECT_ID = "none"  # Label Studio checks the address first, then refuses the project
NETWORK_SETTINGS_REMEDY = (
    "Start Label Studio with USE_DEFAULT_BANNED_SUBNETS=false in its environment, and with "
    "USER_ADDITIONAL_BANNED_SUBNETS, which bans all networks but this one again: "
    "docs/deployment.md of Tagalong has the list. (ML_BLOCK_LOCAL_IP=false with "
    "SSRF_PROTECTION_ENABLED=false works too, but opens every machine of the network.) Then remove "
    "the backend if there is one, and connect it again."
)
WEBHOOK_NETWORK_REMEDY = (
    "Start Label Studio with SSRF_PROTECTION_ENABLED=false as well, or with "
    "USE_DEFAULT_BANNED_SUBNETS=false. Then remove the backend if there is one, and connect it "
    "again: that adds the webhook."
)


def check_connected(context: DoctorContext) -> DoctorFinding:
    """Whether the project has exactly one backend."""
    if not context.backends:
        url = context.options.backend_url or "the URL of the backend"
        sentence = "The project has no ML backend, so nothing is predicted."
        remedy = f"{context.connect_advice}, or add it under Settings, Model, Connect Model: {url}."
        return problem("no-backend", sentence, remedy)
    first, *others = context.backends
    if not others:
        return ok(f"The project's backend is {first.title!r} at {first.url}.")
    named = ", ".join(f"{backend.title!r} at {backend.url}" for backend in others)
    return warning(
        "several-backends",
        f"The project has {len(context.backends)} backends, and Label Studio asks only the first "
        f"for predictions: {first.title!r} at {first.url}; the others are {named}.",
        "Remove under Settings, Model, those that are not to predict. A second backend is useful "
        "only if it is interactive.",
    )


def check_network(context: DoctorContext) -> DoctorFinding:
    """Whether Label Studio's network settings allow calls to the backend, and events to it."""
    address = context.backend_url
    if address is None:
        sentence = "There is no backend whose address could be tried."
        remedy = "Give its future address with --backend."
        return skipped("no-backend", sentence, remedy)
    # A backend and a webhook for no project: Label Studio checks the address before the project.
    refusal = _find_address_error(context, "api/ml/", address)
    if refusal is not None and "resolve hostname" in refusal:
        return problem(
            "unknown-host",
            f"Label Studio does not know the host of {address}: {refusal}.",
            "Connect the backend by a name or an IP address that the machine or container of Label "
            "Studio knows.",
        )
    if refusal is not None:
        sentence = f"Label Studio refuses to call {address}: {refusal}."
        return problem("calls-blocked", sentence, NETWORK_SETTINGS_REMEDY)
    refusal = _find_address_error(context, "api/webhooks/", f"{address}/webhook")
    if refusal is None:
        return ok(f"Label Studio's network settings allow {address}.")
    if "valid URL" in refusal:
        return problem(
            "host-without-dot",
            f"Label Studio makes no webhook for {address}, because the host's name has no dot.",
            "Give the backend a name with a dot, such as a network alias of its container, or an "
            "IP address; then remove the backend, and connect it by that name.",
        )
    sentence = f"Label Studio may call {address}, but may not send it events: {refusal}."
    return problem("events-blocked", sentence, WEBHOOK_NETWORK_REMEDY)


def _find_address_error(context: DoctorContext, path: str, url: str) -> str | None:
    """Label Studio's reason to refuse an address, if it does."""
    body = {"url": url, "project": INVALID_PROJECT_ID}
    try:
        context.client.connection.request_json("POST", path, body=body)
    except LabelStudioError as error:
        # A user without the permission gets these kinds too, with another reason.
        is_about_address = any(sign in error.detail for sign in ADDRESS_ERROR_SIGNS)
        if error.kind in ("forbidden", "failed") and is_about_address:
            return error.detail.rstrip(".")
        if error.kind == "refused":
            return error.detail if "valid URL" in error.detail else None
        raise
    return None


def check_backend_state(context: DoctorContext) -> DoctorFinding:
    """Whether Label Studio considers the backend connected after its last call."""
    backend = context.backends[0]
    if backend.is_connected:
        return ok("Label Studio has just called its health and setup with success.")
    if backend.error:
        return problem(
            "setup-failed",
            f"The backend answers Label Studio's health check, but not its setup: "
            f"{_shorten_reason(backend.error)}.",
            _find_remedy(backend.error)
            or "Look at the backend's log; the check of its setup above may say more.",
        )
    if not context.connection_error:
        sentence = f"Label Studio gets no good answer from {backend.url}/health within 1 s."
        remedy = "Look at the backend's log, and at the network between the two."
        return problem("health-failed", sentence, remedy)
    return problem(
        "backend-unreachable-from-label-studio",
        f"Label Studio cannot reach {backend.url}: {_shorten_reason(context.connection_error)}.",
        _find_remedy(context.connection_error)
        or "Connect the backend by its address as seen from the machine or container of Label "
        "Studio: localhost is that machine, or that container, itself.",
    )


def _find_remedy(reason: str) -> str:
    """What to do if the reason is a status of HTTP, such as ``502 Server Error``; or nothing."""
    status = re.match(r"(\d{3}) (?:Client|Server) Error", reason)
    return REFUSALS.get(int(status[1]), ("", "", ""))[2] if status else ""


def _shorten_reason(reason: str) -> str:
    """The useful part of a library's error message."""
    last_part = re.split(r"Caused by |object at 0x[0-9a-f]+>[,:] ?|port=\d+\): ", reason)[-1]
    return last_part.strip("()'\" .") or reason
