"""What interactive calls were answered for, so that each thing an annotator does is answered once.

Kept in memory and lost with it: then a mention that was deleted may be offered once more.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

MAX_SEEN_REGIONS = 100_000  # names; a task has hundreds, and the oldest make room


class SeenRegions:
    """Tells what came before, per task. For many threads, and bounded, whoever calls.

    Args:
        max_regions: How many names are kept.
    """

    def __init__(self, max_regions: int = MAX_SEEN_REGIONS) -> None:
        self._max_regions = max_regions
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def mark_seen(self, task_key: str, region_ids: Sequence[str]) -> frozenset[str]:
        """Tell which names came before, and remember all of them.

        Args:
            task_key: Whose names they are.
            region_ids: Any.

        Returns:
            Those that an earlier call for the same task brought.
        """
        digests = {name: _compute_region_digest(task_key, name) for name in region_ids}
        with self._lock:
            before = frozenset(name for name, digest in digests.items() if digest in self._digests)
            for digest in digests.values():
                self._digests[digest] = None
                self._digests.move_to_end(digest)
            while len(self._digests) > self._max_regions:
                self._digests.popitem(last=False)
        return before


def _compute_region_digest(task: str, name: str) -> bytes:
    """Of one length, however long the name is."""
    content = f"{len(task)}\0{task}\0{name}".encode(errors="surrogatepass")
    return hashlib.blake2b(content, digest_size=16).digest()
