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

from backend.encoder import EncoderTier
from backend.llm.cost import Cost
from backend.server.turns import Turns
from backend.tier import Tier, load_tier
from ner.catalogue import Catalogue
from ner.current import read_current
from ner.errors import TagalongError, VersionNotFound
from ner.manifest import Manifest, check_sizes, read_manifest

POLL_SECONDS = 1.0  # how soon a promotion is noticed; costs the heads of a dozen files
GRACE = 5.0  # seconds that a load may take to end when the server does
RETRY_SECONDS = 60.0  # before a version that did not load is tried again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that serves.

    Attributes:
        tier: Ready to predict.
        manifest: Of the version.
        since: When it began to serve.
    """

    tier: Tier
    manifest: Manifest
    since: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that did not load.

    Attributes:
        version: Its name.
        reason: One sentence.
        at: Monotonic seconds.
    """

    version: str
    reason: str
    at: float


class Witness(Protocol):
    """Who is told what becomes of versions."""

    def loading(self, tier: str, version: str) -> None:
        """A version is being loaded; one of the next two follows."""

    def loaded(self, tier: str, manifest: Manifest, *, seconds: float) -> None:
        """A version serves from now on."""

    def runs_on(self, tier: str, name: str) -> None:
        """What runs the version that serves, in words."""

    def load_failed(self, tier: str, version: str, reason: str) -> None:
        """A version did not load, or would not again; what served before still does."""

    def load_forgiven(self, tier: str, version: str) -> None:
        """A version that did not load is not wanted any more, or is whole again."""

    def unloaded(self, tier: str) -> None:
        """The tier has no current version any more, and the loaded one was dropped."""

    def spent(self, tier: str, cost: Cost) -> None:
        """Some documents were decoded."""


