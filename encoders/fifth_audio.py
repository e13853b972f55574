"""`fifth-audio`: sound to 50 steps a second of 1 to 8 codes of 1,000, by a small network of our own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_codes, check_launch
from encoders.errors import WrongSetting
from encoders.precision import full_precision
from encoders.sound_network import HOP, RATE, SoundNetwork, shape_from
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray
from encoders.weight_files import Weights, packaged_weights, weights_from

STEPS_PER_CHUNK = 50
CHUNK = STEPS_PER_CHUNK * HOP
LAUNCH_CHUNKS = 16
WEIGHTS_SHA256 = "b4358617b8a1f4596f6c4f04b92ec7e728414426d6418fb1d7320e61db484a94"
"""Of the weights in the package."""


class FifthAudio:
    """Tokens of 24 kHz mono, [T', K]: K residual quantisers of 1,000 codes, 0.5 kbit/s each; 4 by default.

    Causal: a step sees the sound up to its own end and half a second back, whatever a clip was cut into.
    The codes of `codebooks=2` are the first two of `codebooks=4`. Samples outside [-1, 1] saturate and are
    counted; NaN becomes silence and is counted, too.

    The network is computed in float32, on a CPU one row at a time, so that a row's tokens can't depend on
    its neighbours. Other kinds of device may give other codes where a value lies on a border.
    """

    def __init__(self, device: torch.device, codebooks: int = 4, weights: str = "") -> None:
        found = weights_from(weights) if weights else packaged_weights("fifth-audio", WEIGHTS_SHA256)
        self.device = device
        self._network = _network(found, device)
        shape = self._network.shape
        if codebooks not in range(1, shape.stages + 1):
            raise WrongSetting(
                f"fifth-audio makes 1 to {shape.stages} codes a step, got codebooks={codebooks!r}"
            )
        self._codebooks = codebooks
        self._silence: Tensor | None = None
        self.spec = TokenSpec(
            encoder="fifth-audio",
            revision=1,
            kind="codes",
            dtype="uint16",
            axes="TK",
            shape=(codebooks,),
            strides=(HOP, 1),
            steps_per_chunk=STEPS_PER_CHUNK,
            codebook_sizes=(self._network.fsq.codebook_size,),
            exact_across_devices=False,
            weights_sha256=found.sha256,
            settings={"codebooks": codebooks} | ({"weights": weights} if weights else {}),
            input=InputSpec(
                medium="sound",
                dtype="float32",
                value_range=(-1.0, 1.0),
                axes="BCN",
                channels=1,
                launch_batch=LAUNCH_CHUNKS,
                chunk=CHUNK,
                context=shape.context_hops * HOP,
                rate=Fraction(RATE),
            ),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> FifthAudio:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, context + 24000] samples into codes [B, 50, K]."""
        check_launch(self, batch)
        samples = batch[:, 0]
        outside = torch.isnan(samples) | (samples.abs() > 1)
        samples = samples.nan_to_num(0.0).clamp(-1, 1)
        with full_precision(self.device):
            parts = torch.split(samples, 1) if self.device.type == "cpu" else (samples,)
            codes = torch.cat([self._codes(part) for part in parts])
        return TokenArray(codes.to(torch.uint16), saturated=outside[:, -CHUNK:].sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes [B, n * 50, K], n chunks from a clip's start, into samples [B, 1, n * 24000]."""
        check_codes(self, tokens)
        codes = tokens.data.to(self.device).to(torch.int64)
        with full_precision(self.device):
            rows = [self._network.samples(self._network.means(row)) for row in torch.split(codes, 1)]
        samples = torch.cat([codes.new_zeros((0, codes.shape[1] * HOP), dtype=torch.float32), *rows])
        return samples.clamp(-1, 1).unsqueeze(1).clone()

    def _codes(self, samples: Tensor) -> Tensor:
        """Return codes [B, 50, K]; those of a row of silence, which pads many a launch, are kept."""
        if len(samples) > 1 or bool(samples.any()):
            return self._network.codes(self._network.latents(samples), self._codebooks)
        if self._silence is None:
            self._silence = self._network.codes(self._network.latents(samples), self._codebooks)
        return self._silence


def _network(weights: Weights, device: torch.device) -> SoundNetwork:
    if weights.about.get("encoder") != "fifth-audio":
        named = weights.about.get("encoder", "something else")
        raise WrongSetting(f"these weights are of {named}, not of fifth-audio: give others")
    network = SoundNetwork(shape_from(json.loads(weights.about["shape"])))
    network.load_state_dict({name: value.to(torch.float32) for name, value in weights.tensors.items()})
    return network.to(device).eval().requires_grad_(False)
