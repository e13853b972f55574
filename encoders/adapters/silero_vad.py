"""Silero VAD from its bare weights: the probability that a window of 32 ms is speech.

Rule: the network carries a state from window to window, which a launch can't: each chunk of 32 windows
(1.024 s) begins without one, and is preceded by as many windows of context that only build it up. Windows
are 512 samples of 16 kHz, each with the 64 before it. The network is that of the authors'
`silero_vad_16k.safetensors` (MIT): a learned STFT, four convolutions, an LSTM cell, a sigmoid.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from encoders.adapters.adapter import Adapter, spec_of
from encoders.adapters.media import sound_input
from encoders.adapters.model_files import PretrainedModel
from encoders.adapters.weights import load_tensors
from encoders.errors import ModelNotFound

RATE = 16_000
WINDOW, BEFORE = 512, 64
CHUNK_WINDOWS = WARM_WINDOWS = 32
CONVOLUTIONS = (("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1))


class SileroVad(Adapter):
    """Features [T, 1] in float16: probabilities, 31.25 a second."""

    def __init__(self, device: torch.device, model: PretrainedModel) -> None:
        self.device = device
        self._weights = {name: tensor.to(device) for name, tensor in load_tensors(model.path).items()}
        wanted = {"stft_conv.weight", "final_conv.weight", "lstm_cell.weight_ih"}
        if not wanted <= set(self._weights):
            raise ModelNotFound(f"{model.name}: not the 16 kHz weights of Silero VAD")
        self.spec = spec_of(
            SileroVad,
            model,
            sound_input(RATE, CHUNK_WINDOWS * WINDOW, 8, context=WARM_WINDOWS * WINDOW + BEFORE),
            axes="TD",
            shape=(1,),
            strides=(WINDOW, 1),
            steps=CHUNK_WINDOWS,
            reconstructs=False,
            settings={},
        )

    def _encode(self, media: Tensor) -> Tensor:
        windows = media[:, 0].nan_to_num(0.0).clamp(-1, 1).unfold(1, BEFORE + WINDOW, WINDOW)
        seen = self._seen(windows.flatten(0, 1)).reshape(*windows.shape[:2], -1)
        state = torch.zeros(2, len(media), seen.shape[-1], device=media.device)
        found = []
        for step in range(seen.shape[1]):
            state = self._next(seen[:, step], state)
            found.append(self._speech(state[0]))
        return torch.stack(found[WARM_WINDOWS:], dim=1)

    def _seen(self, windows: Tensor) -> Tensor:
        """Return what the convolutions make of windows [R, 576]: [R, 128]."""
        padded = F.pad(windows[:, None], (0, BEFORE), mode="reflect")
        real, imaginary = F.conv1d(padded, self._weights["stft_conv.weight"], stride=128).chunk(2, dim=1)
        seen = (real.square() + imaginary.square()).sqrt()
        for name, stride in CONVOLUTIONS:
            weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
            seen = F.conv1d(seen, weight, bias, stride=stride, padding=1).relu()
        return seen.squeeze(-1)

    def _next(self, seen: Tensor, state: Tensor) -> Tensor:
        """Return the LSTM cell's state [2, B, 128] after one window."""
        w = self._weights
        gates = F.linear(seen, w["lstm_cell.weight_ih"], w["lstm_cell.bias_ih"])
        gates = gates + F.linear(state[0], w["lstm_cell.weight_hh"], w["lstm_cell.bias_hh"])
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
        return torch.stack([leave.sigmoid() * cell.tanh(), cell])

    def _speech(self, hidden: Tensor) -> Tensor:
        weight, bias = self._weights["final_conv.weight"], self._weights["final_conv.bias"]
        return F.linear(hidden.relu(), weight[..., 0], bias).sigmoid()
