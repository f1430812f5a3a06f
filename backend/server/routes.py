"""The routes of Label Studio's ML backend protocol, the status page, and the hooks around them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request

from tagalong.backend.events.payload import (
    START_TRAINING,
    WebhookEvent,
    parse_event,
    parse_job_id,
)
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.retraining.job import JobState
from tagalong.backend.server.auth import check_credentials, check_webhook_auth
from tagalong.backend.server.monitoring.status_page import (
    CONTENT_SECURITY_POLICY,
    StoredState,
    render_status_page,
)
from tagalong.backend.server.prediction.request import (
    RequestError,
    parse_control_name,
    parse_predict_request,
    service_unavailable,
)
from tagalong.backend.server.request_checks import (
    check_host,
    check_same_origin,
    read_json_body,
    set_body_limit,
)
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import MODEL_CLASS
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.errors import RegistryError, StateFileError, TagalongError, VersionNotFound

MAX_READ_JOBS = 200  # for the status page, which shows the last ones of each project
OPEN_VIEWS = {"health", "ready", "root", "webhook"}  # ask for credentials themselves, or for none


def add_request_hooks(app: Flask, service: Service) -> None:
    """Measure and check all requests of an app, and set headers of all its answers."""
    telemetry, settings = service.telemetry, service.settings

    def start() -> None:
        telemetry.count_in_flight(1)
        g.started = time.perf_counter()

    def check() -> None:
        check_host(settings.server_names)
        check_same_origin()
        set_body_limit(settings.limits)

    def finish(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        seconds = time.perf_counter() - g.started if "started" in g else 0.0
        telemetry.record_response(route, response.status_code, seconds)
        # Browsers must neither guess the type of an answer nor keep one with patient data.
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    def end(_: BaseException | None) -> None:
        service.body_budget.release()
        telemetry.count_in_flight(-1)

    app.before_request(start)
    app.before_request(check)
    app.after_request(finish)
    app.teardown_request(end)


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a request is for, and the name of its backend in the event store."""

    model: str
    tier: str
    backend: str
    fault: str = ""  # why the assigned model does not serve the project


def create_routes(service: Service, tier: str | None) -> Blueprint:
    """Create the protocol's routes for one tier, or without one for the model in the URL."""
    routes = Blueprint(tier or "models", __name__)
    credentials = service.settings.credentials

    @routes.url_value_preprocessor
    def read_model_name(_: str | None, values: dict[str, Any] | None) -> None:
        g.model = tier or (values or {}).pop("model")

    def find_target(project: ProjectKey | None = None) -> Target:
        if tier is not None:
            serving = service.model_pool.choose(project, tier)
            return Target(serving.name, tier, backend=tier, fault=serving.fault)
        try:
            holder = service.model_pool.find(g.model)
        except (VersionNotFound, RegistryError) as error:
            raise RequestError(HTTPStatus.NOT_FOUND, str(error), code=error.code) from error
        return Target(holder.name, holder.tier, backend=f"models/{holder.name}")

    def read_body() -> Mapping[str, Any]:
        return read_json_body(service.body_budget, service.settings.limits)

    @routes.before_request
    def authenticate() -> None:
        view = (request.endpoint or "").rpartition(".")[2]
        if credentials is not None and view not in OPEN_VIEWS:
            check_credentials(credentials, service.guess_limiter)

    _add_state_routes(routes, service, find_target)

    @routes.post("/setup")
    def setup() -> Response:
        body = read_body()
        project = ProjectKey.parse(body.get("project"))
        target = find_target(project)
        service.event_store.write_extra_params(project, target.backend, body.get("extra_params"))
        if isinstance(body.get("schema"), str):  # refuse an unusable config at once
            extra_params = service.event_store.read_extra_params(project, target.backend)
            parse_label_config(body["schema"], control=parse_control_name(extra_params))
        return jsonify(_describe_target(service, target))

    @routes.post("/predict")
    def predict() -> Response:
        results = _predict(service, find_target, read_body())
        # One by one: all at once hold up all threads.
        parts = ",".join([current_app.json.dumps(result) for result in results])
        return Response(f'{{"results":[{parts}]}}\n', mimetype="application/json")

    @routes.post("/webhook")
    @routes.post("/train")
    def webhook() -> tuple[Response, HTTPStatus]:
        check_webhook_auth(service.settings, service.guess_limiter)
        return _record_event(service, find_target().tier, read_body())

    @routes.route("/versions", methods=["GET", "POST"])
    def versions() -> Response:
        return jsonify(versions=_list_versions(service, find_target().model))

    @routes.post("/job_status")
    def job_status() -> Response:
        return jsonify(_read_job_status(service, read_body()))

    return routes


def _add_state_routes(
    routes: Blueprint, service: Service, find_target: Callable[[], Target]
) -> None:
    """Add the routes that tell how the server is."""

    @routes.get("/health")
    def health() -> Response:
        target = find_target()
        holder = service.model_pool.find(target.model)
        manifest = holder.find_manifest()
        return jsonify(
            status="UP",
            model_class=MODEL_CLASS,
            tier=target.tier,
            model=target.model,
            version=manifest.version if manifest else None,
            labels=holder.find_labels(),
            degraded=service.is_degraded(target.model),
        )

    @routes.get("/ready")
    def ready() -> Response:
        if (fault := service.find_fault(find_target().model)) is not None:
            raise fault
        return jsonify(status="READY")

    @routes.get("/")
    def root() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
            return health()  # Label Studio and other programs
        check_credentials(service.settings.credentials, service.guess_limiter)
        return _render_page(service)


