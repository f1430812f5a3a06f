"""Names of the numbered tags of a data set of Hugging Face.

They are in ``dataset_info.json``, in ``dataset_infos.json``, or in the header of ``README.md``.
Format: https://huggingface.co/docs/datasets/about_dataset_features
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tagalong.backend.formats.text_file import LINE_END_PATTERN, read_whole_text
from tagalong.ner.errors import FormatError

INFO_NAMES = ("dataset_info.json", "dataset_infos.json")
README_NAME = "README.md"


def find_features(path: Path, top: Path) -> Mapping[str, Any]:
    """The features of the columns of a file, as the data set in the folder ``top`` describes them.

    They are those of the nearest description, from the file's folder up. It may be missing.
    """
    folders = [path.parent, *path.parent.parents]
    for folder in folders[: folders.index(top) + 1]:
        for name in INFO_NAMES:
            if (folder / name).is_file():
                return _features_from_json(folder / name)
        if (folder / README_NAME).is_file() and (
            features := _features_from_readme(folder / README_NAME)
        ):
            return features
    return {}


def find_tag_names(feature: object) -> list[str] | None:
    """The names in the feature of a column of tags; None if it has none."""
    # At any depth: {"feature": {"names": [...]}} in JSON,
    # {"sequence": {"class_label": {"names": {"0": ...}}}} in a README.
    if isinstance(feature, list):  # an older form of a sequence
        return next(filter(None, map(find_tag_names, feature)), None)
    if not isinstance(feature, dict):
        return None
    names = feature.get("names")
    if isinstance(names, dict):
        # A number that is left out would give its name to another tag.
        names = [names.get(str(number)) for number in range(len(names))]
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    inner = (feature.get(key) for key in ("feature", "sequence", "list", "class_label"))
    return next(filter(None, map(find_tag_names, inner)), None)


def _features_from_json(path: Path) -> Mapping[str, Any]:
    try:
        info = json.loads(read_whole_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path} is not JSON, or breaks off: download it again", code="dataset-info-broken"
        ) from error
    # An older file has the info of each configuration.
    infos = [info, *info.values()] if isinstance(info, dict) else []
    found = [one["features"] for one in infos if isinstance(one, dict) and one.get("features")]
    return found[0] if found and isinstance(found[0], dict) else {}


def _features_from_readme(path: Path) -> Mapping[str, Any]:
    # As in the JSON file: {"ner_tags": {"feature": {"names": [...]}}}.
    parts = LINE_END_PATTERN.sub("\n", read_whole_text(path)).split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        # Scalars stay texts: a date that is none is no fault here, and a tag may be "NO".
        header = yaml.load(parts[1], Loader=yaml.BaseLoader)  # noqa: S506 (makes no objects)
    except (yaml.YAMLError, RecursionError):
        return {}
    info = header.get("dataset_info") if isinstance(header, dict) else None
    info = info[0] if isinstance(info, list) and info else info
    features = info.get("features") if isinstance(info, dict) else None
    if not isinstance(features, list):
        return {}
    return {
        one["name"]: one
        for one in features
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    }
