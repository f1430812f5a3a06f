"""The routes that Label Studio calls, and those for people and monitoring."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from tagalong.backend.events.payload import START_TRAINING, parse_event, parse_job_id
from tagalong.backend.events.store import RecordedEvent
from tagalong.backend.retraining.job import JobState
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.server.auth import check_credentials, check_webhook_auth
from tagalong.backend.server.monitoring.status_page import (
    CONTENT_SECURITY_POLICY,
    render_status_page,
)
from tagalong.backend.server.prediction.errors import RequestError, service_unavailable
from tagalong.backend.server.prediction.handler import (
    parse_predict_request,
    parse_project_id,
    read_label_config,
)
from tagalong.backend.server.service import Service
from tagalong.ner.errors import StateFileError, TagalongError

MODEL_CLASS = "Tagalong"
MAX_LISTED_JOBS = 5  # trainings on the page, the last ones


def create_metrics_routes(service: Service) -> Blueprint:
    """What is not of one tier.

    Args:
        service: What answers.

    Returns:
        ``/metrics``.
    """
    routes = Blueprint("general", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        check_credentials(request, service.settings.credentials)
        telemetry = service.telemetry
        return Response(telemetry.render_exposition(), content_type=telemetry.content_type)

    return routes


def create_tier_routes(service: Service, tier: str) -> Blueprint:
    """What Label Studio calls, answered by one tier.

    Args:
        service: What answers.
        tier: Its name.

    Returns:
        The protocol's routes.
    """
    routes = Blueprint(tier, __name__)
    slot, settings = service.model_holders[tier], service.settings

    @routes.get("/health")
    def health() -> Response:
        return jsonify(_health_json(service, tier))

    @routes.get("/")
    def root() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
            return health()
        check_credentials(request, settings.credentials)
        return _render_page(service)

    @routes.post("/setup")
    def setup() -> Response:
        check_credentials(request, settings.credentials)
        body = _read_json_body()
        extra = body.get("extra_params")
        project = parse_project_id(body.get("project"))
        service.event_store.write_extra_params(project, tier, extra)
        if isinstance(body.get("schema"), str):
            read_label_config(
                body["schema"], service.event_store.read_extra_params(project, tier).get("control")
            )
        return jsonify(model_version=slot.serving_version())

    @routes.post("/predict")
    def predict() -> Response:
        check_credentials(request, settings.credentials)
        asked = parse_predict_request(_read_json_body(), settings.limits)
        if not service.predict_semaphore.acquire(blocking=False):
            raise service_unavailable(
                f"{settings.limits.max_concurrent_requests} requests are being predicted or wait for it: "
                "try again in a moment, or select fewer tasks at once"
            )
        try:
            control = service.event_store.read_extra_params(asked.project, tier).get("control")
            answer = service.predict_handler.handle(asked, slot, control_name=control)
        finally:
            service.predict_semaphore.release()
        service.telemetry.record_predictions(asked.project, tier, answer.stats)
        return jsonify(results=answer.results)

    @routes.post("/webhook")
    @routes.post("/train")
    def webhook() -> tuple[Response, HTTPStatus]:
        check_webhook_auth(request, settings)
        body = _read_json_body()
        if request.path.endswith("/train"):  # what older releases call instead of START_TRAINING
            body = {"action": START_TRAINING, "project": body.get("project")}
        event = parse_event(body)
        if event is None or not event.is_known:
            return jsonify(status="ignored"), HTTPStatus.OK
        number = service.event_store.write_event(event)
        service.telemetry.record_webhook_event(event.action)
        if number is None:
            return jsonify(status="known"), HTTPStatus.OK
        if event.project is not None and event.action == START_TRAINING:
            service.queue_job(event.project, tier, number)
        if event.project is not None and event.action == "PROJECT_DELETED":
            service.job_store.request_cancel(event.project)
        return jsonify(status="recorded", job=str(number)), HTTPStatus.CREATED

    @routes.route("/versions", methods=["GET", "POST"])
    def versions() -> Response:
        check_credentials(request, settings.credentials)
        return jsonify(versions=_list_versions(service, tier))

    @routes.post("/job_status")
    def job_status() -> Response:
        check_credentials(request, settings.credentials)
        number = parse_job_id(_read_json_body().get("job"))
        event = None if number is None else service.event_store.read_event(number)
        if event is None:
            raise RequestError(HTTPStatus.NOT_FOUND, "there is no such job")
        return jsonify(_job_status_json(event, service.job_store))

    return routes


def _render_page(service: Service) -> Response:
    """The status page, which runs no script and loads nothing."""
    try:
        events, fault = service.event_store.count_by_action(), service.event_store.error
    except StateFileError as error:
        events, fault = {}, str(error)
    try:
        trainings, trouble = (
            service.job_store.list_latest(limit=MAX_LISTED_JOBS),
            service.job_store.error,
        )
    except StateFileError as error:
        trainings, trouble = [], str(error)
    page = render_status_page(
        service.telemetry.take_snapshot(),
        address=request.host_url.rstrip("/"),
        events=events,
        event_store_error=fault,
        jobs=trainings,
        job_store_error=trouble,
        root_path=request.script_root,
    )
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return Response(page, content_type="text/html; charset=utf-8", headers=headers)


def _read_json_body() -> Mapping[str, Any]:
    """The body of a request.

    Returns:
        The object that it holds.

    Raises:
        Refusal: If it is no JSON object.
        RequestEntityTooLarge: If it is larger than the app takes.
    """
    content, most = request.get_data(cache=False), request.max_content_length
    if request.content_length is None and most is not None and len(content) >= most:
        raise RequestEntityTooLarge  # sent in chunks, of which Werkzeug leaves out what is too much
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "the body is not JSON: send it as Label Studio does"
        ) from error
    if not isinstance(body, dict):
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is JSON, but not an object")
    return body


def _job_status_json(event: RecordedEvent, job_store: JobStore) -> dict[str, Any]:
    """What has become of an event."""
    project = event.event.project
    run = None if project is None else job_store.find_for_event(project, event.id)
    failed = run is not None and run.state is JobState.FAILED
    reason = run.result.reason if run and run.result and run.state.is_finished else None
    return {
        "job_status": run.state if run else "recorded",
        "created_at": event.received_at.isoformat(),
        "standing": run.status_message or reason if run else None,
        "error": reason if failed else None,
    }


def _health_json(service: Service, tier: str) -> dict[str, Any]:
    """What is known without waiting for anything."""
    loaded = service.model_holders[tier].loaded_version
    return {
        "status": "UP",
        "model_class": MODEL_CLASS,
        "tier": tier,
        "version": loaded.tier.version if loaded else None,
        "labels": list(loaded.tier.labels) if loaded else [],
    }


def _list_versions(service: Service, tier: str) -> list[str]:
    """The versions of a tier, the serving one first, then the newest."""
    try:
        serving = [service.model_holders[tier].serving_version()]
    except TagalongError:
        serving = []
    known = [manifest.version for manifest in reversed(service.model_registry.manifests(tier))]
    return list(dict.fromkeys([*serving, *known]))
