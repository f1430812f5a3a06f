"""The machine learning backends that Label Studio's projects are connected to."""

from collections.abc import Mapping
from typing import Any

from tagalong.backend.label_studio.api.connection import (
    SLOW_READ_TIMEOUT_SECONDS,
    Connection,
    list_parser,
)
from tagalong.backend.label_studio.api.objects import MLBackend


class MLBackends:
    """Reads and changes backends. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_for_project(self, project: int) -> list[MLBackend]:
        """The backends of a project; Label Studio asks each for its health and setup first."""
        return self._connection.get(f"api/ml/?project={project}", list_parser(MLBackend.from_json))

    def add(
        self,
        project: int,
        url: str,
        title: str,
        *,
        login: tuple[str, str] | None = None,
        interactive: bool = True,
        extra_params: Any = None,
    ) -> MLBackend:
        """Connect a backend: Label Studio asks it for its health and setup, and adds a webhook.

        Args:
            project: Its id.
            url: Of the backend, as Label Studio reaches it.
            title: The version it serves, or scores stay empty and sampling random.
            login: User and password, if it asks for them.
            interactive: Whether to ask it while an annotator draws.
            extra_params: Handed to its ``/setup``.

        Returns:
            The backend.
        """
        body = {
            "project": project,
            "url": url,
            "title": title,
            "is_interactive": interactive,
            "extra_params": extra_params,
            **_auth_fields(login),
        }
        return self._connection.send("POST", "api/ml/", body, MLBackend.from_json)

    def update(
        self,
        backend: MLBackend,
        *,
        title: str | None = None,
        login: tuple[str, str] | None = None,
        interactive: bool | None = None,
    ) -> MLBackend:
        """Change a backend; what is None stays as it is.

        Args:
            backend: As it is.
            title: The version it serves; the project follows if it went by the old title.
            login: User and password.
            interactive: Whether to ask it while an annotator draws.

        Returns:
            The backend as it is then.
        """
        # Label Studio checks health and setup with what is sent and nothing else: without the URL
        # it fails, and without the user it asks as nobody. An empty password keeps the old one.
        kept = (backend.username, "") if backend.auth_method == "BASIC_AUTH" else None
        body = {
            "project": backend.project,
            "url": backend.url,
            "title": backend.title if title is None else title,
            "is_interactive": backend.is_interactive if interactive is None else interactive,
            "extra_params": backend.extra_params,
            **_auth_fields(login or kept),
        }
        return self._connection.send("PATCH", f"api/ml/{backend.id}", body, MLBackend.from_json)

    def remove(self, backend: int) -> None:
        """Disconnect a backend by its id; its predictions stay."""
        self._connection.request_json("DELETE", f"api/ml/{backend}")

    def test_prediction(self, backend: int) -> Mapping[str, Any]:
        """Have a backend predict a random task, store nothing.

        Args:
            backend: Its id.

        Returns:
            What was sent (``request``), and what came back (``status``, ``error_message``,
            ``response``).
        """
        path = f"api/ml/{backend}/predict/test?random=true"
        answer = self._connection.request_json(
            "POST", path, timeout_seconds=SLOW_READ_TIMEOUT_SECONDS
        )
        return self._connection.parse_answer(dict, answer, path)


def _auth_fields(login: tuple[str, str] | None) -> dict[str, str]:
    """The fields of a backend that make Label Studio log in to it."""
    if login is None:
        return {"auth_method": "NONE"}
    user, password = login
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
