"""Finding pretrained models, knowing them by their weights, and refusing what is not whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

import encoders
from encoders import ModelNotFound, WrongInput, WrongSetting
from encoders.adapters.model_files import find_model, model_at
from encoders.adapters.weights import load_tensors, weights_sha256
from encoders.registry import MODELS_VARIABLE


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.made("siglip", tmp_path_factory.mktemp("found") / "siglip-tiny")


def test_a_model_is_its_tensors_whatever_the_file(tmp_path: Path) -> None:
    """The same tensors have one hash as .pth and as .safetensors, in any order and number of files."""
    tensors = {"b.weight": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "all.safetensors")
    torch.save(dict(reversed(tensors.items())), tmp_path / "all.pth")
    for name in tensors:
        save_file({name: tensors[name]}, tmp_path / f"{name[0]}.safetensors")
    wanted = weights_sha256([tmp_path / "all.safetensors"])
    assert weights_sha256([tmp_path / "all.pth"]) == wanted
    assert weights_sha256([tmp_path / "b.safetensors", tmp_path / "a.safetensors"]) == wanted
    save_file(tensors | {"a": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "other.safetensors")
    assert weights_sha256([tmp_path / "other.safetensors"]) != wanted


def test_a_file_that_runs_code_is_not_opened(tmp_path: Path) -> None:
    """A pickle with anything but tensors is refused, and nothing in it runs."""
    torch.save({"weights": Path("x")}, tmp_path / "taebad_encoder.pth")
    with pytest.raises(ModelNotFound, match="can't be read as weights"):
        load_tensors(tmp_path / "taebad_encoder.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 16)
    with pytest.raises(ModelNotFound, match="no safetensors file"):
        weights_sha256([tmp_path / "cut.safetensors"])


def test_models_go_by_the_last_part_of_their_name(siglip: Path) -> None:
    """A folder's own name is the model's; the path above it is nowhere in the spec."""
    encoder = encoders.load_encoder(f"hf:{siglip}")
    assert encoder.spec.encoder == "hf:siglip-tiny"
    assert str(siglip.parent) not in json.dumps(encoder.spec.to_json())


def test_a_snapshot_in_the_cache_of_a_hub_has_its_repositorys_name(siglip: Path, tmp_path: Path) -> None:
    """The folder of a snapshot is called by a commit; the model is called by its repository."""
    snapshot = tmp_path / "models--someone--vision-tiny" / "snapshots" / "0a1b2c"
    shutil.copytree(siglip, snapshot)
    assert find_model(f"hf:{snapshot}").name == "vision-tiny"


def test_a_moved_model_is_found_by_its_weights(
    siglip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another name, among the models of FIFTH_MODELS, it is still the one that made the tokens."""
    spec = encoders.load_encoder(f"hf:{siglip}").spec
    shutil.copytree(siglip, tmp_path / "renamed")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    assert encoders.encoder_for(spec).spec == spec


def test_other_weights_are_not_taken_for_these(
    siglip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of the same name with other weights is refused; the message says so, and what to do."""
    spec = encoders.load_encoder(f"hf:{siglip}").spec
    copy = tmp_path / siglip.name
    shutil.copytree(siglip, copy)
    tensors = load_file(copy / "model.safetensors")
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] + 1}, copy / "model.safetensors", {"format": "pt"})
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    with pytest.raises(ModelNotFound, match=r"siglip-tiny is there with other weights.*FIFTH_MODELS"):
        encoders.encoder_for(spec)


def test_missing_weights_are_not_made_up(siglip: Path, tmp_path: Path) -> None:
    """A checkpoint that lacks a tensor is refused: the library would fill it with noise."""
    copy = tmp_path / "lacking"
    shutil.copytree(siglip, copy)
    tensors = load_file(copy / "model.safetensors")
    dropped = next(name for name in tensors if "encoder" in name)
    save_file(
        {name: t for name, t in tensors.items() if name != dropped},
        copy / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ModelNotFound, match="lacks 1 weights"):
        encoders.load_encoder(f"hf:{copy}")


def test_folders_without_a_known_model_say_what_they_lack(tmp_path: Path) -> None:
    """No config, an unknown kind, no weights, and no such place are told apart."""
    with pytest.raises(ModelNotFound, match=r"neither config\.json nor encoder\.jit"):
        model_at(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelNotFound, match="kind 'llama' has no adapter"):
        model_at(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(ModelNotFound, match="no weights; it has none of"):
        model_at(tmp_path)
    with pytest.raises(ModelNotFound, match="no such folder or file"):
        find_model("hf:/nowhere/at/all/x y")
    lone = tmp_path / "unknown.pth"
    lone.write_bytes(b"")
    with pytest.raises(ModelNotFound, match="no weight file that is known by its name"):
        find_model(f"hf:{lone}")


@pytest.mark.parametrize(
    ("family", "settings", "what"),
    [
        ("siglip", {"size": 128}, "takes pictures of 64 pixels only"),
        ("siglip", {"output": "all"}, "output must be pooled or patches"),
        ("wan", {"frames": 8}, r"1 \+ a multiple of 4, got 8 \(nearest: 9\)"),
        ("encodec", {"kbps": 7}, "kbps must be one of"),
        ("mimi", {"codebooks": 99}, "codebooks must be 1 to 8"),
        ("vjepa2", {"frames": 3}, "frames must be a multiple of 2"),
        ("mimi", {"seconds": 0}, "seconds must be more than 0"),
    ],
)
def test_settings_that_a_model_would_bend_are_refused(
    tmp_path: Path, family: str, settings: dict[str, Any], what: str
) -> None:
    """Lengths, sizes and rates outside a model's rule are refused, not cut or made up."""
    path = tiny_models.made(family, tmp_path / family)
    with pytest.raises(WrongSetting, match=what):
        encoders.load_encoder(f"hf:{path}", **settings)


def test_sizes_between_patches_are_refused(tmp_path: Path) -> None:
    """A size that is no multiple of the patch is refused with the nearest that are."""
    path = tiny_models.made("dinov2", tmp_path / "dino")
    with pytest.raises(WrongInput, match=r"multiples of 14 \(nearest: 252x252"):
        encoders.load_encoder(f"hf:{path}", size=256)
