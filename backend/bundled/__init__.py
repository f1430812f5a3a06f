"""The model versions that come with Tagalong."""

from pathlib import Path

BUNDLED_MODELS_FOLDER = Path(__file__).parent  # a read-only model store
