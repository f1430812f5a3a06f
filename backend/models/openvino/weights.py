"""Keep the weights of a compiled model out of memory, where nobody can change them."""

import mmap
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from tagalong.backend.models.openvino.library import import_openvino


class PrivateWeights:
    """A copy of a file of weights, in a file without a name.

    OpenVINO packs the weights for its kernels, and needs the originals again only for streams. So
    they need no memory in between. Later changes of the file that was copied have no effect. Where
    no file can be written, such as in a read-only cache, the copy is in memory.
    """

    def __init__(self, path: Path) -> None:
        self._map: mmap.mmap | None = None
        try:
            with path.open("rb") as source, TemporaryFile(dir=path.parent) as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                self._map = mmap.mmap(copy.fileno(), 0)
        except OSError:
            content = np.fromfile(path, np.uint8)
        else:
            content = np.frombuffer(self._map, np.uint8)
        self.bytes = content.nbytes
        self.tensor: Any = import_openvino().Tensor(content, shared_memory=True)

    def release_memory(self) -> None:
        """Give the memory back to the system; reading the weights gets it again."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
