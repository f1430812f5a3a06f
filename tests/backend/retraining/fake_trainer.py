"""Trainer process that trains nothing and ends in the way that its argument names."""

import os
import signal
import sys
import time
from pathlib import Path

from tagalong.backend.retraining.job import JobResult, JobState
from tagalong.backend.retraining.job_store import JobStore


def main() -> None:
    models, how, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[4])
    jobs = JobStore(models)
    job = jobs.read_job(number)
    assert job is not None
    with jobs.lock(job.project, job.tier) as ours:
        assert ours
        jobs.set_pid(number, os.getpid())
        marks = models / "marks"
        with marks.open("a") as file:
            file.write(f"{number}\n")
        if how == "waits" or (how == "is killed once" and marks.read_text().count("\n") == 1):
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            time.sleep(60)
        elif how == "does not stop":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        elif how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        jobs.finish(number, JobState.REJECTED, JobResult("as it should be"))


if __name__ == "__main__":
    main()
