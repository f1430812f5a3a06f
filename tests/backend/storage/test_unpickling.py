"""No loader of a version unpickles any of its files."""

import pickle
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import TagalongError
from tagalong.ner.manifest import (
    ALLOWED_SUFFIXES,
    MANIFEST_FILE_NAME,
    VersionMetadata,
    read_manifest,
)

BUNDLED = ModelStore(BUNDLED_MODELS_FOLDER).resolve("encoder")
PUBLISHED = [path.name for path in BUNDLED.iterdir() if path.name != MANIFEST_FILE_NAME]
# Names that libraries look for, and one name for each allowed suffix.
OTHERS = ["special_tokens_map.json", "added_tokens.json", "vocab.txt", "merges.txt", "vocab.json"]
OTHERS += ["spiece.model", "tokenizer.model", "chat_template.jinja", "generation_config.json"]
OTHERS += [f"pytorch_model{suffix}" for suffix in ALLOWED_SUFFIXES]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("names", [*([name] for name in PUBLISHED), OTHERS], ids=lambda it: it[0])
def test_pickle_under_an_allowed_name_is_never_unpickled(names: list[str], tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    bomb = pickle.dumps(Bomb(mark))
    pickle.loads(bomb)
    mark.unlink()  # proves that unpickling creates it
    metadata = read_manifest(BUNDLED)
    store = ModelStore(tmp_path / "models")
    with store.staging_folder("encoder") as folder:
        for name in PUBLISHED:
            shutil.copy(BUNDLED / name, folder)
        for name in names:
            (folder / name).write_bytes(bomb)
        published = store.publish(
            folder,
            VersionMetadata(
                **{one.name: getattr(metadata, one.name) for one in fields(VersionMetadata)}
            ),
        )
    with suppress(TagalongError):  # a library may require the file
        load_tagger(store.resolve(published.version))
    assert not mark.exists()
