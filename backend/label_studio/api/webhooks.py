"""The webhooks of projects."""

from tagalong.backend.label_studio.api.connection import Resource, list_parser
from tagalong.backend.label_studio.api.objects import Webhook


class Webhooks(Resource):
    """Reads and removes webhooks."""

    def list_for_project(self, project: int) -> list[Webhook]:
        """The webhooks of a project, without those of the whole organisation."""
        path = f"api/webhooks/?project={project}"
        return self._connection.get(path, list_parser(Webhook.from_json))

    def remove(self, webhook: int) -> None:
        """Remove a webhook by its id."""
        self._connection.request_json("DELETE", f"api/webhooks/{webhook}/")
