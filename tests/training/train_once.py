"""A tiny training as a program, which tests kill, resume or run in several processes.

Usage: train_once.py BASE STATE OUT [--resume]; prints a line after each step, and each process
writes its weights, the first one into OUT.rank0.
"""

import sys
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import save_file

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import EncoderTrainResult, train_encoder
from tagalong.training.loop.ema import trainable_parameters
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import Schedule, TrainingProgress
from tests.toy_corpus import LABELS, toy_documents


def train(
    base: Path, state: Path, *, resume: bool = False, report=lambda _: None
) -> EncoderTrainResult:
    schedule = Schedule(
        epochs=3,
        learning_rate=2e-3,
        batch_tokens=256,
        ema_decay=0.9,
        save_every=4,
        precision="fp32",
    )
    recipe = EncoderRecipe(
        base=BaseModelRef(str(base)),
        window_config=WindowConfig(96, 8),
        train_window_config=WindowConfig(64, 8),
        schedule=schedule,
        mask_probability=0.1,
    )
    return train_encoder(
        TrainDevSplit(toy_documents(24, seed=1), toy_documents(6, seed=2), LABELS),
        recipe=recipe,
        state_path=state,
        resume=resume,
        on_progress=report,
    )


def weights_of(trained: EncoderTrainResult):
    model = trained.tagger.runner.model
    return {name: weight.detach().clone() for name, weight in trainable_parameters(model)}


def main() -> None:
    base, state, out = (Path(argument) for argument in sys.argv[1:4])

    def report(now: TrainingProgress) -> None:
        print(now.step, flush=True)

    trained = train(base, state, resume="--resume" in sys.argv, report=report)
    save_file(weights_of(trained), f"{out}.rank{PartialState().process_index}")


if __name__ == "__main__":
    main()
