"""The one loaded version of a tier, replaced under way when another one is promoted."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from tagalong.backend.models.load import load_tier
from tagalong.backend.models.tier import Tier
from tagalong.backend.models.tier.decoding_stats import DecodingStats
from tagalong.backend.server.prediction.scheduler import RequestScheduler
from tagalong.ner.current_version import read_current_version
from tagalong.ner.errors import TagalongError, VersionNotFound
from tagalong.ner.manifest import Manifest, check_sizes, read_manifest
from tagalong.ner.model_registry import ModelRegistry

POLL_SECONDS = 1.0  # how soon a promotion is noticed; costs the heads of a dozen files
LOAD_JOIN_TIMEOUT_SECONDS = 5.0  # seconds that a load may take to end when the server does
LOAD_RETRY_SECONDS = 60.0  # before a version that did not load is tried again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that serves.

    Attributes:
        tier: Ready to predict.
        manifest: Of the version.
        serving_since: When it began to serve.
    """

    tier: Tier
    manifest: Manifest
    serving_since: datetime


@dataclass(frozen=True, slots=True)
class FailedVersion:
    """A version that did not load.

    Attributes:
        version: Its name.
        reason: One sentence.
        failed_at: Monotonic seconds.
    """

    version: str
    reason: str
    failed_at: float


class ModelObserver(Protocol):
    """Who is told what becomes of versions."""

    def on_load_started(self, tier: str, version: str) -> None:
        """A version is being loaded; one of the next two follows."""

    def on_loaded(self, tier: str, manifest: Manifest, *, seconds: float) -> None:
        """A version serves from now on."""

    def on_runtime_changed(self, tier: str, name: str) -> None:
        """What runs the version that serves, in words."""

    def on_load_failed(self, tier: str, version: str, reason: str) -> None:
        """A version did not load, or would not again; what served before still does."""

    def on_load_failure_cleared(self, tier: str, version: str) -> None:
        """A version that did not load is not wanted any more, or is whole again."""

    def on_unloaded(self, tier: str) -> None:
        """The tier has no current version any more, and the loaded one was dropped."""

    def on_decoded(self, tier: str, cost: DecodingStats) -> None:
        """Some documents were decoded."""


