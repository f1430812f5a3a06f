"""Tables and figures of learning curves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t as student

COLUMNS = (
    "strategy",
    "seeds",
    "60 documents",
    "120 documents",
    "over 120 random ones",
    "over random ones of as many words",
    "3+ words",
    "words",
)
AXES = (("documents", 1, "documents annotated"), ("words", 1000, "thousands of words read"))
SHADES = {"random": "black", "mixed": "crimson"}  # the main comparison
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
    """Mean and half of its 95 % interval (Student's t over seeds)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, float(student.ppf(0.975, len(values) - 1)) * error


def format_mean(values: Sequence[float], *, sign: str = "") -> str:
    """Format a mean with its interval."""
    mean, half = spread(values)
    return f"{mean:{sign}.4f} ({mean - half:{sign}.4f} to {mean + half:{sign}.4f})"


def gains(
    curves: Curves, name: str, at: int, *, over: str = "random", there: int | None = None
) -> list[float]:
    """F1 over that of another strategy, by seed: both start with the same documents."""
    ours, theirs = curves[name], curves.get(over, {})
    there = at if there is None else there
    shared = sorted(ours.keys() & theirs.keys())
    return [ours[seed][at]["f1"] - theirs[seed][there]["f1"] for seed in shared]


def gains_by_words(curves: Curves, name: str, at: int) -> list[float]:
    """F1 over that of as many words of random documents, interpolated between the points."""
    ours, random = curves[name], curves.get("random", {})
    found = []
    for seed in sorted(ours.keys() & random.keys()):
        points = [random[seed][count] for count in sorted(random[seed])]
        words, scores = ([point[key] for point in points] for key in ("words", "f1"))
        found.append(
            ours[seed][at]["f1"] - float(np.interp(ours[seed][at]["words"], words, scores))
        )
    return found


def worth(curves: Curves, f1: float) -> str:
    """Number of random documents with the same F1, interpolated on the mean curve."""
    by_count = next(iter(curves["random"].values())).keys()
    means = [
        float(np.mean([points[count]["f1"] for points in curves["random"].values()]))
        for count in by_count
    ]
    if f1 > means[-1]:
        return f"more than {max(by_count)}"
    return f"{np.interp(f1, np.maximum.accumulate(means), list(by_count)):.0f}"


def tables_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a table for each corpus, and the answer to the main question."""
    parts = []
    for corpus in dict.fromkeys(line["corpus"] for line in lines):
        curves = curves_of(lines, corpus)
        head = f"| {' | '.join(COLUMNS)} |"
        rows = [f"**{corpus}**", "", head, "|---|---:|---|---|---|---|---|---:|"]
        rows += [_row(curves, name) for name in curves]
        parts += [*rows, "", *_answer(curves), ""]
    return "\n".join(parts)


def _row(curves: Curves, name: str) -> str:
    """The results of one strategy."""
    seeds = list(curves[name].values())
    by_count, by_words = gains(curves, name, 120), gains_by_words(curves, name, 120)
    compared = name != "random" and by_count
    cells = [
        name,
        str(len(seeds)),
        format_mean([points[60]["f1"] for points in seeds]),
        format_mean([points[120]["f1"] for points in seeds]),
        format_mean(by_count, sign="+") if compared else "",
        format_mean(by_words, sign="+") if compared else "",
        f"{np.mean([points[120]['f1_long'] for points in seeds]):.4f}",
        f"{np.mean([points[120]['words'] for points in seeds]):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _answer(curves: Curves) -> list[str]:
    """Whether 120 chosen documents are worth 200 random ones."""
    if not {"random", "mixed"} <= curves.keys():
        return []
    goal = format_mean([points[200]["f1"] for points in curves["random"].values()])
    behind = format_mean(gains(curves, "mixed", 120, there=200), sign="+")
    mean = float(np.mean([points[120]["f1"] for points in curves["mixed"].values()]))
    return [
        f"200 random documents: {goal}. 120 of the mixed strategy, over that: {behind}; they are "
        f"worth {worth(curves, mean)} random ones."
    ]


def figures_of(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """One figure for each corpus: by documents, and by the words in them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for corpus in dict.fromkeys(line["corpus"] for line in lines):
        curves = curves_of(lines, corpus)
        figure, sides = plt.subplots(1, 2, figsize=(9.6, 4.0), dpi=100, sharey=True)
        for side, (key, unit, title) in zip(sides, AXES, strict=True):
            for name, seeds in curves.items():
                _draw(side, name, list(seeds.values()), key, unit)
            side.set_xlabel(title)
            side.grid(alpha=0.3)
        sides[0].set_ylabel("strict F1")
        sides[1].legend(fontsize=8)
        n_seeds = max(map(len, curves.values()))
        figure.suptitle(f"{corpus}: mean of {n_seeds} seeds; shaded, 95 % intervals")
        figure.tight_layout()
        paths.append(folder / f"active_{corpus}.png")
        figure.savefig(paths[-1])
        plt.close(figure)
    return paths


def _draw(side: Any, name: str, seeds: Sequence[Mapping[int, Any]], key: str, unit: int) -> None:
    """The mean curve of a strategy."""
    counts = sorted(seeds[0])
    at = [np.mean([points[count][key] for points in seeds]) / unit for count in counts]
    spreads = [spread([points[count]["f1"] for points in seeds]) for count in counts]
    means, halves = (np.array(one) for one in zip(*spreads, strict=True))
    bold = name in SHADES
    [line] = side.plot(
        *(at, means),
        label=name,
        color=SHADES.get(name),
        linewidth=2.2 if bold else 1.0,
        marker="o",
        markersize=4 if bold else 2.5,
        zorder=3 if bold else 2,
    )
    if bold:
        side.fill_between(at, means - halves, means + halves, color=line.get_color(), alpha=0.12)