def _describe_target(service: Service, target: Target) -> dict[str, Any]:
    """The answer to a setup."""
    holder = service.model_pool.find(target.model)
    return {
        "model_version": holder.serving_version(),
        # Label Studio ignores the rest, which is for `tagalong doctor`.
        "model": target.model,
        "labels": holder.find_labels(),
        "assignment_fault": target.fault,
        "assignments_error": service.model_pool.assignments.error,
    }


def _predict(
    service: Service, find_target: Callable[[ProjectKey | None], Target], body: Mapping[str, Any]
) -> list[dict[str, Any]]:
    limits = service.settings.limits
    predict_request = parse_predict_request(body, limits)
    # Refuse at once instead of queueing: Label Studio gives up after 100 seconds anyway.
    if not service.predict_semaphore.acquire(blocking=False):
        raise service_unavailable(
            f"{limits.max_concurrent_requests} requests are in work or waiting: try again in a "
            "moment, or select fewer tasks at once",
            code="too-many-requests",
        )
    try:
        project = predict_request.project
        target = find_target(project)
        extra_params = service.event_store.read_extra_params(project, target.backend)
        with service.model_pool.lease(target.model) as model_holder:
            return service.predict_handler.handle(
                predict_request,
                model_holder,
                control_name=parse_control_name(extra_params),
                has_client_gone=request.environ.get("waitress.client_disconnected", lambda: False),
            )
    finally:
        service.predict_semaphore.release()


def _record_event(
    service: Service, tier: str, body: Mapping[str, Any]
) -> tuple[Response, HTTPStatus]:
    """Store a webhook event, and queue or cancel the jobs that it asks for."""
    if request.path.endswith("/train"):  # older releases of Label Studio
        body = {"action": START_TRAINING, "project": body.get("project")}
    event = parse_event(body)
    if event is None:
        return jsonify(status="ignored"), HTTPStatus.OK
    try:
        return _store_event(service, tier, event)
    except StateFileError:
        service.telemetry.record_refused_event()
        raise


def _store_event(service: Service, tier: str, event: WebhookEvent) -> tuple[Response, HTTPStatus]:
    event_id = service.event_store.write_event(event)
    service.telemetry.record_webhook_event(event.action)
    if event_id is None:  # Label Studio sends an event again if the answer took too long
        return jsonify(status="known"), HTTPStatus.OK
    if event.project is not None and event.action in (START_TRAINING, "PROJECT_DELETED"):
        # Label Studio names a deleted project by its id only.
        project = service.event_store.find_project(event.project)
        if event.action == START_TRAINING:
            reason = "the train button"
            service.job_store.enqueue(project, tier, reason=reason, last_event_id=event_id)
            service.supervisor.wake()
        else:
            service.job_store.request_cancel(project)
    return jsonify(status="recorded", job=str(event_id)), HTTPStatus.CREATED


def _render_page(service: Service) -> Response:
    try:
        events, event_error = service.event_store.count_by_action(), service.event_store.error
    except StateFileError as error:  # predictions do not need the file, so show the page
        events, event_error = {}, str(error)
    try:
        jobs = service.job_store.list_latest(limit=MAX_READ_JOBS)
        job_error = service.job_store.error
    except StateFileError as error:
        jobs, job_error = [], str(error)
    service.telemetry.record_pool(service.model_pool.read_state())
    page = render_status_page(
        service.telemetry.take_snapshot(),
        StoredState(events, event_error, jobs, job_error),
        address=request.host_url.rstrip("/"),
        root_path=request.script_root,
    )
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return Response(page, content_type="text/html; charset=utf-8", headers=headers)


def _read_job_status(service: Service, body: Mapping[str, Any]) -> dict[str, Any]:
    """The state of the job that covers the webhook event with this id."""
    event_id = parse_job_id(body.get("job"))
    event = None if event_id is None else service.event_store.read_event(event_id)
    if event is None:
        raise RequestError(HTTPStatus.NOT_FOUND, "there is no such job", code="unknown-job")
    job = None
    if event.event.project is not None:
        project = service.event_store.find_project(event.event.project)
        job = service.job_store.find_for_event(project, event.id)
    failed = job is not None and job.state is JobState.FAILED
    reason = job.result.reason if job and job.result and job.state.is_finished else None
    return {
        "job_status": job.state if job else "recorded",
        "created_at": event.received_at.isoformat(),
        "status_message": job.status_message or reason if job else None,
        "error": reason if failed else None,
    }


def _list_versions(service: Service, model: str) -> list[str]:
    """The versions of a model: the served one first, then the newest."""
    try:
        served = [service.model_pool.find(model).serving_version()]
    except TagalongError:
        served = []
    published = [manifest.version for manifest in reversed(service.model_registry.manifests(model))]
    return list(dict.fromkeys([*served, *published]))
