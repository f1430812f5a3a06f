"""Kill the trainer, the server, or both at random in many retrainings: nothing is lost or partial.

Each run presses the train buttons of projects of a real Label Studio. SIGKILL then hits at random
moments until all trainings have ended. Every run must end with the versions of an undisturbed run,
each in the model of its own project, and assigned to it. The served version must be complete after
every kill, and every event that a server has answered must be stored.

    PYTHONPATH=. python tests/chaos/kill_retraining.py [--runs 20] [--seed 0] [--projects 1]
        [--documents 150] [--program tagalong-demo/label-studio-1.23.2/bin/label-studio]
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tagalong.backend.demo import installation
from tagalong.backend.demo.label_studio_server import start_label_studio
from tagalong.backend.storage.model_store import ModelStore
from tagalong.training.recipes.schedule import Schedule
from tests.chaos.prelabel_runs import ROOT
from tests.chaos.retraining_runs import (
    RetrainingResult,
    create_annotated_project,
    publish_weak_version,
    retrain_with_kills,
)
from tests.tiny_bases import make_base
from tests.toy_corpus import toy_documents

DOCUMENTS = 150
SCHEDULE = Schedule(epochs=20, patience=20, learning_rate=3e-3, batch_tokens=512, precision="fp32")


def main() -> None:
    """Run all; exit with 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--projects", type=int, default=1, help="number of projects at once")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="in each project")
    parser.add_argument("--program", type=Path, help="label-studio 1.23.2 in its own environment")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    program = options.program or installation.install_label_studio(ROOT / "tagalong-demo")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = make_base("bert-uncased", folder / "base")
        publish_weak_version(ModelStore(folder / "first"), base, SCHEDULE)
        with start_label_studio(program, folder / "studio") as running:
            projects = [
                create_annotated_project(running, toy_documents(options.documents, seed=2 + number))
                for number in range(options.projects)
            ]
            environment = {
                "LABEL_STUDIO_URL": running.url,
                "LABEL_STUDIO_API_KEY": running.account.token,
            }

            def run(number: int, seconds: float, kills: int) -> RetrainingResult:
                """Run one training with its own model store."""
                home = folder / f"run-{number}"
                shutil.copytree(folder / "first", home / "models")
                chance = random.Random(options.seed * 1000 + number)
                result = retrain_with_kills(
                    home, projects, environment, chance=chance, seconds=seconds, kills=kills
                )
                shutil.rmtree(home)
                return result

            start = time.monotonic()
            expected = run(0, 1.0, 0)
            seconds = time.monotonic() - start
            print(f"undisturbed: {expected.current} in {seconds:.0f} s")
            assert expected.is_promoted, expected
            n_killed = n_failed = number = 0
            while n_killed < options.runs:
                number += 1
                result = run(number, seconds, 2)
                is_correct = (
                    result.is_promoted
                    and result.current == expected.current
                    and result.recorded == result.accepted
                    and not result.left
                )
                n_failed += not is_correct
                if not result.kills:  # it ended before the first kill
                    continue
                n_killed += 1
                print(
                    f"run {n_killed}: killed {', '.join(result.kills)}; "
                    f"{sum(job.attempts for job in result.jobs)} attempts, "
                    f"{result.recorded} of {result.accepted} events: "
                    f"{'as undisturbed' if is_correct else f'WRONG: {result}'}",
                    flush=True,
                )
    sys.exit(n_failed > 0)


if __name__ == "__main__":
    main()