class ModelHolder:
    """What serves for a tier.

    Args:
        name: Of the tier.
        model_registry: Where its versions are.
        observer: Told what becomes of versions.
        load: Makes a version's folder a tier.
        find_upgrade: Asked again and again whether the version that serves could do so in a better way.

    Attributes:
        scheduler: Runs the tier that serves for whoever asks, in order.
    """

    def __init__(
        self,
        name: str,
        model_registry: ModelRegistry,
        *,
        observer: ModelObserver,
        load: Callable[[Path], Tier] = load_tier,
        find_upgrade: Callable[[Path, Tier], Tier | None] = lambda _, __: None,
    ) -> None:
        self.name = name
        self.scheduler = RequestScheduler(
            f"{name}-forward", on_decoded=partial(observer.on_decoded, name)
        )
        self._model_registry, self._observer = model_registry, observer
        self._load, self._find_upgrade = load, find_upgrade
        self._loaded_version: LoadedVersion | None = None
        self._failures: dict[str, FailedVersion] = {}
        self._first_load_done = threading.Event()  # the first attempt to load is over
        self._stopping = threading.Event()
        self._poll_thread = threading.Thread(
            target=self._poll_loop, name=f"{name}-watch", daemon=True
        )

    def start(self) -> None:
        """Load what is current, and watch for what will be."""
        self._poll_thread.start()

    def close(self) -> None:
        """Stop watching; what is being loaded is waited for, predictions in work are finished."""
        self._stopping.set()
        if self._poll_thread.is_alive():
            self._poll_thread.join(LOAD_JOIN_TIMEOUT_SECONDS)
        self.scheduler.close()

    @property
    def loaded_version(self) -> LoadedVersion | None:
        """What serves now."""
        return self._loaded_version

    @property
    def last_failure(self) -> FailedVersion | None:
        """Why the version that should serve does not."""
        return next(reversed(self._failures.values()), None)

    def serving_version(self) -> str:
        """Name the version that predictions will carry. Reads small files, never weights.

        Returns:
            The one that serves, else the one that is being loaded.

        Raises:
            TagalongError: If there is none, or none that loads.
        """
        if (loaded := self._loaded_version) is not None:
            return loaded.tier.version
        if not self._first_load_done.is_set() and (wanted := self._candidate_folders()):
            return wanted[0].name
        raise self._unavailable_error()

    def wait_for_tier(self, *, timeout_seconds: float) -> Tier:
        """The tier that serves.

        Args:
            timeout_seconds: Seconds to wait for the very first one.

        Returns:
            A tier; it goes on working after another version took its place.

        Raises:
            TagalongError: If there is none, or none that loads, or it takes longer.
        """
        self._first_load_done.wait(timeout_seconds)
        if (loaded := self._loaded_version) is not None:
            return loaded.tier
        raise self._unavailable_error()

    def refresh(self) -> None:
        """Load the version that should serve, if it does not yet and did not just fail to."""
        try:
            candidates = self._candidate_folders()
        except VersionNotFound:
            return  # nothing was published: no failure, and the page says so
        except TagalongError as error:
            self._record_failure("current", str(error))
            return
        for version in self._failures.keys() - {folder.name for folder in candidates}:
            self._clear_failure(version)
        if not candidates and self._loaded_version is not None:
            self._loaded_version = None
            self._observer.on_unloaded(self.name)
            log.info("%s: no version is current any more", self.name)
        for folder in candidates:
            if self._is_serving(folder):
                break
            if self._try_load(folder):
                return
            if self._loaded_version is not None:
                break
        for folder in candidates:  # also one that serves in the place of another, which is damaged
            if self._loaded_version is not None and self._is_serving(folder):
                self._check_serving_files(folder)
                self._apply_upgrade(folder, self._loaded_version)

    def _is_serving(self, folder: Path) -> bool:
        """Whether it is this version that serves."""
        return (
            self._loaded_version is not None
            and self._loaded_version.manifest.version == folder.name
        )

    def _clear_failure(self, version: str) -> None:
        """Forget that a version did not load, and tell, if it did not."""
        if version in self._failures:
            self._failures = self._failures_except(version)
            self._observer.on_load_failure_cleared(self.name, version)

    def _failures_except(self, version: str) -> dict[str, FailedVersion]:
        """Those of other versions: a new one, as others read the one that there is meanwhile."""
        return {name: one for name, one in self._failures.items() if name != version}

    def _check_serving_files(self, folder: Path) -> None:
        """Tell of a version that serves and would not load again: a restart would do without it."""
        try:
            check_sizes(folder)
        except TagalongError as error:
            self._record_failure(folder.name, str(error))
        else:
            self._clear_failure(folder.name)

    def _apply_upgrade(self, folder: Path, loaded: LoadedVersion) -> None:
        """Serve a version in a better way, if there is one by now."""
        try:
            tier = self._find_upgrade(folder, loaded.tier)
        except (TagalongError, OSError) as error:
            log.warning("%s: %s serves as it did: %s", self.name, folder.name, error)
            return
        if tier is not None:
            self._loaded_version = replace(loaded, tier=tier)
            self._report_runtime(tier)

    def _report_runtime(self, tier: Tier) -> None:
        """Tell what runs a tier."""
        self._observer.on_runtime_changed(self.name, tier.runtime_name)
        log.info("%s: runs on %s", self.name, tier.runtime_name)

    def _candidate_folders(self) -> list[Path]:
        """Folders of the current version and, after it, of those that were current before.

        Empty after a rollback of the first promotion, where the tier has no bundled version.
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
        """Load a version and let it serve; say whether that went well."""
        earlier = self._failures.get(folder.name)
        if earlier is not None and time.monotonic() < earlier.failed_at + LOAD_RETRY_SECONDS:
            return False
        self._observer.on_load_started(self.name, folder.name)
        start = time.monotonic()
        try:
            manifest = read_manifest(folder, verify=False)
            tier = self._load(folder)
        except TagalongError as error:
            self._record_failure(folder.name, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a library's: what serves must go on serving
            self._record_failure(folder.name, f"it did not load ({type(error).__name__}: {error})")
            return False
        self._loaded_version = LoadedVersion(tier, manifest, datetime.now(UTC))
        self._failures = self._failures_except(folder.name)
        self._observer.on_loaded(self.name, manifest, seconds=time.monotonic() - start)
        log.info("%s: version %s serves", self.name, manifest.version)
        self._report_runtime(tier)
        return True

    def _record_failure(self, version: str, reason: str) -> None:
        """Remember why a version does not serve, and tell what was not told yet."""
        earlier = self._failures.get(version)
        failure = FailedVersion(version, reason, time.monotonic())
        self._failures = self._failures_except(version) | {version: failure}
        if earlier is not None and earlier.reason == reason:
            return
        self._observer.on_load_failed(self.name, version, reason)
        log.warning("%s: version %s does not load: %s", self.name, version, reason)

    def _unavailable_error(self) -> TagalongError:
        """Why there is nothing to answer with."""
        if not self._first_load_done.is_set():
            return VersionNotFound(f"the {self.name} tier is still being loaded: try again soon")
        if (failure := self.last_failure) is not None:
            return VersionNotFound(
                f"no version of tier {self.name!r} can be loaded: {failure.reason}"
            )
        try:
            self._model_registry.resolve(self.name)
        except TagalongError as error:
            return error
        return VersionNotFound(f"the {self.name} tier is about to be loaded: try again soon")

    def _poll_loop(self) -> None:
        """Look again and again, until closed."""
        # On threads that end: one that loaded keeps threads of OpenMP while it lives, and with more
        # of those than cores every forward pass takes a fifth longer.
        while not self._stopping.is_set():
            look = threading.Thread(target=self.refresh, name=f"{self.name}-load", daemon=True)
            look.start()
            look.join()
            self._first_load_done.set()
            self._stopping.wait(POLL_SECONDS)
