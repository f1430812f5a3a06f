"""Connecting a project of a real Label Studio 1.23.2."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.doctor.connect import ConnectPlan, plan_connection, plan_disconnection
from tagalong.backend.doctor.connect_checks import CONNECT_CHECKS, find_first_problem
from tagalong.backend.doctor.connect_context import ConnectContext, ConnectOptions
from tagalong.backend.server.settings import WEBHOOK_SECRET_HEADER, Credentials
from tests.backend.doctor.editable_project import make_changes
from tests.end_to_end.doctor_project import DoctorProject, create_doctor_project, serve_lexicon

LOGIN, SECRET = ("ann", "pa55word"), "c0ffee"


def change(
    project: DoctorProject, make_plan: Callable[[ConnectContext], ConnectPlan]
) -> tuple[str, ...]:
    """Make the changes of a plan; returns their lines."""
    options = ConnectOptions(
        *(project.running.url, project.running.account.token, project.id),
        server_url=project.url,
        local_server_url=project.url,
        login=LOGIN,
        webhook_secret=SECRET,
    )
    with closing(ConnectContext(options)) as context:
        assert find_first_problem(context, CONNECT_CHECKS) is None
        plan = make_plan(context)
        make_changes(plan)
        return tuple(line for change in plan.changes for line in change.lines)


def assert_connected(project: DoctorProject) -> None:
    (hook,) = project.client.webhooks.list_for_project(project.id)
    assert hook.headers == {WEBHOOK_SECRET_HEADER: SECRET}
    assert (hook.url, hook.sends_payload) == (f"{project.url}/webhook", True)
    settings = project.client.get_project(project.id)
    assert settings.sampling == "Uncertainty sampling"
    assert settings.model_version == project.backend.title == project.backend.model_version
    assert project.backend.is_interactive
    findings = project.run_doctor(login=LOGIN).values()
    assert {finding.status for finding in findings} == {"ok"}
    assert change(project, plan_connection) == ()


def spoil(project: DoctorProject) -> None:
    """Change all settings of a connected project, as people might."""
    row, url = project.backend, project.url.replace("127.0.0.1", "localhost")
    project.client.ml_backends.update(row, url=url, title="Tagalong", interactive=False)
    settings = {
        "url": f"{url}/webhook",
        "send_payload": False,
        "send_for_all_actions": False,
        "is_active": False,
        "actions": ["ANNOTATION_CREATED", "TASKS_CREATED"],
        "headers": {WEBHOOK_SECRET_HEADER: "old"},
    }
    project.call("PATCH", f"api/webhooks/{project.webhook}/", settings)
    project.change_project(show_collab_predictions=False, sampling="Sequential sampling")


def test_connected_mended_and_disconnected(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    server = serve_lexicon(tmp_path, credentials=Credentials(*LOGIN), webhook_secret=SECRET)
    with (
        server as url,
        create_doctor_project(label_studio, url, connected=False) as project,
    ):
        assert len(change(project, plan_connection)) == 4
        assert_connected(project)
        project.client.predictions.retrieve(project.id)
        spoil(project)
        assert len(change(project, plan_connection)) == 11
        assert_connected(project)
        (hook,) = project.client.webhooks.list_for_project(project.id)
        assert "TASKS_CREATED" in hook.actions
        assert len(change(project, plan_disconnection)) == 3
        assert change(project, plan_disconnection) == ()
        assert project.client.ml_backends.list_for_project(project.id) == []
        assert project.client.webhooks.list_for_project(project.id) == []
        assert project.client.get_project(project.id).prediction_count == 2
