"""Descript Audio Codec (arXiv 2306.06546) by transformers: sound to residual codes, not causal.

Rule: chunks of `seconds`, rounded up to whole steps, each encoded by itself: the first and last steps of a
chunk know less than those within. The decoder gives a few samples fewer than went in; silence fills them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import cut_or_filled, sound_input, whole_steps
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting

LAUNCH_CHUNKS = 4


class Dac(Adapter):
    """Codes [T, K]; K is `codebooks`, all of the model's unless told."""

    def __init__(
        self, device: torch.device, model: PretrainedModel, seconds: float = 2, codebooks: int | None = None
    ) -> None:
        self.device = device
        self._model = load_with("transformers", "DacModel", model, device)
        config = self._model.config
        self._books = config.n_codebooks if codebooks is None else codebooks
        if not 1 <= self._books <= config.n_codebooks:
            raise WrongSetting(f"{model.name}: codebooks must be 1 to {config.n_codebooks}, got {codebooks}")
        hop = config.hop_length
        steps = whole_steps(model.name, seconds, config.sampling_rate, hop)
        self.spec = spec_of(
            Dac,
            model,
            sound_input(config.sampling_rate, steps * hop, LAUNCH_CHUNKS),
            axes="TK",
            shape=(self._books,),
            strides=(hop, 1),
            steps=steps,
            codebook_sizes=(config.codebook_size,),
            settings={"seconds": seconds, "codebooks": self._books},
        )

    def _encode(self, media: Tensor) -> Tensor:
        codes: Tensor = self._model.encode(media, n_quantizers=self._books).audio_codes
        return codes.transpose(1, 2)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        sound = self._model.decode(audio_codes=codes.transpose(1, 2)).audio_values
        return cut_or_filled(sound.reshape(len(codes), 1, -1), self.spec.input.chunk)
