"""Holds the tagger of a model, and replaces it while requests run."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.monitoring.snapshot import LoadFailure, ModelState
from tagalong.backend.server.monitoring.telemetry import Telemetry, truncate_text
from tagalong.backend.server.prediction.scheduler import RequestScheduler
from tagalong.ner.current_version import (
    CURRENT_FILE_NAME,
    read_current_backup,
    read_current_version,
)
from tagalong.ner.errors import TagalongError, VersionInvalid, VersionNotFound, describe_fault
from tagalong.ner.manifest import Manifest, check_sizes, is_version, read_manifest
from tagalong.ner.model_registry import ModelRegistry

POLL_SECONDS = 1.0  # delay until a promotion takes effect; a poll stats a dozen files
LOAD_JOIN_TIMEOUT_SECONDS = 5.0  # for a load in progress when the server stops
LOAD_RETRY_SECONDS = 60.0  # before a version that did not load is tried again
MAX_REASON_CHARACTERS = 600  # of a failure; torch lists every weight that does not fit

log = logging.getLogger(__name__)


class ModelHolder:
    """The served version of a model.

    It is not loaded before `start`. `load` turns a version folder into a tagger; `find_upgrade` is
    called at each poll for a faster tagger of the served version.
    """

    def __init__(
        self,
        name: str,
        model_registry: ModelRegistry,
        *,
        tier: str | None = None,
        scheduler: RequestScheduler | None = None,
        telemetry: Telemetry,
        load: Callable[[Path], DocumentTagger] = load_tagger,
        find_upgrade: Callable[[Path, DocumentTagger], DocumentTagger | None] = lambda _, __: None,
    ) -> None:
        self.name, self.tier = name, tier or name  # a default model has the name of its tier
        self.tagger: DocumentTagger | None = None  # the served version
        self.state = ModelState(name, self.tier)  # replaced, never changed: other threads read it
        self._owns_scheduler = scheduler is None
        self.scheduler = scheduler or RequestScheduler(
            f"{self.tier}-forward", on_decoded=partial(telemetry.on_decoded, self.tier)
        )
        self._model_registry, self._telemetry = model_registry, telemetry
        self._load, self._find_upgrade = load, find_upgrade
        self._retry_at: dict[str, float] = {}  # monotonic seconds, by version
        self._first_load_done = threading.Event()  # set after the first attempt, failed or not
        self._stopping, self._is_unloaded = threading.Event(), False
        self._poll_thread = threading.Thread(
            target=self._poll_loop, name=f"{name}-watch", daemon=True
        )

    @property
    def is_started(self) -> bool:
        """Whether the model is loaded, or is to be loaded."""
        return self._poll_thread.ident is not None

    def start(self) -> None:
        """Load the current version, and watch for promotions."""
        self._poll_thread.start()

    def unload(self) -> None:
        """Forget the served version, and stop watching. Requests that have the tagger go on."""
        self._is_unloaded = True
        self._stopping.set()
        self.tagger = None

    def close(self) -> None:
        """Stop watching. Waits for a load in progress; requests in work are finished."""
        self._stopping.set()
        if self._poll_thread.is_alive():
            self._poll_thread.join(LOAD_JOIN_TIMEOUT_SECONDS)
        if self._owns_scheduler:
            self.scheduler.close()

    def serving_version(self) -> str:
        """Name of the served version, or else of the one being loaded. Reads no weights."""
        if (tagger := self.tagger) is not None:
            return tagger.version
        if not self._first_load_done.is_set() and (candidates := self._candidate_folders()[0]):
            return candidates[0].name
        raise self._unavailable_error()

    def find_manifest(self) -> Manifest | None:
        """The manifest of the served version, or else of the one that a request would load."""
        if self.state.manifest is not None or self.is_started:
            return self.state.manifest
        with suppress(TagalongError):
            return read_manifest(self._candidate_folders()[0][0], verify=False)
        return None

    def find_labels(self) -> list[str]:
        """The labels of the served version, or else of the one that a request would load."""
        if (tagger := self.tagger) is not None:
            return list(tagger.labels)
        manifest = self.find_manifest()
        return list(manifest.labels) if manifest else []

    def wait_for_tagger(self, *, timeout_seconds: float) -> DocumentTagger:
        """Return the served version; it keeps working after another one replaces it.

        The time limit is for the very first load. Raises `TagalongError` if there is no version,
        none that loads, or loading takes longer.
        """
        self._first_load_done.wait(timeout_seconds)
        if (tagger := self.tagger) is not None:
            return tagger
        raise self._unavailable_error()

    def refresh(self) -> None:
        """Load the current version, unless it is served or has just failed to load."""
        try:
            candidates, damage = self._candidate_folders()
        except VersionNotFound:
            return  # nothing is published yet; that is no failure
        except TagalongError as error:
            self._record_failure(CURRENT_FILE_NAME, str(error))
            return
        names = {folder.name for folder in candidates}
        if damage:
            self._record_failure(CURRENT_FILE_NAME, damage)
            names.add(CURRENT_FILE_NAME)
        self._clear_failures({one.version for one in self.state.load_failures} - names)
        if damage and self.tagger is not None:  # a served version is better than a guess
            candidates = [folder for folder in candidates if self._is_serving(folder)]
        elif not candidates and self.tagger is not None:
            self.tagger = None
            self._set_state(
                ModelState(self.name, self.tier, load_failures=self.state.load_failures)
            )
            log.info("%s: no version is current any more", self.name)
        for folder in candidates:
            if self._is_serving(folder):
                break
            if self._try_load(folder):
                return
            if self.tagger is not None:
                break  # any served version is better than one before it
        for folder in candidates:  # the served version may be a fallback for a damaged one
            if self.tagger is not None and self._is_serving(folder):
                self._check_serving_files(folder)
                self._apply_upgrade(folder, self.tagger)

    def _is_serving(self, folder: Path) -> bool:
        manifest = self.state.manifest
        return manifest is not None and manifest.version == folder.name

    def _set_state(self, state: ModelState) -> None:
        if self._is_unloaded:
            return
        self.state = state
        self._telemetry.record_model_state(state)

    def _failures_except(self, versions: Collection[str]) -> tuple[LoadFailure, ...]:
        return tuple(one for one in self.state.load_failures if one.version not in versions)

    def _clear_failures(self, versions: Collection[str]) -> None:
        """Forget failures: the versions are repaired, or no longer current."""
        for version in versions:
            self._retry_at.pop(version, None)
        if (kept := self._failures_except(versions)) != self.state.load_failures:
            self._set_state(replace(self.state, load_failures=kept))

    def _check_serving_files(self, folder: Path) -> None:
        """Report damage of the served version: it would not load after a restart."""
        try:
            check_sizes(folder)
        except TagalongError as error:
            self._record_failure(folder.name, str(error))
        else:
            self._clear_failures({folder.name})

    def _apply_upgrade(self, folder: Path, served: DocumentTagger) -> None:
        try:
            tagger = self._find_upgrade(folder, served)
        except (TagalongError, OSError) as error:
            log.warning("%s: %s is served as before: %s", self.name, folder.name, error)
            return
        if tagger is not None:
            self._serve(tagger, self.state)

    def _serve(self, tagger: DocumentTagger, state: ModelState) -> None:
        if self._is_unloaded:  # while the next version was loaded
            return
        self.tagger = tagger
        self._set_state(replace(state, runtime=tagger.runtime_name))
        log.info("%s: version %s runs on %s", self.name, tagger.version, tagger.runtime_name)

    def _candidate_folders(self) -> tuple[list[Path], str]:
        """Folders of the current version and, as fallbacks, of those that were current before.

        Empty after a rollback of the first promotion, if the model has no bundled version. Also
        returns why the file ``current`` cannot be read, else an empty string. Then its copy counts,
        or without one all versions, the newest first.
        """
        registry, names, damage = self._model_registry, tuple[str | None, ...](), ""
        home = registry.model_folder(self.name)
        try:
            if (current := read_current_version(home)) is None:
                return [registry.resolve(self.name)], ""
            names = current.newest_first()
        except VersionInvalid as error:
            damage = str(error)
        if damage or not is_version(home / str(names[0])):
            if (backup := read_current_backup(home)) is not None:
                names += backup.newest_first()
            elif damage:
                names = tuple(one.version for one in reversed(registry.manifests(self.name)))
        bundled = registry.bundled_version(self.name)
        folders: dict[str, Path] = {}
        for name in (*names, None):  # None: the bundled one
            if name is not None:
                folders.setdefault(name, home / name)
            elif bundled is not None:
                folders.setdefault(bundled, registry.bundled_version_folder(self.name))
        return list(folders.values()), damage

    def _try_load(self, folder: Path) -> bool:
        """Load a version and serve it; returns whether that worked."""
        if time.monotonic() < self._retry_at.get(folder.name, 0.0):
            return False
        self._set_state(replace(self.state, loading_version=folder.name))
        start = time.monotonic()
        try:
            manifest = read_manifest(folder, verify=False)  # the loader verifies the files
            tagger = self._load(folder)
            tagger.warm_up()  # an LLM measures its throughput, for the estimates of requests
        except TagalongError as error:
            self._record_failure(folder.name, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - from a library: keep serving the old version
            reason = f"it did not load ({type(error).__name__}: {error})"
            self._record_failure(folder.name, reason, logged_reason=describe_fault(error))
            return False
        self._retry_at.pop(folder.name, None)
        was_serving = self.tagger is not None
        state = ModelState(
            self.name,
            self.tier,
            manifest,
            serving_since=datetime.now(UTC),
            load_seconds=time.monotonic() - start,
            load_failures=self._failures_except({folder.name}),
        )
        self._serve(tagger, state)
        # Libraries and versions stay: collections that visit them hold up all threads for long.
        collect_garbage(everything=was_serving)
        return True

    def _record_failure(
        self, version: str, reason: str, *, logged_reason: str | None = None
    ) -> None:
        """Remember why a version does not load; report each reason once."""
        self._retry_at[version] = time.monotonic() + LOAD_RETRY_SECONDS
        failure = LoadFailure(
            version, truncate_text(reason, MAX_REASON_CHARACTERS), datetime.now(UTC)
        )
        failures = self.state.load_failures
        if all((one.version, one.reason) != (version, failure.reason) for one in failures):
            failures = (failure, *self._failures_except({version}))
            log.warning("%s: %s does not load: %s", self.name, version, logged_reason or reason)
        self._set_state(replace(self.state, loading_version=None, load_failures=failures))

    def _unavailable_error(self) -> TagalongError:
        if not self._first_load_done.is_set():
            message = f"model {self.name!r} is still loading: try again soon"
            return VersionNotFound(message, code="model-loading")
        if self.state.load_failures:
            reason = self.state.load_failures[0].reason
            message = f"no version of model {self.name!r} can be loaded: {reason}"
            return VersionNotFound(message, code="no-loadable-version")
        try:
            self._model_registry.resolve(self.name)
        except TagalongError as error:
            return error
        message = f"model {self.name!r} is about to load: try again soon"
        return VersionNotFound(message, code="model-loading")

    def _poll_loop(self) -> None:
        # Each refresh runs in a new thread. A thread that loaded a model keeps its OpenMP threads,
        # and more of those than cores make every forward pass a fifth slower.
        while not self._stopping.is_set():
            refresh = threading.Thread(target=self.refresh, name=f"{self.name}-load", daemon=True)
            refresh.start()
            refresh.join()
            self._first_load_done.set()
            self._stopping.wait(POLL_SECONDS)


def collect_garbage(*, everything: bool) -> None:
    """Free what is no longer used, and leave out of later collections what is.

    Libraries and loaded versions stay: collections that visit them hold up all threads for long.
    With `everything`, a tagger that was replaced or unloaded is freed too.
    """
    if everything or not gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    else:
        gc.collect(1)  # what loading a version left
    gc.freeze()
