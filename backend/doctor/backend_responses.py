"""Whether the backend itself answers as Label Studio needs it, and soon enough."""

from typing import Any

from tagalong.backend.doctor.backend_client import BackendResponse, NoResponseError
from tagalong.backend.doctor.context import HEALTH_TIMEOUT_SECONDS, DoctorContext
from tagalong.backend.doctor.finding import CheckResult, ok, pluralize, problem, skipped, warning

HEALTH_LIMIT_SECONDS, SETUP_LIMIT_SECONDS = 1.0, 3.0  # seconds that Label Studio waits
PREDICT_LIMIT_SECONDS = (
    100.0  # seconds that Label Studio waits, for all tasks of a request together
)
SLOW_PREDICTION_SECONDS = 10.0  # seconds that an annotator does not like to wait for a task
WARNING_SHARE = 0.5  # of a limit that is spent: near enough to say so
HEALTH_SAMPLES = 3  # health is asked so often, since Label Studio asks it before every prediction
LOGIN_REMEDY = (
    "Give them to the doctor in TAGALONG_USERNAME and TAGALONG_PASSWORD, to have this looked into "
    "too."
)
START_REMEDY = (
    "Start the backend (tagalong serve), or give the address that it has from here with --backend."
)


def check_reachable(case: DoctorContext) -> CheckResult:
    """Whether the backend answers from here."""
    url = case.local_backend_url
    if url is None:
        return skipped(
            "There is no backend that could be called.",
            "Give the address that it has from here with --backend.",
        )
    health = case.health_response
    if isinstance(health, NoResponseError):
        sentence = f"{url} {health}."
        if case.backend is not None and case.backend.is_connected:
            return skipped(
                f"{sentence[:-1]} from here, though Label Studio reaches it.",
                "Give the address that it has from here with --backend, to have its answers "
                "looked into.",
            )
        return problem(sentence, START_REMEDY)
    if health.is_success or health.status == 401:
        name = "A Tagalong server" if case.is_tagalong else "A backend"
        return ok(f"{name} answers at {url}.")
    return problem(
        f"{url}/health answers HTTP {health.status}"
        + ("." if health.status >= 400 else ", and no JSON: that is not an ML backend."),
        "Give the address of an ML backend, without /health, and with the path that it has, such "
        "as /encoder.",
    )


def check_auth(case: DoctorContext) -> CheckResult:
    """Whether Label Studio has the user and password that the backend asks for."""
    if not case.requires_login:
        return ok("The backend asks for no user and password.")
    backend = case.backend
    if backend is None:
        return ok("The backend asks for a user and password: give them on connecting it.")
    where = "under Settings, Model, Edit: the server's TAGALONG_USERNAME and TAGALONG_PASSWORD."
    if backend.auth_method == "NONE":
        return problem(
            "The backend asks for a user and password, and Label Studio sends none.",
            f"Choose Basic Auth and give both {where}",
        )
    if not backend.is_connected and "401" in case.connection_error:
        return problem(
            "The backend does not accept the user and password that Label Studio sends.",
            f"Give them again {where}",
        )
    return ok("The backend asks for a user and password, and Label Studio sends some.")


def check_setup(case: DoctorContext) -> CheckResult:
    """Whether the backend takes the project, and names its version."""
    setup = case.setup_response
    if isinstance(setup, NoResponseError):
        return problem(
            f"The backend answers, but its setup {setup}.",
            "Look at the backend's log: a setup must not load a model.",
        )
    if setup.status == 401:
        given = case.options.login is not None
        return skipped(
            "The backend does not accept the user and password that were given to the doctor."
            if given
            else "The backend asks the doctor for a user and password too.",
            LOGIN_REMEDY,
        )
    if not setup.is_success:
        return problem(
            f"The backend refuses the project{_format_reason(setup)}.", "Do what the backend says."
        )
    if not setup.get("model_version"):
        return problem(
            "The backend's setup names no model_version, so Label Studio cannot tell its "
            "predictions from others.",
            "Promote a version (tagalong models promote), or mend the backend's setup.",
        )
    return ok(f"The backend takes the project, and serves version {case.served_version!r}.")


def _format_reason(reply: BackendResponse) -> str:
    """What a backend gives as its reason, ready to follow a sentence."""
    reason: Any = reply.get("error") or reply.get("detail")
    reason = reason if isinstance(reason, str) else ""
    return f" (HTTP {reply.status})" + (f": {reason.rstrip('.')}" if reason else "")


