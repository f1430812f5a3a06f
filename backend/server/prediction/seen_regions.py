"""Regions already answered in interactive calls, so that each action gets one answer.

They are kept in memory only: after a restart a deleted mention may be suggested once more.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

MAX_SEEN_REGIONS = 100_000  # a task has hundreds


class SeenRegions:
    """Region ids seen before, by task. Thread-safe; the oldest are forgotten.

    Args:
        max_regions: How many are kept.
    """

    def __init__(self, max_regions: int = MAX_SEEN_REGIONS) -> None:
        self._max_regions = max_regions
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def mark_seen(self, task_key: str, region_ids: Sequence[str]) -> frozenset[str]:
        """Mark regions as seen, and return those that were seen before.

        Args:
            task_key: Identifies the task.
            region_ids: Ids of its regions.
        """
        digests = {name: _compute_region_digest(task_key, name) for name in region_ids}
        with self._lock:
            seen_before = frozenset(
                name for name, digest in digests.items() if digest in self._digests
            )
            for digest in digests.values():
                self._digests[digest] = None
                self._digests.move_to_end(digest)
            while len(self._digests) > self._max_regions:
                self._digests.popitem(last=False)
        return seen_before


def _compute_region_digest(task_key: str, region_id: str) -> bytes:
    # Clients choose the ids, so only a digest of fixed size is kept.
    content = f"{len(task_key)}\0{task_key}\0{region_id}".encode(errors="surrogatepass")
    return hashlib.blake2b(content, digest_size=16).digest()
