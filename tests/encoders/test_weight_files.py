"""Weights are written the same each time, and only the right ones are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from encoders import WrongSetting, WrongSpec
from encoders.weight_files import packaged_weights, weights_from, write_weights

TENSORS = {"b": torch.arange(6, dtype=torch.float16).reshape(2, 3), "a": torch.ones(3)}
ABOUT = {"encoder": "test", "steps": "7", "data": "made"}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    """Tensors, texts and the hash are those that were written."""
    path = tmp_path / "some.safetensors"
    sha256 = write_weights(path, TENSORS, ABOUT)
    found = weights_from(path, sha256)
    assert found.sha256 == sha256
    assert found.about == ABOUT
    assert {name: tensor.dtype for name, tensor in found.tensors.items()} == {
        "a": torch.float32,
        "b": torch.float16,
    }
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    """The order in which tensors and texts are given does not matter."""
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    write_weights(one, TENSORS, ABOUT)
    write_weights(other, dict(reversed(TENSORS.items())), dict(reversed(ABOUT.items())))
    assert one.read_bytes() == other.read_bytes()


def test_another_file_is_refused(tmp_path: Path) -> None:
    """Weights with another hash are not used in place of those that a dataset names."""
    path = tmp_path / "some.safetensors"
    write_weights(path, TENSORS, ABOUT)
    with pytest.raises(WrongSpec, match="expected 00000000"):
        weights_from(path, "0" * 64)


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    """A missing, empty or foreign file is named, with what to give instead."""
    path = tmp_path / "some.safetensors"
    with pytest.raises(WrongSetting, match="is no file"):
        weights_from("x" * 5000)
    with pytest.raises(WrongSetting, match="fifth train"):
        weights_from(path)
    for data in (b"", b"\x80\x04pickled", b"\xff" * 100):
        path.write_bytes(data)
        with pytest.raises(WrongSetting, match="no safetensors file"):
            weights_from(path)


def test_a_missing_packaged_file_says_so() -> None:
    """An installation without its weights is named as such."""
    with pytest.raises(WrongSpec, match="missing from this installation"):
        packaged_weights("no-such-encoder", "0" * 64)
