"""Whether what annotators do reaches the backend."""

from tagalong.backend.doctor.backend_client import BackendResponse
from tagalong.backend.doctor.context import SETUP_TIMEOUT_SECONDS, DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, problem, warning
from tagalong.backend.label_studio.api.objects import Webhook
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER

WEBHOOKS_PAGE = "under Settings, Webhooks"
PROBE_EVENT = {
    "action": "DOCTOR"
}  # an event that no backend knows: ours answers and records nothing
REQUIRED_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")


def check_webhook(case: DoctorContext) -> CheckResult:
    """Whether the project has a working webhook to its backend, with the secret it asks for."""
    url = f"{case.backends[0].url.rstrip('/')}/webhook"
    ours = [webhook for webhook in case.webhooks if webhook.url.rstrip("/") == url]
    if not ours:
        return problem(
            f"The backend was added by half: the project has no webhook to {url}, so annotations "
            "never reach it.",
            f"Add one with that URL {WEBHOOKS_PAGE}, payload and all events switched on; or remove the "
            "backend and connect it anew. If Label Studio refuses, mend its network switches "
            "first.",
        )
    active = [webhook for webhook in ours if webhook.is_active]
    if not active:
        return problem(
            f"The webhook to {url} is switched off, so annotations never reach the backend.",
            f"Switch it on {WEBHOOKS_PAGE}.",
        )
    webhook = active[0]
    return (
        _check_webhook_settings(webhook)
        or _check_webhook_secret(case, webhook)
        or ok(f"The webhook to {url} is active.")
    )


def _check_webhook_settings(webhook: Webhook) -> CheckResult | None:
    """What a webhook does not send, though the backend needs it."""
    missing = (
        ()
        if webhook.sends_all_actions
        else [name for name in REQUIRED_ACTIONS if name not in webhook.actions]
    )
    if missing:
        return warning(
            f"The webhook to {webhook.url} leaves out {', '.join(missing)}.",
            f"Let it send all actions {WEBHOOKS_PAGE}.",
        )
    if not webhook.sends_payload:
        return warning(
            f"The webhook to {webhook.url} sends no payload, so the backend does not learn which "
            "annotation it is about.",
            f"Switch its payload on {WEBHOOKS_PAGE}.",
        )
    return None


def _check_webhook_secret(case: DoctorContext, webhook: Webhook) -> CheckResult | None:
    """Whether the backend turns away what the webhook brings; asked of our own server only.

    Others may begin to train at any event whatever.
    """
    if not case.is_tagalong:
        return None
    reply = case.call(
        "webhook", PROBE_EVENT, headers=webhook.headers, timeout_seconds=SETUP_TIMEOUT_SECONDS
    )
    if not isinstance(reply, BackendResponse) or reply.status != 401:
        return _check_train_button(case)
    names = {name.lower() for name in webhook.headers}
    flaw = "the wrong secret" if WEBHOOK_SECRET_HEADER.lower() in names else "no secret"
    return problem(
        f"The backend turns the webhook's events away: they carry {flaw}.",
        f"Give the webhook the header {WEBHOOK_SECRET_HEADER} {WEBHOOKS_PAGE}, with the value that the server has "
        "in TAGALONG_WEBHOOK_SECRET; set that first if the server has only a user and password, "
        "which Label Studio does not send with events.",
    )


def _check_train_button(case: DoctorContext) -> CheckResult | None:
    """Whether the backend turns away the train button, which carries no header of a webhook."""
    if case.requires_login:  # then the button carries what is asked for
        return None
    reply = case.call("webhook", PROBE_EVENT, timeout_seconds=SETUP_TIMEOUT_SECONDS)
    if not isinstance(reply, BackendResponse) or reply.status != 401:
        return None
    return warning(
        "The backend asks for a secret but for no user and password, which are all that Label "
        "Studio's train button carries, so it turns the button away.",
        "Set TAGALONG_USERNAME and TAGALONG_PASSWORD on the server, and the same two under "
        "Settings, Model, Edit.",
    )
