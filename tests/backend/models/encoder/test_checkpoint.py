"""Folders of encoder versions: round trips, and no code in them is run."""

import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, DebertaV2Config, MistralConfig, PretrainedConfig, RobertaConfig

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.encoder.checkpoint import load_encoder, max_positions
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.ner.document import Document
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest
from tagalong.ner.tags import TagSet
from tests.errors import raises
from tests.toy_corpus import LABELS

TEXT = "Naloxone reverses the antihypertensive effect of clonidine."
CPU = torch.device("cpu")


@pytest.fixture
def base(tiny_base: Callable[[str], Path]) -> BaseModelRef:
    return BaseModelRef(str(tiny_base("bert-uncased")))


@pytest.fixture
def folder(base: BaseModelRef, tmp_path: Path) -> Path:
    """Folder of a version with an untrained model."""
    torch.manual_seed(0)
    model = base.load_token_classifier(TagSet(LABELS).tag_names)
    save_model(model, base.load_tokenizer(), tmp_path, base=base)
    return tmp_path


@pytest.fixture
def adapter(base: BaseModelRef, tmp_path: Path) -> Path:
    """Folder of a version with an untrained adapter."""
    model = base.load_token_classifier(TagSet(LABELS).tag_names)
    adapted = get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.TOKEN_CLS,
            target_modules="all-linear",
            exclude_modules=["classifier"],
        ),
    )
    save_model(adapted, base.load_tokenizer(), tmp_path, base=base)
    return tmp_path


def load(folder: Path, base: str = "nowhere", **config: Any) -> EncoderTagger:
    manifest = Manifest(
        tier="encoder",
        name="tiny",
        version="tiny-1",
        created="2026-01-01T00:00:00Z",
        base=base,
        labels=LABELS,
        config=config,
        files={},
    )
    return load_encoder(folder, manifest, device=CPU)


def logits(tagger: EncoderTagger) -> np.ndarray:
    return tagger.run(tagger.encode([Document("d", TEXT)]))[0]


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        ({"schedule": {"precision": "bf16"}}, "bf16"),
        ({"schedule": {"precision": "fp32"}}, "fp32"),
        ({"schedule": {}}, "auto"),
        ({}, "auto"),
    ],
)
def test_version_is_served_in_its_evaluated_precision(
    folder: Path, config: Mapping[str, Any], precision: str
) -> None:
    assert load(folder, **config).runner.precision == precision


def test_manifest_precision_is_used(folder: Path) -> None:
    exact, rounded = (
        logits(load(folder, schedule={"precision": precision})) for precision in ("fp32", "bf16")
    )
    assert rounded == pytest.approx(exact, abs=0.05)
    assert (rounded != exact).any()


def test_remote_code_in_a_version_is_never_run(
    base: BaseModelRef, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(adapter, base.reference).predict([Document("d", TEXT)])
    trace = adapter / "was_run"
    (adapter / "foreign.py").write_text(f"open({str(trace)!r}, 'w')\nclass Foreign: pass\n")
    path = adapter / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {
        "tokenizer_class": "Foreign",
        "auto_map": {"AutoTokenizer": ["foreign.Foreign", "foreign.Foreign"]},
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with raises(VersionInvalid, "version-not-loadable"):
        load(adapter, base.reference)
    assert not trace.exists()
    assert not sys.stdin.tell()  # no prompt was shown


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (BertConfig(max_position_embeddings=512), 512),
        (RobertaConfig(max_position_embeddings=514), 512),
        (MistralConfig(max_position_embeddings=4096), 4096),
        (DebertaV2Config(max_position_embeddings=512, position_biased_input=False), 512),
        (PretrainedConfig(), None),
    ],
)
def test_max_positions_of_models(config: PretrainedConfig, limit: int | None) -> None:
    model = torch.nn.Module()
    model.config = config
    assert max_positions(model) == limit


def test_adapter_config_is_the_same_in_every_process(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert len(config["target_modules"]) > 3
    for name in ("target_modules", "exclude_modules"):
        assert config[name] == sorted(config[name])
