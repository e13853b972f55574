"""Where training of `fifth-audio` begins: not at noise, but at a transform coder of log spectra.

The principal components of log magnitudes pass straight through the network (blocks add nothing yet), each
quantiser takes the four components of which most is left, and the decoder turns them back into a spectrum.
Only the phases are noise. Everything may change from there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from encoders.sound_network import BINS, FRAMES_PER_STEP, LEVELS, SoundNetwork

SPREAD = 1.3
"""A component of deviation 1 goes through tanh(c / 1.3) …"""
BACK = 1.6
"""… and comes back as 1.6 times that: the straight line that fits best."""
QUIET = 0.1
"""What is not a component's way starts at a tenth of the usual size."""


@torch.no_grad()
def start_from(network: SoundNetwork, sounds: Iterable[Tensor]) -> None:
    """Set the linear parts of a new network by samples [B, N] of what it will be trained on."""
    logs = torch.cat([_logs(network, sound) for sound in sounds])
    mean = logs.mean(0)
    deviation = (logs - mean).square().mean().sqrt()
    network.log_mean.copy_(mean)
    network.log_deviation.fill_(float(deviation))
    centred = ((logs - mean) / deviation).to(torch.float64)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    latent = network.shape.latent
    values, vectors = values.flip(0)[:latent], vectors.flip(1)[:, :latent]
    vectors = vectors * vectors.sum(0).sign()  # eigh leaves the sign open
    _through_encoder(network, vectors.to(torch.float32))
    _through_stages(network, values.clamp(min=1e-9).numpy())
    _through_decoder(network, vectors.to(torch.float32))


def _logs(network: SoundNetwork, samples: Tensor) -> Tensor:
    return network.features(samples)[..., :BINS].flatten(0, 1)


def _through_encoder(network: SoundNetwork, vectors: Tensor) -> None:
    latent = vectors.shape[1]
    network.enter.weight[:, :BINS] *= QUIET
    network.enter.weight[:latent, BINS:] = 0
    network.enter.weight[:latent, :BINS] = vectors.T
    network.enter.bias[:latent] = 0
    network.squeeze.weight.mul_(QUIET)
    network.squeeze.weight[:, :latent] = torch.eye(latent)
    network.squeeze.bias.zero_()


def _through_stages(network: SoundNetwork, variances: np.ndarray) -> None:
    """Give each stage the four components of which most is left, as Huang and Schultheiss (1963) do bits."""
    left = variances.copy()
    for stage in network.stages:
        look, mean = stage.look, stage.mean
        for part in (look.weight, mean.weight, look.bias, mean.bias):  # type: ignore[union-attr]
            part.zero_()  # type: ignore[operator]
        taken = np.argsort(-left, kind="stable")[: len(LEVELS)]
        for slot, (place, levels) in enumerate(zip(taken.tolist(), LEVELS, strict=True)):
            size = float(np.sqrt(left[place]))
            look.weight[slot, place] = 1 / (SPREAD * size)  # type: ignore[operator, union-attr]
            mean.weight[place, slot] = BACK * size  # type: ignore[operator, union-attr]
            left[place] *= 2 / levels**2


def _through_decoder(network: SoundNetwork, vectors: Tensor) -> None:
    latent = vectors.shape[1]
    network.unfold.weight[:latent] = torch.eye(latent)
    network.unfold.bias[:latent] = 0
    network.magnitudes.weight.mul_(QUIET)
    network.magnitudes.weight[:, :latent] = vectors.repeat(FRAMES_PER_STEP, 1)
    network.magnitudes.bias.zero_()
