"""X-Codec 2 (arXiv 2502.04128) by transformers: 16 kHz speech to one code of 65,536 per 20 ms, not causal.

Rule: chunks of `seconds`, each encoded by itself. Beside the samples the model takes a mel filter bank of
Kaldi's make, standardised over the chunk, two frames of 10 ms side by side; it is computed here, and the
library's extractor (which needs torchaudio, and adds a step of silence) is not used.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import cut_or_filled, sound_input, whole_steps
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting
from encoders.mel import HOP, RATE, kaldi_mel

LAUNCH_CHUNKS = 2
BANDS = 80
EPSILON = 1e-7


class Xcodec2(Adapter):
    """Codes [T], 50 a second."""

    def __init__(self, device: torch.device, model: PretrainedModel, seconds: float = 2) -> None:
        self.device = device
        self._model = load_with("transformers", "Xcodec2Model", model, device)
        config = self._model.config
        hop = config.hop_length
        if config.sampling_rate != RATE or hop != 2 * HOP:
            raise WrongSetting(f"{model.name} does not take {RATE} Hz in steps of {2 * HOP} samples")
        steps = whole_steps(model.name, seconds, RATE, hop)
        self.spec = spec_of(
            Xcodec2,
            model,
            sound_input(RATE, steps * hop, LAUNCH_CHUNKS),
            axes="T",
            shape=(),
            strides=(hop,),
            steps=steps,
            codebook_sizes=(prod(config.quantization_levels),),
            settings={"seconds": seconds},
        )

    def _encode(self, media: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(media[:, 0], (HOP, HOP))
        mel = kaldi_mel(padded, BANDS)
        mel = (mel - mel.mean(1, keepdim=True)) / (mel.var(1, keepdim=True) + EPSILON).sqrt()
        pairs = mel.reshape(len(mel), -1, 2 * BANDS)
        codes: Tensor = self._model.encode(media, pairs).audio_codes
        return codes[:, 0]

    def _reconstruct(self, codes: Tensor) -> Tensor:
        sound = self._model.decode(audio_codes=codes[:, None]).audio_values
        return cut_or_filled(sound.reshape(len(codes), 1, -1), self.spec.input.chunk)
