"""Fuzz a real server: bodies, raw requests, hosts and origins, slow sockets.

    python -m tests.fuzz [--seed 0] [--bodies 20000] [--first 0]

A failure names the seed and the index of a body. ``--seed SEED --first INDEX --bodies 1`` sends it
again. Exits with 1 after failures.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.bodies import find_body_faults
from tests.fuzz.origins import find_form_faults
from tests.fuzz.raw_requests import find_shape_faults
from tests.fuzz.server import start_server
from tests.fuzz.slow_sockets import KINDS, SOCKETS_OF_A_KIND, run_slow_sockets


def main() -> None:
    """Run all parts; print figures and failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bodies", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="index of the first body")
    options = parser.parse_args()
    indices = range(options.first, options.first + options.bodies)
    with tempfile.TemporaryDirectory() as folder, start_server(Path(folder)) as server:
        start = time.monotonic()
        faults = find_body_faults(server, options.seed, indices, report=print)
        print(f"{len(indices):,} bodies of seed {options.seed}: {time.monotonic() - start:.0f} s")
        count, found = find_shape_faults(server)
        faults += found
        print(f"{count} raw requests")
        count, found = find_form_faults(server)
        faults += found
        print(f"{count} forms of host and origin")
        found, slowest = run_slow_sockets(server, seconds=0, until_end=True)
        faults += found
        print(f"{len(KINDS)} kinds of {SOCKETS_OF_A_KIND} slow sockets: /health {slowest:.2f} s")
        faults += [fault] if (fault := server.find_log_fault()) else []
    print(*faults, sep="\n")
    print(f"{len(faults)} failures")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
