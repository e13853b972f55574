"""The determinism probe: equal where tokens are equal, and a refusal where rows are not their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import encoders
from encoders import NotRepeatable, TokenArray, kept_probe, probe
from encoders.frames_fsq import FramesDct

PROBES = {
    "frames-dct": "0af9b5685383fc9e4755dd165245431f72f5b4b553c6f8e136555609be234230",
    "fifth-video": "5aa5e23a80d489a7b1df3e907457b108eb07a29844a79e4423194333e4c1ea67",
    "sound-mdct": "82e69ed3bd721fb17b23c9cddfddd18f4f3149af5befae3e537df1e0322e3096",
    "mulaw-256": "9013b1c97dec7eda7a5da327335bc9e9fae5089c30c7dad0bf20e0dc2c065545",
}
"""Of exact encoders, on every machine."""


@pytest.mark.parametrize("name", sorted(PROBES))
def test_exact_encoders_have_one_probe_everywhere(name: str) -> None:
    """The hash is a constant: made media and tokens are whole-number arithmetic."""
    settings: dict[str, Any] = {"size": 64} if encoders.medium_of(name) == "pictures" else {}
    assert probe(encoders.load_encoder(name, **settings)) == PROBES[name]


def test_other_settings_have_another_probe() -> None:
    """The hash tells encoders apart."""
    assert probe(encoders.load_encoder("frames-dct", size=64, tokens=4)) != PROBES["frames-dct"]


@pytest.mark.parametrize("name", ["jpeg", "logmel"])
def test_bytes_and_features_have_probes(name: str) -> None:
    """Ragged and continuous outputs are probed as well, with the same result each time."""
    settings: dict[str, Any] = {"size": 32} if name == "jpeg" else {}
    encoder = encoders.load_encoder(name, **settings)
    assert probe(encoder) == kept_probe(encoder.spec)


class HearsNeighbours(FramesDct):
    """Mixes in the row before, as no encoder may."""

    def encode(self, batch: Tensor) -> TokenArray:
        return super().encode(batch // 2 + batch.roll(1, 0) // 2)


class KnowsItsPlace(FramesDct):
    """Gives the first row other tokens."""

    def encode(self, batch: Tensor) -> TokenArray:
        made = super().encode(batch).data.to(torch.int32)
        made[0] = 65535 - made[0]
        return TokenArray(made.to(torch.uint16))


@pytest.mark.parametrize("careless", [HearsNeighbours, KnowsItsPlace])
def test_rows_that_are_not_their_own_are_found(careless: type[FramesDct]) -> None:
    """Tokens that follow a row's place or its neighbours are refused, with how many."""
    with pytest.raises(NotRepeatable, match="rows have other tokens in another place"):
        probe(careless(torch.device("cpu"), size=64))
