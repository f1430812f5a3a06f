"""Kill the server many times at random: every acknowledged event is stored once, in order.

A client sends numbered events, each until it is acknowledged, and asks for predictions. The server
is killed with SIGKILL at random moments and restarted. ``kill_prelabel.py`` and
``kill_retraining.py`` kill the other processes.

    PYTHONPATH=. python tests/chaos/kill_server.py [--kills 100] [--seed 0]
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.server_history import run_with_kills


def main() -> None:
    """Run; exit with 1 if the history breaks a law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        history = run_with_kills(Path(folder), kills=options.kills, seconds=2.0, chance=chance)
    print(
        f"{options.kills} kills, {len(history.acknowledged)} events, {history.repeated} sent again "
        f"({history.known} of them known), {history.predicted} predictions"
    )
    print(*history.find_faults(), sep="\n")
    sys.exit(bool(history.find_faults()))


if __name__ == "__main__":
    main()
