"""Holds the loaded version of a tier, and replaces it while requests run."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tagalong.backend.models.load import load_tier
from tagalong.backend.models.tier import Tier
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.scheduler import RequestScheduler
from tagalong.ner.current_version import read_current_version
from tagalong.ner.errors import TagalongError, VersionNotFound
from tagalong.ner.manifest import Manifest, check_sizes, read_manifest
from tagalong.ner.model_registry import ModelRegistry

POLL_SECONDS = 1.0  # delay until a promotion takes effect; a poll stats a dozen files
LOAD_JOIN_TIMEOUT_SECONDS = 5.0  # for a load in progress when the server stops
LOAD_RETRY_SECONDS = 60.0  # before a version that did not load is tried again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """The served version.

    Attributes:
        tier: Ready to predict.
        manifest: Of the version.
        serving_since: In UTC.
    """

    tier: Tier
    manifest: Manifest
    serving_since: datetime


@dataclass(frozen=True, slots=True)
class FailedVersion:
    """A version that did not load, and why; `failed_at` is in monotonic seconds."""

    version: str
    reason: str
    failed_at: float


class ModelHolder:
    """The served version of a tier.

    Args:
        name: Of the tier.
        model_registry: Holds its versions.
        telemetry: Records loads and failures.
        load: Turns a version folder into a tier.
        find_upgrade: Called at each poll for a faster tier of the served version.

    Attributes:
        scheduler: Runs the served version for all requests.
    """

    def __init__(
        self,
        name: str,
        model_registry: ModelRegistry,
        *,
        telemetry: Telemetry,
        load: Callable[[Path], Tier] = load_tier,
        find_upgrade: Callable[[Path, Tier], Tier | None] = lambda _, __: None,
    ) -> None:
        self.name = name
        self.scheduler = RequestScheduler(
            f"{name}-forward", on_decoded=partial(telemetry.on_decoded, name)
        )
        self._model_registry, self._telemetry = model_registry, telemetry
        self._load, self._find_upgrade = load, find_upgrade
        self._loaded_version: LoadedVersion | None = None
        self._failures: dict[str, FailedVersion] = {}  # replaced, never changed: others read it
        self._first_load_done = threading.Event()  # set after the first attempt, failed or not
        self._stopping = threading.Event()
        self._poll_thread = threading.Thread(
            target=self._poll_loop, name=f"{name}-watch", daemon=True
        )

    def start(self) -> None:
        """Load the current version, and watch for promotions."""
        self._poll_thread.start()

    def close(self) -> None:
        """Stop watching. Waits for a load in progress; requests in work are finished."""
        self._stopping.set()
        if self._poll_thread.is_alive():
            self._poll_thread.join(LOAD_JOIN_TIMEOUT_SECONDS)
        self.scheduler.close()

    @property
    def loaded_version(self) -> LoadedVersion | None:
        """The served version."""
        return self._loaded_version

    @property
    def last_failure(self) -> FailedVersion | None:
        """The latest version that did not load."""
        return next(reversed(self._failures.values()), None)

    def serving_version(self) -> str:
        """Name of the served version, or else of the one being loaded. Reads no weights.

        Raises:
            TagalongError: If there is no version, or none that loads.
        """
        if (loaded := self._loaded_version) is not None:
            return loaded.tier.version
        if not self._first_load_done.is_set() and (candidates := self._candidate_folders()):
            return candidates[0].name
        raise self._unavailable_error()

    def wait_for_tier(self, *, timeout_seconds: float) -> Tier:
        """Return the served version; it keeps working after another one replaces it.

        Args:
            timeout_seconds: For the very first load.

        Raises:
            TagalongError: If there is no version, none that loads, or loading takes longer.
        """
        self._first_load_done.wait(timeout_seconds)
        if (loaded := self._loaded_version) is not None:
            return loaded.tier
        raise self._unavailable_error()

    def refresh(self) -> None:
        """Load the current version, unless it is served or has just failed to load."""
        try:
            candidates = self._candidate_folders()
        except VersionNotFound:
            return  # nothing is published yet; that is no failure
        except TagalongError as error:
            self._record_failure("current", str(error))
            return
        for version in self._failures.keys() - {folder.name for folder in candidates}:
            self._clear_failure(version)
        if not candidates and self._loaded_version is not None:
            self._loaded_version = None
            self._telemetry.on_unloaded(self.name)
            log.info("%s: no version is current any more", self.name)
        for folder in candidates:
            if self._is_serving(folder):
                break
            if self._try_load(folder):
                return
            if self._loaded_version is not None:
                break
        for folder in candidates:  # the served version may be a fallback for a damaged one
            if self._loaded_version is not None and self._is_serving(folder):
                self._check_serving_files(folder)
                self._apply_upgrade(folder, self._loaded_version)

    def _is_serving(self, folder: Path) -> bool:
        """Whether the version in a folder is the served one."""
        loaded = self._loaded_version
        return loaded is not None and loaded.manifest.version == folder.name

    def _clear_failure(self, version: str) -> None:
        if version in self._failures:
            self._failures = self._failures_except(version)
            self._telemetry.on_load_failure_cleared(self.name, version)

    def _failures_except(self, version: str) -> dict[str, FailedVersion]:
        """A copy without a version."""
        return {name: one for name, one in self._failures.items() if name != version}

    def _check_serving_files(self, folder: Path) -> None:
        """Report damage of the served version: it would not load after a restart."""
        try:
            check_sizes(folder)
        except TagalongError as error:
            self._record_failure(folder.name, str(error))
        else:
            self._clear_failure(folder.name)

    def _apply_upgrade(self, folder: Path, loaded: LoadedVersion) -> None:
        """Replace the served tier by a faster one of the same version, if there is one."""
        try:
            tier = self._find_upgrade(folder, loaded.tier)
        except (TagalongError, OSError) as error:
            log.warning("%s: %s is served as before: %s", self.name, folder.name, error)
            return
        if tier is not None:
            self._loaded_version = replace(loaded, tier=tier)
            self._report_runtime(tier)

    def _report_runtime(self, tier: Tier) -> None:
        self._telemetry.on_runtime_changed(self.name, tier.runtime_name)
        log.info("%s: runs on %s", self.name, tier.runtime_name)

    def _candidate_folders(self) -> list[Path]:
        """Folders of the current version and, as fallbacks, of those that were current before.

        Empty after a rollback of the first promotion, if the tier has no bundled version.
        """
        home = self._model_registry.tier_folder(self.name)
        current = read_current_version(home)
        if current is None:
            return [self._model_registry.resolve(self.name)]
        bundled = self._model_registry.bundled_version(self.name)
        names = (current.version, *reversed(current.previous), None)  # None: the bundled version
        folders: dict[str, Path] = {}
        for name in names:
            if name is not None:
                folders.setdefault(name, home / name)
            elif bundled is not None:
                folders.setdefault(bundled, self._model_registry.bundled_version_folder(self.name))
        return list(folders.values())

    def _try_load(self, folder: Path) -> bool:
        """Load a version and serve it; returns whether that worked."""
        earlier = self._failures.get(folder.name)
        if earlier is not None and time.monotonic() < earlier.failed_at + LOAD_RETRY_SECONDS:
            return False
        self._telemetry.on_load_started(self.name, folder.name)
        start = time.monotonic()
        try:
            manifest = read_manifest(folder, verify=False)
            tier = self._load(folder)
        except TagalongError as error:
            self._record_failure(folder.name, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - from a library: keep serving the old version
            self._record_failure(folder.name, f"it did not load ({type(error).__name__}: {error})")
            return False
        self._loaded_version = LoadedVersion(tier, manifest, datetime.now(UTC))
        self._failures = self._failures_except(folder.name)
        self._telemetry.on_loaded(self.name, manifest, seconds=time.monotonic() - start)
        log.info("%s: version %s is served", self.name, manifest.version)
        self._report_runtime(tier)
        return True

    def _record_failure(self, version: str, reason: str) -> None:
        """Remember why a version does not load; report each reason once."""
        earlier = self._failures.get(version)
        failure = FailedVersion(version, reason, time.monotonic())
        self._failures = self._failures_except(version) | {version: failure}
        if earlier is not None and earlier.reason == reason:
            return
        self._telemetry.on_load_failed(self.name, version, reason)
        log.warning("%s: version %s does not load: %s", self.name, version, reason)

    def _unavailable_error(self) -> TagalongError:
        """Why no version is served."""
        if not self._first_load_done.is_set():
            return VersionNotFound(
                f"the {self.name} tier is still loading: try again soon", code="tier-loading"
            )
        if (failure := self.last_failure) is not None:
            return VersionNotFound(
                f"no version of tier {self.name!r} can be loaded: {failure.reason}",
                code="no-loadable-version",
            )
        try:
            self._model_registry.resolve(self.name)
        except TagalongError as error:
            return error
        return VersionNotFound(
            f"the {self.name} tier is about to load: try again soon", code="tier-loading"
        )

    def _poll_loop(self) -> None:
        # Each refresh runs in a new thread. A thread that loaded a model keeps its OpenMP threads,
        # and more of those than cores make every forward pass a fifth slower.
        while not self._stopping.is_set():
            refresh = threading.Thread(target=self.refresh, name=f"{self.name}-load", daemon=True)
            refresh.start()
            refresh.join()
            self._first_load_done.set()
            self._stopping.wait(POLL_SECONDS)
