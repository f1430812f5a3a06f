"""Estimate the cost of millions of abstracts on GPUs, from measured counts and assumed rates.

Passes, tokens and their growth by verifying are those of docs/benchmarks.md. Each pass costs the
slower of two: arithmetic, two operations for each parameter and token, or one read of all weights.

    python tests/bench/scale_on_paper.py [--dollars 2.5] [--tflops 989] [--bandwidth 3.35]
        [--used 0.4] [--parameters 7.25] [--words 250] [--llm-share 0.2]

"""

import argparse
from dataclasses import dataclass
from datetime import timedelta

BATCH = 64  # documents of a pass
STUDY_BATCH = 16
ENCODER_PARAMETERS = 0.0106  # billions without embeddings: MiniLM's six layers
ENCODER_TOKENS = 1.51  # for each word
ENCODER_USED = 0.1  # share of the arithmetic: its layers are too narrow for more
TOKENS = 4.2  # for each word: two copies of 1.6 sub-words, and a slot
VERIFYING = 6.36 / 3.65  # processed tokens of verifying, relative to one pass
PASSES = 2.5
STUDY_TOKENS, STUDY_STEPS = 6.28 / 3.65 * TOKENS, 1129 / 250  # for each word


@dataclass(frozen=True)
class GPU:
    """Effective rates of a GPU.

    Attributes:
        flops: Effective operations a second.
        bandwidth: Effective bytes a second.

    """

    flops: float
    bandwidth: float

    def seconds(self, parameters: float, tokens: float, passes: float) -> float:
        """Seconds of a batch: parameters in bf16, tokens over all passes."""
        return max(2 * parameters * tokens / self.flops, 2 * parameters * passes / self.bandwidth)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dollars", type=float, default=2.5, help="price of a GPU-hour")
    parser.add_argument("--tflops", type=float, default=989, help="peak in bf16")
    parser.add_argument("--bandwidth", type=float, default=3.35, help="peak, TB/s")
    parser.add_argument("--used", type=float, default=0.4, help="share of both peaks")
    parser.add_argument(
        "--parameters", type=float, default=7.25, help="billions of parameters of the LLM"
    )
    parser.add_argument("--words", type=float, default=250, help="words of an abstract")
    parser.add_argument(
        "--llm-share", type=float, default=0.2, help="share of the LLM in the cascade"
    )
    options = parser.parse_args()
    flops = options.tflops * 1e12
    gpu = GPU(options.used * flops, options.used * options.bandwidth * 1e12)
    encoder_gpu = GPU(ENCODER_USED * flops, options.used * options.bandwidth * 1e12)
    llm, words = options.parameters * 1e9, options.words
    encoder = (
        encoder_gpu.seconds(ENCODER_PARAMETERS * 1e9, ENCODER_TOKENS * words * BATCH, 1) / BATCH
    )
    verified = gpu.seconds(llm, TOKENS * VERIFYING * words * BATCH, PASSES) / BATCH
    steps = STUDY_STEPS * words
    study = gpu.seconds(llm, STUDY_TOKENS * words * STUDY_BATCH, steps) / STUDY_BATCH
    seconds_by_tier = {
        "encoder": encoder,
        f"cascade, {options.llm_share:.0%} by the LLM": encoder + options.llm_share * verified,
        "LLM, verified": verified,
        f"the study's decoding, batches of {STUDY_BATCH}": study,
    }
    print("| tier | abstracts/s on a GPU | 1 M, 8 GPUs | 1 M, 64 | 100 M, 8 | 100 M, 64 "
          "| dollars for 1 M |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, seconds in seconds_by_tier.items():
        times = [
            format_time(millions * 1e6 * seconds / gpus)
            for millions in (1, 100)
            for gpus in (8, 64)
        ]
        dollars = 1e6 * seconds / 3600 * options.dollars
        print(f"| {name} | {1 / seconds:,.1f} | {' | '.join(times)} | {dollars:,.2f} |")


def format_time(seconds: float) -> str:
    """Format a time with two significant digits."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return str(timedelta(seconds=round(seconds))) if seconds >= 1 else f"{seconds:.1f} s"


if __name__ == "__main__":
    main()
