"""Learning curves -> tables and figures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t as student

HEAD = (
    "| strategy | seeds | at 60 | at 120 | 120, over random | 3+ words at 120 | words read at 120 |"
)
SHADES = {"random": "black", "mixed": "tab:red"}  # the two that the question is about
Curves = Mapping[str, Mapping[int, Mapping[int, Mapping[str, float]]]]  # strategy, seed, documents


def curves_of(lines: Sequence[Mapping[str, Any]], corpus: str) -> Curves:
    """The points of a corpus by strategy, seed and number of documents."""
    curves: defaultdict[str, dict[int, dict[int, Any]]] = defaultdict(dict)
    for line in lines:
        if line["corpus"] == corpus:
            points = {point["documents"]: point for point in line["points"]}
            curves[line["strategy"]][line["seed"]] = points
    return curves


def spread(values: Sequence[float]) -> tuple[float, float]:
    """A mean and half of its 95 % interval (Student's t over seeds)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, float(student.ppf(0.975, len(values) - 1)) * error


def told(values: Sequence[float], *, sign: str = "") -> str:
    """A mean with its interval."""
    mean, half = spread(values)
    return f"{mean:{sign}.4f} ({mean - half:{sign}.4f} to {mean + half:{sign}.4f})"


def gains(
    curves: Curves, name: str, at: int, *, over: str = "random", there: int | None = None
) -> list[float]:
    """F1 over that of another strategy, seed by seed: both began with the same documents."""
    ours, theirs = curves[name], curves.get(over, {})
    there = at if there is None else there
    shared = sorted(ours.keys() & theirs.keys())
    return [ours[seed][at]["f1"] - theirs[seed][there]["f1"] for seed in shared]


def worth(curves: Curves, f1: float) -> str:
    """How many random documents give an F1, between the points of the mean curve."""
    by_count = next(iter(curves["random"].values())).keys()
    means = [
        float(np.mean([points[count]["f1"] for points in curves["random"].values()]))
        for count in by_count
    ]
    if f1 > means[-1]:
        return f"more than {max(by_count)}"
    return f"{np.interp(f1, np.maximum.accumulate(means), list(by_count)):.0f}"


def tables_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a table for each corpus, and the answer to the question."""
    parts = []
    for corpus in dict.fromkeys(line["corpus"] for line in lines):
        curves = curves_of(lines, corpus)
        rows = [f"**{corpus}**", "", HEAD, "|---|---:|---|---|---|---|---:|"]
        rows += [_row(curves, name) for name in curves]
        parts += [*rows, "", *_answer(curves), ""]
    return "\n".join(parts)


def _row(curves: Curves, name: str) -> str:
    """What one strategy came to."""
    seeds = list(curves[name].values())
    over = gains(curves, name, 120) if name != "random" else []
    cells = [
        name,
        str(len(seeds)),
        told([points[60]["f1"] for points in seeds]),
        told([points[120]["f1"] for points in seeds]),
        told(over, sign="+") if over else "",
        f"{np.mean([points[120]['f1_long'] for points in seeds]):.4f}",
        f"{np.mean([points[120]['words'] for points in seeds]):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _answer(curves: Curves) -> list[str]:
    """Whether 120 chosen documents are worth 200 random ones."""
    if not {"random", "mixed"} <= curves.keys():
        return []
    goal = told([points[200]["f1"] for points in curves["random"].values()])
    behind = told(gains(curves, "mixed", 120, there=200), sign="+")
    mean = float(np.mean([points[120]["f1"] for points in curves["mixed"].values()]))
    return [
        f"200 random documents: {goal}. 120 of the mixed strategy, over that: {behind}; they are "
        f"worth {worth(curves, mean)} random ones."
    ]


def figures_of(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """One figure for each corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for corpus in dict.fromkeys(line["corpus"] for line in lines):
        curves = curves_of(lines, corpus)
        figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=110)
        for name, seeds in curves.items():
            counts = sorted(next(iter(seeds.values())))
            spreads = [
                spread([points[count]["f1"] for points in seeds.values()]) for count in counts
            ]
            means, halves = (np.array(one) for one in zip(*spreads, strict=True))
            bold = name in SHADES
            [drawn] = axes.plot(
                *(counts, means),
                label=name,
                color=SHADES.get(name),
                linewidth=2.2 if bold else 1.0,
                marker="o",
                markersize=4 if bold else 2.5,
                zorder=3 if bold else 2,
            )
            if bold:
                colour = drawn.get_color()
                axes.fill_between(counts, means - halves, means + halves, color=colour, alpha=0.12)
        axes.set_xlabel("documents annotated")
        axes.set_ylabel("strict F1")
        axes.set_title(f"{corpus}: mean of {max(map(len, curves.values()))} seeds, 95 % intervals")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        figure.tight_layout()
        paths.append(folder / f"active_{corpus}.png")
        figure.savefig(paths[-1])
        plt.close(figure)
    return paths
