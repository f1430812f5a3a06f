"""The changes that connect a project with its ML backend, and those that undo it.

Everything is read before the first change, so that a dry run shows the same changes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from tagalong.backend.doctor.connect_context import (
    MODELS_PATH,
    ConnectContext,
    address_key,
)
from tagalong.backend.doctor.webhook import find_missing_actions
from tagalong.backend.label_studio.api.objects import MLBackend, Webhook
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.errors import LabelStudioError

DEFAULT_SAMPLING = "Sequential sampling"  # of new projects
UNCERTAINTY_SAMPLING: Final = "Uncertainty sampling"


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A change in Label Studio."""

    lines: tuple[str, ...]  # for the user: what changes, from what to what
    make: Callable[[], object]  # raises LabelStudioError


@dataclass(frozen=True, slots=True)
class ConnectPlan:
    """The changes of a project, in order; none if everything is as it should be."""

    changes: tuple[SettingsChange, ...]
    notes: tuple[str, ...]  # what stays as it is, though the user should know of it


def plan_connection(context: ConnectContext) -> ConnectPlan:
    """Plan how a project gets its backend, settings and webhook."""
    changes = (*_plan_backend(context), *_plan_settings(context), *_plan_webhook(context))
    return ConnectPlan(changes, tuple(_describe_others(context)))


def _plan_backend(context: ConnectContext) -> Iterator[SettingsChange]:
    row, login = context.backend, context.options.login
    url, version = context.backend_url, context.served_version
    if row is None:
        with_login = f", with user {login[0]!r} and its password" if login else ""
        yield SettingsChange(
            (
                f"ML backend: added at {url}, with the served version {version!r} as its title, "
                f"for interactive pre-annotations too{with_login}.",
            ),
            partial(_add_backend, context),
        )
        return
    lines = []
    if row.url != url:
        lines.append(f"Address of the ML backend: from {row.url} to {url}.")
    if row.title != version:
        lines.append(f"Title of the ML backend: from {row.title!r} to {version!r}.")
    if not row.is_interactive:
        lines.append("Interactive pre-annotations: from off to on.")
    if login and (row.auth_method != "BASIC_AUTH" or row.username != login[0]):
        old = f"user {row.username!r}" if row.auth_method == "BASIC_AUTH" else "none"
        lines.append(f"User and password of the ML backend: from {old} to user {login[0]!r}.")
    elif login and not row.is_connected and "401" in context.connection_error:
        lines.append("Password of the ML backend: from a wrong one to that of the environment.")
    if lines:
        update = context.client.ml_backends.update
        make = partial(update, row, url=url, title=version, interactive=True, login=login)
        yield SettingsChange(tuple(lines), partial(_explain_unreachable, context, make))


def _add_backend(context: ConnectContext) -> None:
    add = partial(
        context.client.ml_backends.add,
        context.project.id,
        context.backend_url,
        context.served_version,
        login=context.options.login,
    )
    _explain_unreachable(context, add)


def _explain_unreachable(context: ConnectContext, call: Callable[[], MLBackend]) -> None:
    """Make a call in which Label Studio calls the backend itself, from its own machine."""
    try:
        call()
    except LabelStudioError as error:
        if error.kind != "refused" or "health check failed" not in error.detail:
            raise
        raise LabelStudioError(
            f"Label Studio cannot reach {context.backend_url}, though this machine reaches "
            f"{context.local_backend_url}: give --backend-url as the machine or container of Label "
            "Studio reaches the server, and --backend as this machine does",
            error.kind,
            error.detail,
            code="backend-unreachable-from-label-studio",
        ) from error


def _plan_settings(context: ConnectContext) -> Iterator[SettingsChange]:
    project, version = context.project, context.served_version
    changes: dict[str, Any] = {}
    lines = []
    if not project.shows_predictions:
        changes["shows_predictions"] = True
        lines.append("Predictions shown to annotators: from off to on.")
    if project.model_version != version and not _shows_others(context):
        changes["model_version"] = version
        old = repr(project.model_version) if project.model_version else "none"
        lines.append(f"Version that the project shows and sorts by: from {old} to {version!r}.")
    if project.sampling == DEFAULT_SAMPLING and not context.connect_options.keep_sampling:
        changes["sampling"] = UNCERTAINTY_SAMPLING
        lines.append(f"Order of tasks: from {project.sampling!r} to {UNCERTAINTY_SAMPLING!r}.")
    if lines:
        update = context.client.update_project
        yield SettingsChange(tuple(lines), partial(update, project.id, **changes))


def _shows_others(context: ConnectContext) -> bool:
    """Whether the project shows predictions of another backend, or those of an earlier batch."""
    if not context.is_first_backend:
        return True
    chosen = context.project.model_version
    title = context.backend.title if context.backend else ""
    # Label Studio itself changes a version that is the title of the backend.
    return chosen != title and bool(context.version_counts.get(chosen))


