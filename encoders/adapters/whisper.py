"""Whisper's encoder (arXiv 2212.04356) by transformers: embeddings of 16 kHz sound.

Rule: the model hears windows of 30 s and nothing shorter; a chunk of `seconds` (4, at most 30) is put at the
beginning of one, silence behind it, and the steps of the chunk are kept, 50 a second. `output=pooled` (usual)
is their mean over each second, `output=steps` are all. No sound comes back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import sound_input
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting
from encoders.mel import HOP, RATE, whisper_mel

OUTPUTS = ("pooled", "steps")
WINDOW_SECONDS = 30


class Whisper(Adapter):
    """Features [T, D] in float16, one a second or 50."""

    def __init__(
        self, device: torch.device, model: PretrainedModel, seconds: int = 4, output: str = "pooled"
    ) -> None:
        if output not in OUTPUTS:
            raise WrongSetting(f"{model.name}: output must be pooled or steps, got {output!r}")
        if not isinstance(seconds, int) or not 1 <= seconds <= WINDOW_SECONDS:
            raise WrongSetting(f"{model.name}: seconds must be 1 to {WINDOW_SECONDS}, whole, got {seconds!r}")
        self.device, self._output, self._seconds = device, output, seconds
        self._model = load_with("transformers", "WhisperModel", model, device).encoder
        config = self._model.config
        self._bands = int(config.num_mel_bins)
        self._steps = int(config.max_source_positions) // WINDOW_SECONDS
        per_second = 1 if output == "pooled" else self._steps
        if 2 * config.max_source_positions != WINDOW_SECONDS * RATE // HOP:
            raise WrongSetting(f"{model.name} does not hear windows of {WINDOW_SECONDS} s")
        self.spec = spec_of(
            Whisper,
            model,
            sound_input(RATE, seconds * RATE, 2),
            axes="TD",
            shape=(int(config.d_model),),
            strides=(RATE // per_second, 1),
            steps=seconds * per_second,
            reconstructs=False,
            settings={"seconds": seconds, "output": output},
        )

    def _encode(self, media: Tensor) -> Tensor:
        silence = WINDOW_SECONDS * RATE - media.shape[-1]
        window = torch.nn.functional.pad(media[:, 0].nan_to_num(0.0).clamp(-1, 1), (0, silence))
        seen: Tensor = self._model(whisper_mel(window, self._bands)).last_hidden_state
        kept = seen[:, : self._seconds * self._steps]
        if self._output == "steps":
            return kept
        return kept.reshape(len(kept), self._seconds, self._steps, -1).mean(2)
