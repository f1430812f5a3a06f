"""The webhooks of Label Studio's projects."""

from backend.remote.connection import Connection, list_of
from backend.remote.objects import Webhook


class Webhooks:
    """Reads and changes webhooks. Every method raises LabelStudioError where it is told no.

    Args:
        connection: To the Label Studio.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, project: int) -> list[Webhook]:
        """The webhooks of a project, without those of the whole organisation."""
        return self._connection.read(f"api/webhooks/?project={project}", list_of(Webhook.from_json))

    def remove(self, webhook: int) -> None:
        """Remove a webhook by its id."""
        self._connection.call("DELETE", f"api/webhooks/{webhook}/")
