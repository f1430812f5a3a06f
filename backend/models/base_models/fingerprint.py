"""What a model in a folder is known by, where no hub and no package gives it a revision."""

from hashlib import sha256
from pathlib import Path

SAMPLES_PER_FILE, SAMPLE_BYTES = 64, 4096  # of each file of weights


def folder_fingerprint(folder: Path) -> str:
    """What the model in a folder is known by: its configuration, and samples of its weights.

    Args:
        folder: Of a base; weights of many gigabytes cost no more than small ones.

    Returns:
        The beginning of a SHA-256; any other training of the model has another.
    """
    digest = sha256()
    config = folder / "config.json"
    if config.is_file():
        digest.update(config.read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for number in range(SAMPLES_PER_FILE):
                file.seek(number * size // SAMPLES_PER_FILE)
                digest.update(file.read(SAMPLE_BYTES))
    return f"sha256:{digest.hexdigest()[:16]}"
