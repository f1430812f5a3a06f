"""Check of the project's webhook, which sends annotations to the backend."""

from tagalong.backend.doctor.backend_responses import explain_refusal
from tagalong.backend.doctor.context import SETUP_TIMEOUT_SECONDS, DoctorContext
from tagalong.backend.doctor.finding import DoctorFinding, ok, problem, warning
from tagalong.backend.label_studio.api.objects import Webhook
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER

WEBHOOKS_PAGE = "under Settings, Webhooks"
PROBE_EVENT = {"action": "DOCTOR"}  # no backend knows it: ours answers, and records nothing
# The server counts annotations with these, to start a retraining.
REQUIRED_ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",  # of several tasks at once
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
)


def check_webhook(context: DoctorContext) -> DoctorFinding:
    """Whether the project has a working webhook to its backend, with the right secret."""
    url = f"{context.backends[0].url.rstrip('/')}/webhook"
    webhooks = context.client.webhooks.list_for_project(context.project.id)
    matching = [webhook for webhook in webhooks if webhook.url.rstrip("/") == url]
    if not matching:  # Label Studio adds it with the backend, unless its address is banned
        return problem(
            "no-webhook",
            f"The project has no webhook to {url}, so annotations never reach the backend.",
            f"{context.connect_advice}, or add one with that URL {WEBHOOKS_PAGE}, payload and all "
            "events switched on. If Label Studio refuses, correct its network settings first.",
        )
    webhook = next((webhook for webhook in matching if webhook.is_active), None)
    if webhook is None:
        sentence = f"The webhook to {url} is switched off, so annotations never reach the backend."
        return problem("webhook-off", sentence, f"Switch it on {WEBHOOKS_PAGE}.")
    return (
        _check_webhook_settings(webhook)
        or _check_webhook_secret(context, webhook)
        or ok(f"The webhook to {url} is active.")
    )


def find_missing_actions(webhook: Webhook) -> list[str]:
    """The events that the server needs and a webhook leaves out."""
    sent = REQUIRED_ACTIONS if webhook.sends_all_actions else webhook.actions
    return [name for name in REQUIRED_ACTIONS if name not in sent]


def _check_webhook_settings(webhook: Webhook) -> DoctorFinding | None:
    missing = find_missing_actions(webhook)
    name = f"The webhook to {webhook.url}"
    if missing:
        remedy = f"Let it send all actions {WEBHOOKS_PAGE}."
        return warning(
            "webhook-actions-missing", f"{name} leaves out {', '.join(missing)}.", remedy
        )
    if not webhook.sends_payload:
        sentence = f"{name} sends no payload, so the backend does not know the annotation."
        remedy = f"Switch its payload on {WEBHOOKS_PAGE}."
        return warning("webhook-without-payload", sentence, remedy)
    return None


def _check_webhook_secret(context: DoctorContext, webhook: Webhook) -> DoctorFinding | None:
    """A problem if the backend refuses the events of the webhook."""
    if not context.is_tagalong:  # another server might start a training at any event
        return None
    reply = context.call(
        "webhook", PROBE_EVENT, headers=webhook.headers, timeout_seconds=SETUP_TIMEOUT_SECONDS
    )
    # Any other answer means that the server accepted the secret, or needs none.
    if reply.status != 401:
        refusal = explain_refusal("An event with the webhook's headers", reply)
        return refusal or _check_train_button(context)
    names = {name.lower() for name in webhook.headers}
    fault = "the wrong secret" if WEBHOOK_SECRET_HEADER.lower() in names else "no secret"
    return problem(
        "webhook-secret",
        f"The backend refuses the webhook's events: they carry {fault}.",
        f"{context.connect_advice} with the server's TAGALONG_WEBHOOK_SECRET, or give the webhook "
        f"the header {WEBHOOK_SECRET_HEADER} {WEBHOOKS_PAGE}. Set that secret first if the server "
        "has only a user and password, which Label Studio does not send with events.",
    )


def _check_train_button(context: DoctorContext) -> DoctorFinding | None:
    """A warning if the backend refuses the train button, which sends no webhook header."""
    if context.requires_login:  # the button sends user and password
        return None
    reply = context.call("webhook", PROBE_EVENT, timeout_seconds=SETUP_TIMEOUT_SECONDS)
    if reply.status != 401:
        return None
    return warning(
        "train-button",
        "The backend asks for a secret, but Label Studio's train button sends only a user and "
        "password, so the backend refuses the button.",
        "Set TAGALONG_USERNAME and TAGALONG_PASSWORD on the server, and the same two under "
        "Settings, Model, Edit.",
    )
