"""Shared parts of the HTML pages: words for numbers and times, and readable colours."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tagalong.backend.pages
from tagalong.backend.pages import format_count, format_duration, format_latency, join_names

LATENCIES = {
    0.0001: "1 ms",
    0.0042: "4 ms",
    0.0994: "99 ms",
    0.0996: "0.10 s",
    0.354: "0.35 s",
    9.94: "9.94 s",
    9.96: "10 s",
    100: "100 s",
}
DURATIONS = {  # seconds
    0: "a moment",
    59: "a moment",
    60: "a minute",
    119: "a minute",
    120: "2 minutes",
    7_199: "119 minutes",
    7_200: "2 hours",
    172_799: "47 hours",
    172_800: "2 days",
}


def test_format_latency() -> None:
    assert {seconds: format_latency(seconds) for seconds in LATENCIES} == LATENCIES


def test_durations_in_words() -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    formatted = {
        seconds: format_duration(start, start + timedelta(seconds=seconds)) for seconds in DURATIONS
    }
    assert formatted == DURATIONS


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, as WCAG 2.2 defines it."""
    shades = [
        [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in (first, second)
    ]
    linear = [
        [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in s] for s in shades
    ]
    low, high = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear)
    return (high + 0.05) / (low + 0.05)


def test_text_colours_have_enough_contrast() -> None:
    style = (Path(tagalong.backend.pages.__file__).parent / "templates" / "page.html").read_text()
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in style.split(":root")[1:3]
    ]
    assert len(palettes) == 2
    for palette in palettes:
        for name in ("ink", "soft", "good", "wait", "bad", "accent"):
            assert contrast(palette[name], palette["paper"]) >= 4.5, name


def test_numbers_and_names_in_sentences() -> None:
    numbers = (0, 1, 2, 2_000)
    formatted = ["no tasks", "1 task", "2 tasks", "2,000 tasks"]
    assert [format_count(number, "task") for number in numbers] == formatted
    assert [join_names(["A", "B", "C"][:n]) for n in range(4)] == ["", "A", "A and B", "A, B and C"]
