"""``python -m tagalong.training.jobs``: run one queued retraining job, as the server does."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import get_args

from transformers.utils.logging import set_verbosity_error

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.label_studio.fetch import parse_hosts
from tagalong.backend.processes.limited_log import limit_log
from tagalong.backend.retraining.job import JobState, PromotionPolicy
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import TagalongError, describe_fault
from tagalong.training.jobs.job_requests import RetrainOptions
from tagalong.training.jobs.retrain import NICENESS, run_job
from tagalong.training.recipes.schedule import TrainingProgress

log = logging.getLogger("tagalong.training")


def main() -> int:
    """Run the job that the arguments name; returns the exit status.

    The log names states, scores and kinds of faults. Reasons and notes may be Label Studio's words,
    so only the status page has them.
    """
    limit_log()
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    parser = argparse.ArgumentParser(prog="python -m tagalong.training.jobs", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="Folder of model versions.")
    parser.add_argument("--run", type=int, required=True, help="Id of the job.")
    parser.add_argument("--promote", choices=get_args(PromotionPolicy), default="auto")
    parser.add_argument("--prelabel", type=int, default=0)
    parser.add_argument("--allowed-hosts", default="")
    parser.add_argument("--warm-start", action="store_true")
    arguments = parser.parse_args()
    options = RetrainOptions(
        # From the environment, so that the list of processes does not show the key.
        label_studio_url=os.environ.get("LABEL_STUDIO_URL"),
        label_studio_key=os.environ.get("LABEL_STUDIO_API_KEY"),
        allowed_hosts=parse_hosts(arguments.allowed_hosts),
        promotion_policy=arguments.promote,
        prelabel_tasks=arguments.prelabel,
        warm_start=arguments.warm_start,
    )
    os.nice(NICENESS)
    set_verbosity_error()  # a new head is reported as missing weights, in every training
    store = ModelStore(arguments.models, bundled_root=BUNDLED_MODELS_FOLDER)
    try:
        job = run_job(JobStore(store.root), arguments.run, store, options, on_progress=_print_epoch)
    except TagalongError as error:
        log.error("the training cannot run: %s", describe_fault(error))  # noqa: TRY400
        return 1
    except KeyboardInterrupt:
        return 130
    version = job.result.version if job.result else ""
    log.info("training %d of project %d: %s %s", job.id, job.project.id, job.state, version)
    return 0 if job.state in (JobState.PROMOTED, JobState.REJECTED) else 1


def _print_epoch(progress: TrainingProgress) -> None:
    if len(progress.dev_scores) == progress.epoch:  # evaluated just now
        scores = progress.epoch, progress.epochs, progress.loss, progress.dev_scores[-1]
        log.info("epoch %d of %d: loss %.4f, dev F1 %.4f", *scores)


if __name__ == "__main__":
    sys.exit(main())
