"""Where the model versions are that Tagalong comes with."""

from pathlib import Path

BUNDLED_MODELS_FOLDER = Path(__file__).parent / "bundled"  # a store like any other, but read-only
