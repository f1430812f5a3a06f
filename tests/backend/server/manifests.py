"""The manifest of a published version."""

from collections.abc import Mapping
from typing import Any

from tagalong.ner.manifest import Manifest

DEV = {
    "documents": 48,
    "strict_f1": 0.8392,
    "by_length": {"1": 0.8719, "2": 0.7629, "3+": 0.6713},
    "support": {"1": 676, "2": 148, "3+": 78},
}


def make_manifest(
    version: str = "tiny-20261122-35fd034f",
    *,
    scores: Mapping[str, Any] | None = None,
    labels: tuple[str, ...] = ("Chemical", "Disease"),
) -> Manifest:
    return Manifest(
        tier="encoder",
        name="tiny",
        base="package:tiny/model",
        base_revision="0.1.0",
        labels=labels,
        scores={"dev": DEV} if scores is None else scores,
        version=version,
        created="2026-11-22T20:13:55+00:00",
        files={},
    )
