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
HIGHLIGHT_COLORS = {"random": "black", "mixed": "crimson"}  # the main comparison
Curves = Mapping[str, Mapping[int, Mapping[int, Mapping[str, float]]]]  # strategy, seed, documents


def group_curves(lines: Sequence[Mapping[str, Any]], corpus: str) -> Curves:
    """Group the points of a corpus by strategy, seed and number of documents."""
    curves: defaultdict[str, dict[int, dict[int, Any]]] = defaultdict(dict)
    for line in lines:
        if line["corpus"] == corpus:
            points = {point["documents"]: point for point in line["points"]}
            curves[line["strategy"]][line["seed"]] = points
    return curves


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Compute a mean and half the width of its 95 % interval (Student's t over seeds)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, float(student.ppf(0.975, len(values) - 1)) * error


def format_mean(values: Sequence[float], *, sign: str = "") -> str:
    """Format a mean with its interval."""
    mean, half_width = mean_and_half_width(values)
    return f"{mean:{sign}.4f} ({mean - half_width:{sign}.4f} to {mean + half_width:{sign}.4f})"


def compute_gains(
    curves: Curves, name: str, count: int, *, other: str = "random", other_count: int | None = None
) -> list[float]:
    """Compute differences from the F1 of another strategy, by seed.

    Both start with the same documents.
    """
    points, other_points = curves[name], curves.get(other, {})
    other_count = count if other_count is None else other_count
    shared = sorted(points.keys() & other_points.keys())
    return [points[seed][count]["f1"] - other_points[seed][other_count]["f1"] for seed in shared]


def compute_gains_by_words(curves: Curves, name: str, count: int) -> list[float]:
    """Compute differences from the F1 of as many words of random documents, interpolated."""
    points, random_points = curves[name], curves.get("random", {})
    gains = []
    for seed in sorted(points.keys() & random_points.keys()):
        by_count = [random_points[seed][number] for number in sorted(random_points[seed])]
        words, scores = ([point[key] for point in by_count] for key in ("words", "f1"))
        point = points[seed][count]
        gains.append(point["f1"] - float(np.interp(point["words"], words, scores)))
    return gains


def count_equivalent_documents(curves: Curves, f1: float) -> str:
    """Count the random documents with the same F1, interpolated on the mean curve."""
    by_count = next(iter(curves["random"].values())).keys()
    means = [
        float(np.mean([points[count]["f1"] for points in curves["random"].values()]))
        for count in by_count
    ]
    if f1 > means[-1]:
        return f"more than {max(by_count)}"
    return f"{np.interp(f1, np.maximum.accumulate(means), list(by_count)):.0f}"


def format_tables(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format a Markdown table and a summary for each corpus."""
    parts = []
    for corpus in dict.fromkeys(line["corpus"] for line in lines):
        curves = group_curves(lines, corpus)
        head = f"| {' | '.join(COLUMNS)} |"
        rows = [f"**{corpus}**", "", head, "|---|---:|---|---|---|---|---|---:|"]
        rows += [_format_row(curves, name) for name in curves]
        parts += [*rows, "", *_summarize(curves), ""]
    return "\n".join(parts)


def _format_row(curves: Curves, name: str) -> str:
    """Format the results of one strategy."""
    seeds = list(curves[name].values())
    gains_by_count = compute_gains(curves, name, 120)
    gains_by_words = compute_gains_by_words(curves, name, 120)
    has_gains = name != "random" and gains_by_count
    cells = [
        name,
        str(len(seeds)),
        format_mean([points[60]["f1"] for points in seeds]),
        format_mean([points[120]["f1"] for points in seeds]),
        format_mean(gains_by_count, sign="+") if has_gains else "",
        format_mean(gains_by_words, sign="+") if has_gains else "",
        f"{np.mean([points[120]['f1_long'] for points in seeds]):.4f}",
        f"{np.mean([points[120]['words'] for points in seeds]):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _summarize(curves: Curves) -> list[str]:
    """Compare 120 selected documents with 200 random ones."""
    if not {"random", "mixed"} <= curves.keys():
        return []
    random_f1 = format_mean([points[200]["f1"] for points in curves["random"].values()])
    difference = format_mean(compute_gains(curves, "mixed", 120, other_count=200), sign="+")
    mean = float(np.mean([points[120]["f1"] for points in curves["mixed"].values()]))
    return [
        f"200 random documents: {random_f1}. 120 of the mixed strategy, over that: {difference}; "
        f"they are worth {count_equivalent_documents(curves, mean)} random ones."
    ]


def draw_figures(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw a figure for each corpus: F1 by documents and by words."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for corpus in dict.fromkeys(line["corpus"] for line in lines):
        curves = group_curves(lines, corpus)
        figure, all_axes = plt.subplots(1, 2, figsize=(9.6, 4.0), dpi=100, sharey=True)
        for axes, (key, unit, title) in zip(all_axes, AXES, strict=True):
            for name, seeds in curves.items():
                _draw_curve(axes, name, list(seeds.values()), key, unit)
            axes.set_xlabel(title)
            axes.grid(alpha=0.3)
        all_axes[0].set_ylabel("strict F1")
        all_axes[1].legend(fontsize=8)
        n_seeds = max(map(len, curves.values()))
        figure.suptitle(f"{corpus}: mean of {n_seeds} seeds; shaded, 95 % intervals")
        figure.tight_layout()
        paths.append(folder / f"active_{corpus}.png")
        figure.savefig(paths[-1])
        plt.close(figure)
    return paths


def _draw_curve(
    axes: Any, name: str, seeds: Sequence[Mapping[int, Any]], key: str, unit: int
) -> None:
    """Draw the mean curve of a strategy."""
    counts = sorted(seeds[0])
    x = [np.mean([points[count][key] for points in seeds]) / unit for count in counts]
    intervals = [mean_and_half_width([points[count]["f1"] for points in seeds]) for count in counts]
    means, half_widths = (np.array(values) for values in zip(*intervals, strict=True))
    highlighted = name in HIGHLIGHT_COLORS
    [line] = axes.plot(
        *(x, means),
        label=name,
        color=HIGHLIGHT_COLORS.get(name),
        linewidth=2.2 if highlighted else 1.0,
        marker="o",
        markersize=4 if highlighted else 2.5,
        zorder=3 if highlighted else 2,
    )
    if highlighted:
        axes.fill_between(
            x, means - half_widths, means + half_widths, color=line.get_color(), alpha=0.12
        )