def check_predict(case: DoctorContext) -> CheckResult:
    """Whether one task gets one prediction, of the version that the setup named."""
    if not case.tasks:
        return skipped("There is no task to predict.")
    reply = case.predict_response
    if isinstance(reply, NoResponseError):
        return problem(f"A prediction for one task {reply}.", "Look at the backend's log.")
    if not reply.is_success:
        return problem(
            f"The backend gives no prediction{_format_reason(reply)}.",
            "Do what the backend says, or look at its log: Label Studio would store nothing, and "
            "say that all went well.",
        )
    results = reply.get("results")
    if not isinstance(results, list) or len(results) != 1:
        count = len(results) if isinstance(results, list) else "no"
        return problem(
            f"For one task the backend gives {count} results, so Label Studio stores nothing.",
            "Mend the backend: one result per task, in order, empty ones included.",
        )
    result = results[0] if isinstance(results[0], dict) else {}
    if result.get("model_version", case.served_version) != case.served_version:
        return problem(
            f"The backend's prediction is of version {result['model_version']!r}, its setup says "
            f"{case.served_version!r}, so Label Studio predicts every task again and again.",
            "Mend the backend: the same model_version in both.",
        )
    regions = result.get("result")
    count = len(regions) if isinstance(regions, list) else 0
    return ok(f"Task {case.tasks[0]['id']} gets a prediction with {pluralize(count, 'region')}.")


def check_latency(case: DoctorContext) -> CheckResult:
    """Whether health, setup and a prediction take no longer than Label Studio waits."""
    took = {"health": (_measure_health_seconds(case), HEALTH_LIMIT_SECONDS)}
    if isinstance(case.setup_response, BackendResponse) and case.setup_response.status != 401:
        took["setup"] = (case.setup_response.elapsed_seconds, SETUP_LIMIT_SECONDS)
    slow = [name for name, (seconds, limit) in took.items() if seconds >= limit]
    near = [name for name, (seconds, limit) in took.items() if seconds >= limit * WARNING_SHARE]
    times = ", ".join(f"{name} {seconds:.2f} s" for name, (seconds, _) in took.items())
    if slow:
        name = slow[0]
        return problem(
            f"The backend's {name} takes {took[name][0]:.1f} s, and Label Studio waits "
            f"{took[name][1]:g} s: it then holds the backend for disconnected.",
            "Give the backend more threads or less to do: it must answer while it loads a model "
            "and while it predicts.",
        )
    one = _read_prediction_seconds(case)
    if one is not None:
        times += f", one prediction {one:.2f} s"
    if near or (one is not None and one > SLOW_PREDICTION_SECONDS):
        return warning(
            f"The backend answers slowly: {times}.",
            "Give it a faster machine or less to do, before it is too slow for Label Studio.",
        )
    if one is not None and one * case.project.task_count > PREDICT_LIMIT_SECONDS:
        fit = max(1, int(PREDICT_LIMIT_SECONDS * WARNING_SHARE / one))
        return ok(
            f"{times[:1].upper()}{times[1:]}. Label Studio waits {PREDICT_LIMIT_SECONDS:g} s for all tasks "
            f"that are selected together: retrieve predictions for at most {fit} at once."
        )
    return ok(f"{times[:1].upper()}{times[1:]}.")


def _measure_health_seconds(case: DoctorContext) -> float:
    """Seconds; of a health check that never came, those that were waited."""
    replies = [
        case.health_response,
        *(
            case.call("health", timeout_seconds=HEALTH_TIMEOUT_SECONDS)
            for _ in range(HEALTH_SAMPLES - 1)
        ),
    ]
    return max(
        reply.elapsed_seconds if isinstance(reply, BackendResponse) else HEALTH_TIMEOUT_SECONDS
        for reply in replies
    )


def _read_prediction_seconds(case: DoctorContext) -> float | None:
    """Seconds for the prediction of one task; None where there is none."""
    if (
        isinstance(case.setup_response, NoResponseError)
        or not case.setup_response.is_success
        or not case.tasks
    ):
        return None
    reply = case.predict_response
    return (
        reply.elapsed_seconds if isinstance(reply, BackendResponse) and reply.is_success else None
    )
