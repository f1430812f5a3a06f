"""The fingerprint of a model in a folder, which no hub and no package gives a revision."""

from hashlib import sha256
from pathlib import Path

SAMPLES_PER_FILE, SAMPLE_BYTES = 64, 4096


def folder_fingerprint(folder: Path) -> str:
    """Hash the configuration of a model, and samples of its weights.

    Reading samples takes as long for many gigabytes as for few; any further training changes them.
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
