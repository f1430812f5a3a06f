"""A tiny LLM training as a program, which tests kill, resume or run in several processes.

Usage: train_llm_once.py BASE STATE OUT [--resume]; prints a line after each step, and each
process writes its weights, the first one into OUT.rank0.
"""

import sys
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import save_file

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.llm.train import LLMTrainResult, train_llm
from tagalong.training.loop.ema import trainable_parameters
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tagalong.training.recipes.recipe import AdapterConfig
from tagalong.training.recipes.schedule import Schedule, TrainingProgress
from tests.toy_corpus import LABELS, toy_documents


def train(
    base: Path, state: Path, *, resume: bool = False, report=lambda _: None
) -> LLMTrainResult:
    recipe = LLMRecipe(
        base=BaseModelRef(str(base)),
        adapter=AdapterConfig(8, 16, 0.05),
        window=256,
        context=16,
        tag_noise_share=0.2,
        schedule=Schedule(
            epochs=3, learning_rate=1e-3, batch_tokens=512, ema_decay=0.9, save_every=4
        ),
    )
    return train_llm(
        TrainDevSplit(
            toy_documents(16, seed=1, sentences=1), toy_documents(4, seed=2, sentences=1), LABELS
        ),
        recipe=recipe,
        state_path=state,
        resume=resume,
        on_progress=report,
    )


def weights_of(trained: LLMTrainResult):
    model = trained.tagger.slot_decoder.scorer.model
    return {name: weight.detach().clone() for name, weight in trainable_parameters(model)}


def main() -> None:
    base, state, out = (Path(argument) for argument in sys.argv[1:4])

    def report(now: TrainingProgress) -> None:
        print(now.step, flush=True)

    trained = train(base, state, resume="--resume" in sys.argv, report=report)
    save_file(weights_of(trained), f"{out}.rank{PartialState().process_index}")


if __name__ == "__main__":
    main()
