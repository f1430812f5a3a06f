"""Refuse each call of each command and writer that changes a file: nothing is lost or half done.

Every call on every file is refused at its first or last occurrence, by a full, a broken and a
read-only disk. The same command then runs again on a sound disk. The gate tries some of this in
``tests/cli/test_faulty_disk.py``.

    PYTHONPATH=. python tests/chaos/refuse_writes.py [NAME ...]
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.cli.disk_faults import COMMANDS, find_violations, make_templates
from tests.tiny_bases import make_base


def main() -> None:
    """Try all; exit with 1 if a law was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)}")
    names = parser.parse_args().names or list(COMMANDS)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TAGALONG_OPENVINO": "false", "OMP_NUM_THREADS": "1"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    n_violations = 0
    with tempfile.TemporaryDirectory() as folder:
        make_templates(Path(folder), lambda family: make_base(family, Path(folder) / family))
        for name in names:
            for violation in find_violations(Path(folder), sys.maxsize, name):
                n_violations += 1
                print(violation, flush=True)
            print(f"{name}: done", flush=True)
    sys.exit(n_violations > 0)


if __name__ == "__main__":
    main()
