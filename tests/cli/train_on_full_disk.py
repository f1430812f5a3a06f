"""``tagalong`` with a disk that is full when publishing starts.

Usage: train_on_full_disk.py BYTES ARGUMENT...; from then on, BYTES is the maximum file size.
"""

import resource
import sys

from tagalong.backend.storage.locks import SCRATCH_PREFIX
from tagalong.cli.main import main


def main_until_full(size: int, arguments: list[str]) -> None:
    def fill(event: str, details: tuple[object, ...]) -> None:
        if event == "tempfile.mkdtemp" and SCRATCH_PREFIX in str(details[0]):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    sys.addaudithook(fill)
    main(arguments)


if __name__ == "__main__":
    main_until_full(int(sys.argv[1]), sys.argv[2:])
