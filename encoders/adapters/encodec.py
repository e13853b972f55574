"""EnCodec (arXiv 2210.13438) by transformers: sound to residual codes, causal, 75 steps a second at 24 kHz.

Rule: chunks of `seconds`, each encoded by itself; any length within is padded with silence. Models that
normalise the loudness of each chunk (48 kHz) are refused: their scale has no place among the codes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.adapters.adapter import Adapter, load_with, spec_of
from encoders.adapters.media import cut_or_filled, sound_input, whole_steps
from encoders.adapters.model_files import PretrainedModel
from encoders.errors import WrongSetting

LAUNCH_CHUNKS = 4


class Encodec(Adapter):
    """Codes [T, K]; K follows from `kbps`, one of the model's bandwidths (6, or its largest)."""

    def __init__(
        self, device: torch.device, model: PretrainedModel, seconds: float = 2, kbps: float | None = None
    ) -> None:
        self.device = device
        self._model = load_with("transformers", "EncodecModel", model, device)
        config = self._model.config
        if config.normalize or config.chunk_length_s:
            raise WrongSetting(
                f"{model.name} normalises each chunk by its loudness, which codes alone do not bring back: "
                "take a model that does not (24 kHz)"
            )
        known = [float(bandwidth) for bandwidth in config.target_bandwidths]
        self._kbps = float(kbps) if kbps is not None else 6.0 if 6.0 in known else max(known)
        if self._kbps not in known:
            raise WrongSetting(f"{model.name}: kbps must be one of {known}, got {kbps}")
        books = self._model.quantizer.get_num_quantizers_for_bandwidth(self._kbps)
        hop = config.hop_length
        steps = whole_steps(model.name, seconds, config.sampling_rate, hop)
        self.spec = spec_of(
            Encodec,
            model,
            sound_input(config.sampling_rate, steps * hop, LAUNCH_CHUNKS, config.audio_channels),
            axes="TK",
            shape=(books,),
            strides=(hop, 1),
            steps=steps,
            codebook_sizes=(config.codebook_size,),
            settings={"seconds": seconds, "kbps": self._kbps},
        )

    def _encode(self, media: Tensor) -> Tensor:
        mask = torch.ones_like(media[:, :1], dtype=torch.bool)
        codes: Tensor = self._model.encode(media, mask, self._kbps).audio_codes
        return codes[0].transpose(1, 2)

    def _reconstruct(self, codes: Tensor) -> Tensor:
        sound = self._model.decode(codes.transpose(1, 2)[None], [None])[0]
        return cut_or_filled(sound, self.spec.input.chunk)
