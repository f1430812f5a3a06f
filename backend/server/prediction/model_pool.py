"""The models of a server: loaded when they are asked for, and unloaded when memory is short."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.server.monitoring.snapshot import AssignmentState, PoolState
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.memory import resident_bytes, return_free_memory
from tagalong.backend.server.prediction.model_holder import ModelHolder, collect_garbage
from tagalong.backend.storage.assignments import (
    AssignmentReader,
    ServingModel,
    explain_unusable_model,
)
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.errors import TagalongError, VersionNotFound
from tagalong.ner.model_registry import ModelRegistry

SWEEP_SECONDS = 1.0  # between two looks at the memory, and at models that were removed

Loader = Callable[[Path], DocumentTagger]
# Arguments: the name of a model, its tier, and what loads its versions.
MakeHolder = Callable[[str, str, Loader], ModelHolder]

log = logging.getLogger(__name__)


class ModelPool:
    """The holders of all models.

    The default model of each tier is loaded at the start, the others with their first request.
    While the process has more than `max_memory_bytes`, the models are unloaded whose last requests
    are longest ago; default models come last. A model with a request in work stays.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        loaders: dict[str, Loader],
        make_holder: MakeHolder,
        *,
        telemetry: Telemetry,
        max_memory_bytes: int,
    ) -> None:
        self.assignments = AssignmentReader(registry.root)
        self._registry, self._loaders, self._make_holder = registry, loaders, make_holder
        self._telemetry, self._max_memory_bytes = telemetry, max_memory_bytes
        self._lock = threading.Lock()
        self._holders: dict[str, ModelHolder] = {}
        self._requests: dict[str, int] = {}  # in work, by model
        self._used_at: dict[str, float] = {}  # monotonic seconds, by model
        self._load_locks = {tier: threading.Lock() for tier in loaders}  # two loads slow each other
        self._growth_bytes: dict[str, int] = {}  # of the last load, by tier
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sweep_loop, name="model-pool", daemon=True)

    def start(self) -> None:
        """Load the default models, and watch the memory."""
        for tier in self._loaders:
            self._start(self.find(tier))
        self._thread.start()

    def close(self) -> None:
        """Stop watching all models; requests in work are finished."""
        self._stopping.set()
        with self._lock:
            holders = [*self._holders.values()]
        for holder in reversed(holders):  # a drafter after its user
            holder.close()

    def find(self, model: str) -> ModelHolder:
        """The holder of a model, loaded or not; raises `VersionNotFound` if there is none."""
        with self._lock:
            if (holder := self._holders.get(model)) is not None:
                return holder
        tier = model if model in self._loaders else self._registry.model_tier(model)
        if tier not in self._loaders:
            message = f"no model is called {model!r}: {self._registry.describe_available(model)}"
            raise VersionNotFound(message, code="model-unknown")
        with self._lock:
            if model not in self._holders:
                self._holders[model] = self._make_holder(
                    model, tier, lambda folder: self._load(model, tier, folder)
                )
            return self._holders[model]

    def choose(self, project: ProjectKey | None, tier: str) -> ServingModel:
        """The model that serves a project: the assigned one, or else the default of the tier.

        The default also answers for an assigned model that has no current version any more.
        """
        model = self.assignments.find(str(project), tier)
        if model is None or model == tier:
            return ServingModel(tier)
        with suppress(TagalongError):
            if self.find(model).tier == tier and self._registry.current_version(model):
                return ServingModel(model)
        fault = explain_unusable_model(self._registry, model, tier)
        # If the model has just become usable, it serves the next request.
        return ServingModel(tier, fault=fault or f"model {model!r} was not there a moment ago")

    @contextmanager
    def lease(self, model: str) -> Iterator[ModelHolder]:
        """Load a model if necessary, and keep it loaded for a request; does not wait for the load.

        Raises `VersionNotFound` if there is no such model.
        """
        while True:
            holder = self.find(model)
            with self._lock:
                if self._holders.get(model) is holder:  # it was not unloaded in between
                    self._requests[model] = self._requests.get(model, 0) + 1
                    break
        try:
            self._start(holder)
            yield holder
        finally:
            with self._lock:
                self._requests[model] -= 1
                self._used_at[model] = time.monotonic()

    def is_served(self, model: str) -> bool:
        """Whether a model is loaded, or would be by a request."""
        holder = self.find(model)
        return holder.tagger is not None or not holder.is_started

    def loaded_models(self) -> Collection[str]:
        """The names of the models that are loaded."""
        with self._lock:
            return [name for name, holder in self._holders.items() if holder.tagger is not None]

    def read_state(self) -> PoolState:
        """The models and the assignments now. Never fails."""
        loaded = sorted(self.loaded_models())
        assignments = [
            AssignmentState(project, tier, model, self.choose(project, tier).fault)
            for key, models in self.assignments.read().items()
            if (project := ProjectKey.parse(key)) is not None  # others can send no request
            for tier, model in models.items()
            if tier in self._loaders
        ]
        return PoolState(
            loaded,
            sorted({*self._registry.models()} - {*loaded}),
            resident_bytes(),
            self._max_memory_bytes,
            assignments,
            self.assignments.error,
        )

    def _start(self, holder: ModelHolder) -> None:
        with self._lock:
            if not holder.is_started:
                holder.start()

    def _load(self, model: str, tier: str, folder: Path) -> DocumentTagger:
        with self._load_locks[tier]:
            self._make_room(self._growth_bytes.get(tier, 0), keep=model)
            before = resident_bytes()
            tagger = self._loaders[tier](folder)
            self._growth_bytes[tier] = max(0, resident_bytes() - before)
            return tagger

    def _make_room(self, needed_bytes: int = 0, *, keep: str = "") -> None:
        """Unload models until the process has room for one more, or none is idle."""
        while resident_bytes() + needed_bytes > self._max_memory_bytes:
            if (holder := self._take_idle_holder(keep)) is None:
                return
            self._unload(holder)

    def _take_idle_holder(self, keep: str) -> ModelHolder | None:
        """Take the loaded model out of the pool that has been idle for longest."""
        with self._lock:
            idle = [
                name
                for name, holder in self._holders.items()
                if holder.tagger is not None and name != keep and not self._requests.get(name)
            ]
            if not idle:
                return None
            oldest = min(
                idle, key=lambda name: (name in self._loaders, self._used_at.get(name, 0.0))
            )
            return self._holders.pop(oldest)

    def _unload(self, holder: ModelHolder) -> None:
        holder.unload()
        self._telemetry.forget_model(holder.name, holder.tier)
        log.info("%s: unloaded", holder.name)
        collect_garbage(everything=True)
        return_free_memory()

    def _sweep_loop(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._unload_removed()
            self._make_room()

    def _unload_removed(self) -> None:
        """Forget the models that have no folder any more."""
        with self._lock:
            removed = [
                self._holders.pop(name)
                for name in [*self._holders]
                if name not in self._loaders and not self._registry.model_folder(name).is_dir()
            ]
        for holder in removed:
            self._unload(holder)
