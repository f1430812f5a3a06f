"""The ML backends of projects."""

from typing import Any

from tagalong.backend.label_studio.api.connection import Resource, list_parser
from tagalong.backend.label_studio.api.objects import MLBackend


class MLBackends(Resource):
    """Reads and changes ML backends."""

    def list_for_project(self, project: int) -> list[MLBackend]:
        """The backends of a project; Label Studio calls health and setup of each one first."""
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
        """Connect a backend: Label Studio calls its health and setup, and adds a webhook.

        Args:
            project: Project id.
            url: Address of the backend, as Label Studio reaches it.
            title: The served version; with another title, scores stay empty and sampling random.
            login: User and password, if the backend asks for them.
            interactive: Whether Label Studio asks for predictions while an annotator draws.
            extra_params: Sent to the backend's ``/setup``.
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
        """Change a backend; None leaves a setting as it is.

        Args:
            backend: The backend before the change.
            title: The served version; a project that named the old title then names the new one.
            login: User and password.
            interactive: Whether Label Studio asks for predictions while an annotator draws.
        """
        # Label Studio checks health and setup with the fields of this request only: it fails
        # without a URL, and sends no login without a user. An empty password keeps the old one.
        old_login = (backend.username, "") if backend.auth_method == "BASIC_AUTH" else None
        body = {
            "project": backend.project,
            "url": backend.url,
            "title": backend.title if title is None else title,
            "is_interactive": backend.is_interactive if interactive is None else interactive,
            "extra_params": backend.extra_params,
            **_auth_fields(login or old_login),
        }
        return self._connection.send("PATCH", f"api/ml/{backend.id}", body, MLBackend.from_json)

    def remove(self, backend: int) -> None:
        """Disconnect a backend by its id; its predictions stay."""
        self._connection.request_json("DELETE", f"api/ml/{backend}")


def _auth_fields(login: tuple[str, str] | None) -> dict[str, str]:
    if login is None:
        return {"auth_method": "NONE"}
    user, password = login
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
