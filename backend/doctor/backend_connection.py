"""Whether the backend is connected to the project, and Label Studio can and may call it."""

import re

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, problem, skipped, warning
from tagalong.ner.errors import LabelStudioError

INVALID_PROJECT_ID = (
    "none"  # no project's id: Label Studio checks the address, then refuses, adds nothing
)
CONNECT_REMEDY = "Connect it under Settings, Model, Connect Model"
NETWORK_SETTINGS_REMEDY = (
    "Start Label Studio with USE_DEFAULT_BANNED_SUBNETS=false in its environment, and with "
    "USER_ADDITIONAL_BANNED_SUBNETS, which bans again all networks but this one: Tagalong's README "
    "has the list. (ML_BLOCK_LOCAL_IP=false with SSRF_PROTECTION_ENABLED=false does it too, and "
    "opens every machine of the network.) Then remove the backend if there is one, and connect it "
    "anew."
)
WEBHOOK_NETWORK_REMEDY = (
    "Start Label Studio with SSRF_PROTECTION_ENABLED=false as well, or with "
    "USE_DEFAULT_BANNED_SUBNETS=false. Then remove the backend if there is one, and connect it "
    "anew: that adds the webhook."
)


def check_connected(case: DoctorContext) -> CheckResult:
    """Whether there is one backend."""
    if not case.backends:
        url = case.options.backend_url or "the URL of the backend"
        return problem(
            "The project has no ML backend, so nothing is predicted.", f"{CONNECT_REMEDY}: {url}."
        )
    first, *others = case.backends
    if not others:
        return ok(f"The project's backend is {first.title!r} at {first.url}.")
    named = ", ".join(f"{backend.title!r} at {backend.url}" for backend in others)
    return warning(
        f"The project has {len(case.backends)} backends, and Label Studio asks only the first for "
        f"predictions: {first.title!r} at {first.url}; the others are {named}.",
        "Remove those that are not meant under Settings, Model. A second one is of use only where "
        "it is interactive.",
    )


def check_network(case: DoctorContext) -> CheckResult:
    """Whether Label Studio's network switches let it call the backend, and send it events.

    Asks it to add a backend and a webhook to no project: it looks at the address before it sees
    that there is no such project.
    """
    address = case.backend_url
    if address is None:
        return skipped(
            "There is no backend whose address could be tried.",
            "Give the address that it will have with --backend.",
        )
    refusal = _find_address_error(case, "api/ml/", address)
    if refusal is not None:
        return _explain_address_error(address, refusal)
    refusal = _find_address_error(case, "api/webhooks/", f"{address}/webhook")
    if refusal is None:
        return ok(f"Label Studio's network switches allow {address}.")
    if "valid URL" in refusal:
        return problem(
            f"Label Studio makes no webhook for {address}, because the host's name has no dot.",
            "Let the backend have a name with a dot, such as a network alias of its container, or "
            "an IP address; then remove the backend and connect it anew by that.",
        )
    return problem(
        f"Label Studio may call {address}, but may not send it events: {refusal}.",
        WEBHOOK_NETWORK_REMEDY,
    )


def _find_address_error(case: DoctorContext, path: str, url: str) -> str | None:
    """What Label Studio has against an address; None if nothing."""
    try:
        case.client.connection.request_json(
            "POST", path, body={"url": url, "project": INVALID_PROJECT_ID}
        )
    except LabelStudioError as error:
        if error.kind in ("forbidden", "failed") and _is_address_error(error.detail):
            return error.detail.rstrip(".")
        if error.kind == "refused":
            return error.detail if "valid URL" in error.detail else None
        raise
    return None


def _is_address_error(detail: str) -> bool:
    """Whether Label Studio's words are about an address, and not about what a user may do."""
    signs = ("network address", "resolve", "URL was not allowed")
    return any(sign in detail for sign in signs)


def _explain_address_error(address: str, refusal: str) -> CheckResult:
    """What is wrong with an address, in Label Studio's eyes."""
    if "resolve hostname" in refusal:
        return problem(
            f"Label Studio does not know the host of {address}: {refusal}.",
            "Connect the backend by a name or an IP address that the machine or container which "
            "runs Label Studio knows.",
        )
    return problem(f"Label Studio refuses to call {address}: {refusal}.", NETWORK_SETTINGS_REMEDY)


def check_backend_state(case: DoctorContext) -> CheckResult:
    """Whether Label Studio, having just tried, holds the backend for connected."""
    backend = case.backends[0]
    if backend.is_connected:
        return ok("Label Studio has just asked it for its health and setup, and is content.")
    if backend.error:
        return problem(
            f"The backend answers Label Studio's health check, but not its setup: "
            f"{_shorten_reason(backend.error)}.",
            "Look at the backend's log; the check of its setup above may say more.",
        )
    if not case.connection_error:
        return problem(
            f"Label Studio gets no good answer from {backend.url}/health within 1 s.",
            "Look at the backend's log, and at what lies between the two.",
        )
    return problem(
        f"Label Studio cannot reach {backend.url}: {_shorten_reason(case.connection_error)}.",
        "Connect the backend by the address that it has for the machine or container which runs "
        "Label Studio: localhost is that machine, or that container, itself.",
    )


def _shorten_reason(reason: str) -> str:
    """The part of a library's words that people can use."""
    last = re.split(r"Caused by |object at 0x[0-9a-f]+>[,:] ?|port=\d+\): ", reason)[-1]
    return last.strip("()'\" .") or reason
