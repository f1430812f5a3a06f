"""A healthy project in a real Label Studio, which tests of the doctor break."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from werkzeug.serving import make_server

from tagalong.backend.demo.label_studio_server import LabelStudioServer
from tagalong.backend.doctor.context import DoctorOptions
from tagalong.backend.label_studio.api.client import LabelStudioClient
from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.backend.server.app import create_app
from tagalong.backend.server.service import Service
from tagalong.backend.server.settings import Settings
from tests.backend.doctor.doctor_runner import Findings, run_doctor
from tests.lexicon_tagger import LexiconTagger

CONFIG = """<View>
  <Labels name="label" toName="text">
    <Label value="Chemical"/><Label value="Disease"/>
  </Labels>
  <Text name="text" value="$text"/>
</View>"""
TEXTS = (  # BC5CDR (public domain)
    "Naloxone reverses the antihypertensive effect of clonidine.",
    "Lithium intoxication was noted in nine cases.",
)


@contextmanager
def serve_lexicon(
    folder: Path, *, lexicon: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[str]:
    """Start a server with a lexicon tagger on a free port; yields its URL."""

    def load(version: Path) -> LexiconTagger:
        return LexiconTagger(version.name, *([lexicon] if lexicon else []))

    app = create_app(Settings(models=folder / "models", **settings), load=load)
    service: Service = app.extensions["tagalong"]
    service.model_pool.find("encoder")._first_load_done.wait(30)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        service.close()


@dataclass(frozen=True)
class DoctorProject:
    """A healthy project."""

    client: LabelStudioClient
    running: LabelStudioServer
    id: int
    url: str
    version: str

    @property
    def backend(self) -> MLBackend:
        return self.client.ml_backends.list_for_project(self.id)[0]

    def run_doctor(self, **more: Any) -> Findings:
        key = more.pop("key", self.running.account.token)
        number = more.pop("number", self.id)
        return run_doctor(DoctorOptions(self.running.url, key, number, **more))

    def call(self, method: Any, path: str, body: Any = None) -> Any:
        return self.client.connection.request_json(method, path, body=body)

    def change_project(self, **changes: Any) -> None:
        self.call("PATCH", f"api/projects/{self.id}/", changes)

    @property
    def webhook(self) -> int:
        (found,) = self.client.webhooks.list_for_project(self.id)
        return found.id


@contextmanager
def create_doctor_project(
    running: LabelStudioServer, url: str, *, connected: bool = True
) -> Iterator[DoctorProject]:
    """Create a project, with a backend and predictions if connected. It is deleted at the end."""
    with running.connect() as client:
        project = client.create_project("Abstracts", CONFIG).id
        client.tasks.add(project, [{"data": {"text": text}} for text in TEXTS])
        version = ""
        if connected:
            version = client.ml_backends.add(project, url, "new").model_version
            client.ml_backends.update(
                client.ml_backends.list_for_project(project)[0], title=version
            )
            client.predictions.retrieve(project)
        try:
            yield DoctorProject(client, running, project, url, version)
        finally:
            client.connection.request_json("DELETE", f"api/projects/{project}/")
