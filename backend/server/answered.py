"""What interactive calls were answered for, so that each thing an annotator does is answered once.

Kept in memory and lost with it: then a mention that was deleted may be offered once more.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

MOST = 100_000  # names; a task has hundreds, and the oldest make room


class Answered:
    """Tells what came before, per task. For many threads, and bounded, whoever calls.

    Args:
        most: How many names are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def came_before(self, task: str, names: Sequence[str]) -> frozenset[str]:
        """Tell which names came before, and remember all of them.

        Args:
            task: Whose names they are.
            names: Any.

        Returns:
            Those that an earlier call for the same task brought.
        """
        digests = {name: _digest(task, name) for name in names}
        with self._lock:
            before = frozenset(name for name, digest in digests.items() if digest in self._known)
            for digest in digests.values():
                self._known[digest] = None
                self._known.move_to_end(digest)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return before


def _digest(task: str, name: str) -> bytes:
    """Of one length, however long the name is."""
    content = f"{len(task)}\0{task}\0{name}".encode(errors="surrogatepass")
    return hashlib.blake2b(content, digest_size=16).digest()
