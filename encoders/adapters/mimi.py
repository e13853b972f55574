"""Mimi (arXiv 2410.00037) by transformers: 24 kHz sound to 12.5 steps of codes a second, causal.

Rule: chunks of `seconds`, rounded up to whole steps of 0.08 s (2 s are 25). The encoder of the library
ignores its padding mask; a launch is always full, so nothing depends on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import cut_or_filled, sound_input, whole_steps
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting

LAUNCH_CHUNKS = 4
USUAL_CODEBOOKS = 8


class Mimi(Adapter):
    """Codes [T, K]; K is `codebooks`, 8 unless told. The first one carries meaning, the others sound."""

    def __init__(
        self, device: torch.device, model: PretrainedModel, seconds: float = 2, codebooks: int | None = None
    ) -> None:
        self.device = device
        self._model = load_with("transformers", "MimiModel", model, device)
        config = self._model.config
        most = config.num_quantizers
        self._books = min(USUAL_CODEBOOKS, most) if codebooks is None else codebooks
        if not 1 <= self._books <= most:
            raise WrongSetting(f"{model.name}: codebooks must be 1 to {most}, got {codebooks}")
        hop = round(config.sampling_rate / config.frame_rate)
        steps = whole_steps(model.name, seconds, config.sampling_rate, hop)
        self.spec = spec_of(
            Mimi,
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
        codes: Tensor = self._model.encode(media, num_quantizers=self._books).audio_codes
        return codes.transpose(1, 2)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        return cut_or_filled(self._model.decode(codes.transpose(1, 2)).audio_values, self.spec.input.chunk)
