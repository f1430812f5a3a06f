"""Fixtures: a real Label Studio for all tests of a session, and a server.

TAGALONG_LABEL_STUDIO names a ``label-studio`` program to use; without it, one is installed where
``make demo`` installs it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.demo import installation
from tagalong.backend.demo.label_studio_server import LabelStudioServer, start_label_studio
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.model_registry import ModelRegistry
from tests.end_to_end.editor import browser, logged_in
from tests.end_to_end.server_process import ServerProcess, start_server_by_command

HOME = Path(__file__).parents[2] / "tagalong-demo"
# The default blocked addresses, except for requests to backends: a backend is then added without
# its webhook. Predictions are validated.
VALIDATING = {"fflag_feat_utc_210_prediction_validation_15082025": "true"}
STRICT = {
    "ML_BLOCK_LOCAL_IP": "false",
    "USE_DEFAULT_BANNED_SUBNETS": "true",
    "USER_ADDITIONAL_BANNED_SUBNETS": "",
    **VALIDATING,
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def account(chromium: Any, label_studio: LabelStudioServer) -> Iterator[BrowserContext]:
    """A browser profile that is logged in to Label Studio."""
    with logged_in(chromium, label_studio) as account:
        yield account


@contextmanager
def home_of_all_workers() -> Iterator[Path]:
    """The folder that parallel workers share, locked for one of them."""
    HOME.mkdir(exist_ok=True)
    with (HOME / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield HOME


@pytest.fixture(scope="session")
def label_studio_program() -> Path:
    """Label Studio 1.23.2."""
    given = os.environ.get("TAGALONG_LABEL_STUDIO")
    if given:
        return Path(given)
    with home_of_all_workers() as home:
        return installation.install_label_studio(home)


@pytest.fixture(scope="session")
def new_database(label_studio_program: Path) -> Path:
    """The data folder of a Label Studio after its first start, which takes half a minute."""
    with home_of_all_workers() as home:
        kept = home / f"first-start-{installation.LABEL_STUDIO_VERSION}"
        if not kept.exists():
            with TemporaryDirectory(dir=home) as unfinished:
                start_label_studio(label_studio_program, Path(unfinished)).process.stop()
                (Path(unfinished) / "data").rename(kept)
        return kept


@pytest.fixture(scope="session")
def label_studio(
    new_database: Path, label_studio_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabelStudioServer]:
    """A Label Studio that may call and send events to loopback."""
    home = tmp_path_factory.mktemp("label-studio")
    shutil.copytree(new_database, home / "data")
    with start_label_studio(label_studio_program, home) as running:
        yield running


@pytest.fixture(scope="session")
def start_another(
    label_studio: LabelStudioServer,
    label_studio_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Mapping[str, str]], LabelStudioServer]:
    """Start another Label Studio with these environment variables."""

    def start(extra: Mapping[str, str]) -> LabelStudioServer:
        home = tmp_path_factory.mktemp("label-studio")
        # A copy of the first one, so that new projects have other ids in the event store.
        shutil.copytree(label_studio.process.log_path.parent / "data", home / "data")
        return start_label_studio(label_studio_program, home, extra_variables=extra)

    return start


@pytest.fixture(scope="session")
def strict_label_studio(
    start_another: Callable[[Mapping[str, str]], LabelStudioServer],
) -> Iterator[LabelStudioServer]:
    """A Label Studio that is `STRICT`."""
    with start_another(STRICT) as running:
        yield running


@pytest.fixture(scope="session")
def validating_label_studio(
    start_another: Callable[[Mapping[str, str]], LabelStudioServer],
) -> Iterator[LabelStudioServer]:
    """A Label Studio that validates predictions."""
    with start_another(VALIDATING) as running:
        yield running


@pytest.fixture(scope="session")
def bundled_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the bundled version, as a new user starts it."""
    with start_server_by_command(tmp_path_factory.mktemp("ours")) as server:
        yield server


@pytest.fixture(scope="session")
def bundled_tagger() -> DocumentTagger:
    """The bundled version, loaded without a server."""
    return load_tagger(
        ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve("bundled")
    )