class TierSlot:
    """What serves for a tier.

    Args:
        name: Of the tier.
        catalogue: Where its versions are.
        witness: Told what becomes of versions.
        load: Makes a version's folder a tier.
        better: Asked again and again whether the version that serves could do so in a better way.

    Attributes:
        turns: Runs the tier that serves for whoever asks, in order.
    """

    def __init__(
        self,
        name: str,
        catalogue: Catalogue,
        *,
        witness: Witness,
        load: Callable[[Path], Tier] = load_tier,
        better: Callable[[Path, Tier], Tier | None] = lambda _, __: None,
    ) -> None:
        self.name = name
        self.turns = Turns(f"{name}-forward", spent=partial(witness.spent, name))
        self._catalogue, self._witness = catalogue, witness
        self._load, self._better = load, better
        self._loaded: Loaded | None = None
        self._failures: dict[str, Failure] = {}
        self._settled = threading.Event()  # the first attempt to load is over
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True)

    def start(self) -> None:
        """Load what is current, and watch for what will be."""
        self._watcher.start()

    def close(self) -> None:
        """Stop watching; what is being loaded is waited for, predictions in work are finished."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join(GRACE)
        self.turns.close()

    @property
    def loaded(self) -> Loaded | None:
        """What serves now."""
        return self._loaded

    @property
    def failure(self) -> Failure | None:
        """Why the version that should serve does not."""
        return next(reversed(self._failures.values()), None)

    def version(self) -> str:
        """Name the version that predictions will carry. Reads small files, never weights.

        Returns:
            The one that serves, else the one that is being loaded.

        Raises:
            TagalongError: If there is none, or none that loads.
        """
        if (loaded := self._loaded) is not None:
            return loaded.tier.version
        if not self._settled.is_set() and (wanted := self._wanted()):
            return wanted[0].name
        raise self._nothing()

    def tier(self, *, wait: float) -> Tier:
        """The tier that serves.

        Args:
            wait: Seconds to wait for the very first one.

        Returns:
            A tier; it goes on working after another version took its place.

        Raises:
            TagalongError: If there is none, or none that loads, or it takes longer.
        """
        self._settled.wait(wait)
        if (loaded := self._loaded) is not None:
            return loaded.tier
        raise self._nothing()

    def refresh(self) -> None:
        """Load the version that should serve, if it does not yet and did not just fail to."""
        try:
            candidates = self._wanted()
        except VersionNotFound:
            return  # nothing was published: no failure, and the page says so
        except TagalongError as error:
            self._fail("current", str(error))
            return
        for version in self._failures.keys() - {folder.name for folder in candidates}:
            self._forgive(version)
        if not candidates and self._loaded is not None:
            self._loaded = None
            self._witness.unloaded(self.name)
            log.info("%s: no version is current any more", self.name)
        for folder in candidates:
            if self._serves(folder):
                break
            if self._try(folder):
                return
            if self._loaded is not None:
                break
        for folder in candidates:  # also one that serves in the place of another, which is damaged
            if self._loaded is not None and self._serves(folder):
                self._look_after(folder)
                self._improve(folder, self._loaded)

    def _serves(self, folder: Path) -> bool:
        """Whether it is this version that serves."""
        return self._loaded is not None and self._loaded.manifest.version == folder.name

    def _forgive(self, version: str) -> None:
        """Forget that a version did not load, and tell, if it did not."""
        if version in self._failures:
            self._failures = self._failures_but(version)
            self._witness.load_forgiven(self.name, version)

    def _failures_but(self, version: str) -> dict[str, Failure]:
        """Those of other versions: a new one, as others read the one that there is meanwhile."""
        return {name: one for name, one in self._failures.items() if name != version}

    def _look_after(self, folder: Path) -> None:
        """Tell of a version that serves and would not load again: a restart would do without it."""
        try:
            check_sizes(folder)
        except TagalongError as error:
            self._fail(folder.name, str(error))
        else:
            self._forgive(folder.name)

    def _improve(self, folder: Path, loaded: Loaded) -> None:
        """Serve a version in a better way, if there is one by now."""
        try:
            tier = self._better(folder, loaded.tier)
        except (TagalongError, OSError) as error:
            log.warning("%s: %s serves as it did: %s", self.name, folder.name, error)
            return
        if tier is not None:
            self._loaded = replace(loaded, tier=tier)
            self._tell_of(tier)

    def _tell_of(self, tier: Tier) -> None:
        """Tell what runs a tier."""
        if isinstance(tier, EncoderTier):
            self._witness.runs_on(self.name, tier.forward.name)
            log.info("%s: runs on %s", self.name, tier.forward.name)

    def _wanted(self) -> list[Path]:
        """Folders of the current version and, after it, of those that were current before.

        Empty after a rollback of the first promotion, where the tier has no bundled version.
        """
        home = self._catalogue.home(self.name)
        current = read_current(home)
        if current is None:
            return [self._catalogue.resolve(self.name)]
        bundled = self._catalogue.bundled_version(self.name)
        names = (current.version, *reversed(current.previous), None)  # None: the bundled version
        folders: dict[str, Path] = {}
        for name in names:
            if name is not None:
                folders.setdefault(name, home / name)
            elif bundled is not None:
                folders.setdefault(bundled, self._catalogue.bundled_folder(self.name))
        return list(folders.values())

    def _try(self, folder: Path) -> bool:
        """Load a version and let it serve; say whether that went well."""
        earlier = self._failures.get(folder.name)
        if earlier is not None and time.monotonic() < earlier.at + RETRY_SECONDS:
            return False
        self._witness.loading(self.name, folder.name)
        start = time.monotonic()
        try:
            manifest = read_manifest(folder, verify=False)
            tier = self._load(folder)
        except TagalongError as error:
            self._fail(folder.name, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a library's: what serves must go on serving
            self._fail(folder.name, f"it did not load ({type(error).__name__}: {error})")
            return False
        self._loaded = Loaded(tier, manifest, datetime.now(UTC))
        self._failures = self._failures_but(folder.name)
        self._witness.loaded(self.name, manifest, seconds=time.monotonic() - start)
        log.info("%s: version %s serves", self.name, manifest.version)
        self._tell_of(tier)
        return True

    def _fail(self, version: str, reason: str) -> None:
        """Remember why a version does not serve, and tell what was not told yet."""
        earlier = self._failures.get(version)
        failure = Failure(version, reason, time.monotonic())
        self._failures = self._failures_but(version) | {version: failure}
        if earlier is not None and earlier.reason == reason:
            return
        self._witness.load_failed(self.name, version, reason)
        log.warning("%s: version %s does not load: %s", self.name, version, reason)

    def _nothing(self) -> TagalongError:
        """Why there is nothing to answer with."""
        if not self._settled.is_set():
            return VersionNotFound(f"the {self.name} tier is still being loaded: try again soon")
        if (failure := self.failure) is not None:
            return VersionNotFound(
                f"no version of tier {self.name!r} can be loaded: {failure.reason}"
            )
        try:
            self._catalogue.resolve(self.name)
        except TagalongError as error:
            return error
        return VersionNotFound(f"the {self.name} tier is about to be loaded: try again soon")

    def _watch(self) -> None:
        """Look again and again, until closed."""
        # On threads that end: one that loaded keeps threads of OpenMP while it lives, and with more
        # of those than cores every forward pass takes a fifth longer.
        while not self._over.is_set():
            look = threading.Thread(target=self.refresh, name=f"{self.name}-load", daemon=True)
            look.start()
            look.join()
            self._settled.set()
            self._over.wait(POLL_SECONDS)
