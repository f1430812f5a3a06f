"""The webhooks of Label Studio's projects."""

from tagalong.backend.label_studio.api.connection import Connection, list_parser
from tagalong.backend.label_studio.api.objects import Webhook


class Webhooks:
    """Reads and changes webhooks. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_for_project(self, project: int) -> list[Webhook]:
        """The webhooks of a project, without those of the whole organisation."""
        return self._connection.get(
            f"api/webhooks/?project={project}", list_parser(Webhook.from_json)
        )

    def remove(self, webhook: int) -> None:
        """Remove a webhook by its id."""
        self._connection.request_json("DELETE", f"api/webhooks/{webhook}/")
