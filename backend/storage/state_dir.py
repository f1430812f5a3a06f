"""The hidden folder in which a server keeps its state."""

from pathlib import Path


def server_state_dir(models: Path) -> Path:
    """The folder for the state of a server, inside its folder of model versions."""
    return models / ".server"


def event_store_path(models: Path) -> Path:
    """The file of webhook events."""
    return server_state_dir(models) / "journal.sqlite"