def _plan_webhook(context: ConnectContext) -> Iterator[SettingsChange]:
    url, row, headers = context.webhook_url, context.backend, context.secret_headers
    webhooks = context.client.webhooks
    addresses = {address_key(url)} | ({address_key(_webhook_url(row.url))} if row else set())
    own = [
        webhook
        for webhook in webhooks.list_for_project(context.project.id)
        if address_key(webhook.url) in addresses
    ]
    if not own:
        header = f", with the header {WEBHOOK_SECRET_HEADER}" if headers else ""
        yield SettingsChange(
            (f"Webhook: added, to {url}, for all events{header}.",),
            partial(_add_webhook, context),
        )
        return
    own.sort(key=lambda webhook: (webhook.url != url, not webhook.is_active))
    kept, *others = own
    if lines := tuple(_describe_webhook_changes(kept, url, headers)):
        yield SettingsChange(lines, partial(webhooks.update, _correct(kept, url, headers)))
    for webhook in others:
        if address_key(webhook.url) != address_key(url):  # of the backend's old address
            line = f"Webhook: removed, the one to the old address {webhook.url}."
            yield SettingsChange((line,), partial(webhooks.remove, webhook.id))


def _add_webhook(context: ConnectContext) -> None:
    # Label Studio has added one with the backend, if that is new.
    webhooks, headers = context.client.webhooks, context.secret_headers
    url, project = context.webhook_url, context.project.id
    for webhook in webhooks.list_for_project(project):
        if webhook.url == url:
            webhooks.update(_correct(webhook, url, headers))
            return
    webhooks.add(project, url, headers=headers)


def _describe_webhook_changes(
    webhook: Webhook, url: str, headers: Mapping[str, str]
) -> Iterator[str]:
    if webhook.url != url:
        yield f"Address of the webhook: from {webhook.url} to {url}."
    if not webhook.is_active:
        yield "Webhook: from off to on."
    if not webhook.sends_payload:
        yield "Payload of the webhook: from off to on."
    if missing := find_missing_actions(webhook):
        yield f"Events of the webhook: {', '.join(missing)} added."
    if headers and _correct(webhook, url, headers).headers != webhook.headers:
        has_old = WEBHOOK_SECRET_HEADER.lower() in map(str.lower, webhook.headers)
        change = "from another secret to that" if has_old else "added, with the secret"
        yield f"Header {WEBHOOK_SECRET_HEADER} of the webhook: {change} of the environment."


def _correct(webhook: Webhook, url: str, headers: Mapping[str, str]) -> Webhook:
    """A webhook with the settings that the server needs; other headers and events stay."""
    replaced = {name.lower() for name in headers}
    others = {
        name: value for name, value in webhook.headers.items() if name.lower() not in replaced
    }
    return replace(
        webhook,
        url=url,
        is_active=True,
        sends_payload=True,
        actions=(*webhook.actions, *find_missing_actions(webhook)),
        headers={**others, **headers},
    )


def _describe_others(context: ConnectContext) -> Iterator[str]:
    """What others have set up for the project or its organisation."""
    if not context.is_first_backend:
        first = context.backends[0]
        yield (
            f"The project's first backend stays {first.title!r} at {first.url}, and Label Studio "
            "asks only the first for predictions: remove it under Settings, Model, if Tagalong is "
            "to predict."
        )
    if context.project.sampling not in (DEFAULT_SAMPLING, UNCERTAINTY_SAMPLING, ""):
        yield f"Order of tasks: stays {context.project.sampling!r}, as somebody chose it."
    key = address_key(context.webhook_url)
    every = context.client.webhooks.list_for_all_projects()
    if any(address_key(webhook.url) == key for webhook in every):
        yield (
            f"A webhook of the organisation sends events of all projects to {context.webhook_url} "
            "too, and stays: the server counts each event once."
        )


def plan_disconnection(context: ConnectContext) -> ConnectPlan:
    """Plan how a project loses the backend of this server, of any model, and its webhook."""
    client, project = context.client, context.project
    rows = [row for row in context.backends if _is_of_server(row.url, context.backend_url)]
    changes = []
    for row in rows:
        lines = [f"ML backend: {row.title!r} at {row.url} removed."]
        if row.title == project.model_version:  # Label Studio itself does that
            lines.append(
                f"Version that the project shows and sorts by: from {row.title!r} to none."
            )
        changes.append(SettingsChange(tuple(lines), partial(client.ml_backends.remove, row.id)))
    urls = {address_key(context.webhook_url), *(address_key(_webhook_url(row.url)) for row in rows)}
    for webhook in client.webhooks.list_for_project(project.id):
        if address_key(webhook.url) in urls:
            line = f"Webhook: the one to {webhook.url} removed."
            changes.append(SettingsChange((line,), partial(client.webhooks.remove, webhook.id)))
    return ConnectPlan(tuple(changes), tuple(_describe_kept(context, rows)))


def _describe_kept(context: ConnectContext, removed: list[MLBackend]) -> Iterator[str]:
    project = context.project
    if others := [row for row in context.backends if row not in removed]:
        named = ", ".join(f"{row.title!r} at {row.url}" for row in others)
        count = pluralize(len(others), "backend")
        yield f"The project keeps {count} at another address: {named}."
    yield (
        f"The project keeps {pluralize(project.prediction_count, 'prediction')} and "
        f"{pluralize(project.annotation_count, 'annotation')}."
    )


def _is_of_server(url: str, server_url: str) -> bool:
    """Whether a URL is the server's, or that of one of its models."""
    *address, path = address_key(url)
    *server_address, server_path = address_key(server_url)
    return address == server_address and server_path in (path, path.partition(MODELS_PATH)[0])


def _webhook_url(backend_url: str) -> str:
    return f"{backend_url.rstrip('/')}/webhook"
