"""Whether what annotators do reaches the backend."""

from backend.doctor.calling import Reply
from backend.doctor.case import SETUP_WAIT, Case
from backend.doctor.finding import Verdict, ok, problem, warning
from backend.remote.objects import Webhook
from backend.server.settings import SECRET_HEADER

WHERE = "under Settings, Webhooks"
PROBE = {"action": "DOCTOR"}  # an event that no backend knows: ours answers and records nothing
NEEDED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")


def check_webhook(case: Case) -> Verdict:
    """Whether the project has a working webhook to its backend, with the secret it asks for."""
    url = f"{case.backends[0].url.rstrip('/')}/webhook"
    ours = [webhook for webhook in case.webhooks if webhook.url.rstrip("/") == url]
    if not ours:
        return problem(
            f"The backend was added by half: the project has no webhook to {url}, so annotations "
            "never reach it.",
            f"Add one with that URL {WHERE}, payload and all events switched on; or remove the "
            "backend and connect it anew. If Label Studio refuses, mend its network switches "
            "first.",
        )
    active = [webhook for webhook in ours if webhook.active]
    if not active:
        return problem(
            f"The webhook to {url} is switched off, so annotations never reach the backend.",
            f"Switch it on {WHERE}.",
        )
    webhook = active[0]
    return _incomplete(webhook) or _refused(case, webhook) or ok(f"The webhook to {url} is active.")


def _incomplete(webhook: Webhook) -> Verdict | None:
    """What a webhook does not send, though the backend needs it."""
    missing = (
        () if webhook.all_actions else [name for name in NEEDED if name not in webhook.actions]
    )
    if missing:
        return warning(
            f"The webhook to {webhook.url} leaves out {', '.join(missing)}.",
            f"Let it send all actions {WHERE}.",
        )
    if not webhook.sends_payload:
        return warning(
            f"The webhook to {webhook.url} sends no payload, so the backend does not learn which "
            "annotation it is about.",
            f"Switch its payload on {WHERE}.",
        )
    return None


def _refused(case: Case, webhook: Webhook) -> Verdict | None:
    """Whether the backend turns away what the webhook brings; asked of our own server only.

    Others may begin to train at any event whatever.
    """
    if not case.is_ours:
        return None
    reply = case.ask("webhook", PROBE, headers=webhook.headers, seconds=SETUP_WAIT)
    if not isinstance(reply, Reply) or reply.status != 401:
        return _refused_button(case)
    names = {name.lower() for name in webhook.headers}
    flaw = "the wrong secret" if SECRET_HEADER.lower() in names else "no secret"
    return problem(
        f"The backend turns the webhook's events away: they carry {flaw}.",
        f"Give the webhook the header {SECRET_HEADER} {WHERE}, with the value that the server has "
        "in TAGALONG_WEBHOOK_SECRET; set that first if the server has only a user and password, "
        "which Label Studio does not send with events.",
    )


def _refused_button(case: Case) -> Verdict | None:
    """Whether the backend turns away the train button, which carries no header of a webhook."""
    if case.asks_login:  # then the button carries what is asked for
        return None
    reply = case.ask("webhook", PROBE, seconds=SETUP_WAIT)
    if not isinstance(reply, Reply) or reply.status != 401:
        return None
    return warning(
        "The backend asks for a secret but for no user and password, which are all that Label "
        "Studio's train button carries, so it turns the button away.",
        "Set TAGALONG_USERNAME and TAGALONG_PASSWORD on the server, and the same two under "
        "Settings, Model, Edit.",
    )
