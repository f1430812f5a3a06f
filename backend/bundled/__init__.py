"""The model versions that come with Tagalong."""

from pathlib import Path

BUNDLED_MODELS_FOLDER = Path(__file__).resolve().parent  # a model store that is never written to
