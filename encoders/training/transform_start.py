"""Where the training of `fifth-video` starts: a transform coder, fitted to samples in seconds.

The linear parts of the network alone are one. For each group and stage in turn, the encoder's take the
principal components (Karhunen-Loeve transform) of what is left of a block once the codes that are known
have said their part, scaled so that tanh and the levels lose least; the decoder's are the least squares fit
from all that was said, of the block itself and of those around it, to the block.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from encoders.haar import forward_haar
from encoders.video_network import CELLS, GROUPS, VideoNetwork, blocks_of, known_of

ITERATIONS = 12
"""Of subspace iteration: enough for components whose variances are close."""
SCALES = (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5, 3.2)
"""Candidates for what a latent of 1 stands for, in standard deviations."""
RIDGE, RIDGE_AROUND = 1e-5, 1e-2
"""Of the mean square of the inputs: keeps the many weights for blocks around from learning by heart."""


def start_from_transform(network: VideoNetwork, chunks: Iterable[Tensor]) -> None:
    """Set the linear parts of a network; what is learned on top of them is zero already.

    Args:
        network: changed in place; on the CPU.
        chunks: float32 [N, 8, 3, H, W] in [-1, 1]. All blocks of all of them are held: 24 KiB each.
    """
    with torch.no_grad():
        pieces = [blocks_of(forward_haar(chunk)) for chunk in chunks]
        groups = [torch.cat([piece[:, group] for piece in pieces]) for group in range(GROUPS)]
        del pieces
        said: list[list[Tensor]] = [[] for _ in groups]
        for group, blocks in enumerate(groups):
            for stage in range(network.shape.stages):
                said[group].append(_start_encoder(network, blocks, said, group, stage))
        for stage in range(network.shape.stages):
            _start_decoder(network, groups, said, stage)


def _start_encoder(
    network: VideoNetwork, blocks: Tensor, said: list[list[Tensor]], group: int, stage: int
) -> Tensor:
    """Set one group's and stage's part of the encoder, and return what it says of all blocks."""
    encoder, size = network.encoder, network.shape.latents
    known = known_of(said, group, stage)
    flat = blocks.flatten(0, -2)
    if known:
        weight, bias = _least_squares(torch.cat(known, -1).flatten(0, -2), flat)
        left = flat - torch.cat(known, -1).flatten(0, -2) @ weight - bias
    else:
        bias = flat.mean(0)
        left = flat - bias
    components = principal_components(left, size)
    latents = left @ components
    projection = components / _scales(network, latents)
    rows = slice(stage * size, (stage + 1) * size)
    linear = encoder.linear[group]
    assert isinstance(linear, nn.Linear)
    linear.weight[rows] = projection.T
    linear.bias[rows] = -(bias @ projection)
    if known:
        told = encoder.said[f"{group}-{stage}"]
        assert isinstance(told, nn.Linear)
        told.weight.copy_(-(weight @ projection).T)
    places = network.shape.fsq.places(_dealt(left @ projection, len(network.shape.levels)))
    return network.spoken(places).reshape(*blocks.shape[:-1], -1)


def _start_decoder(network: VideoNetwork, groups: list[Tensor], said: list[list[Tensor]], stage: int) -> None:
    decoder = network.decoder
    still, linear = decoder.still[stage], decoder.linear[stage]
    assert isinstance(still, nn.Linear)
    assert isinstance(linear, nn.Linear)
    alone = torch.cat(said[0][: stage + 1], -1)
    _set(still, *_least_squares(alone.flatten(0, -2), groups[0].flatten(0, -2)))
    heard = torch.cat([part for stages in said for part in stages[: stage + 1]], -1)
    around = _neighbourhoods(heard)
    rank = network.shape.around
    for group, blocks in enumerate(groups):
        wanted = blocks.flatten(0, -2)
        rows = slice(group * wanted.shape[1], (group + 1) * wanted.shape[1])
        weight, bias = _least_squares(heard.flatten(0, -2), wanted)
        linear.weight[rows], linear.bias[rows] = weight.T, bias
        left = wanted - heard.flatten(0, -2) @ weight - bias
        half = rank // GROUPS
        into, out = _narrow_fit(around, left, half)
        places = slice(group * half, (group + 1) * half)
        _part(decoder.hear_around[stage])[places] = (
            into.T.reshape(half, 9, -1).transpose(1, 2).reshape(half, -1, 3, 3)
        )
        _part(decoder.from_around[stage])[rows, places] = out.T


def _part(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight.T)
    layer.bias.copy_(bias)


def _neighbourhoods(heard: Tensor) -> Tensor:
    """Turn [N, h, w, C] into [N h w, 9 C]: each block's neighbours row by row, the edge repeated."""
    planes = nn.functional.pad(heard.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
    height, width = heard.shape[1:3]
    shifted = [planes[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.cat(shifted, dim=-1).flatten(0, -2)


def _narrow_fit(inputs: Tensor, wanted: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the best linear map as two: [I, rank] and [rank, O] (reduced rank regression, without bias)."""
    weight, _ = _least_squares(inputs, wanted, RIDGE_AROUND)
    centred = inputs - inputs.mean(0)
    directions = principal_components(centred @ weight, rank)
    return weight @ directions, directions.T


def principal_components(samples: Tensor, count: int) -> Tensor:
    """Return the orthonormal directions [D, count] of most variance, the first one first."""
    covariance = (samples.T @ samples) / len(samples)
    start = torch.randn(len(covariance), count + 8, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(start)[0]
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(covariance @ basis)[0]
    _, vectors = torch.linalg.eigh(basis.T @ covariance @ basis)
    directions: Tensor = basis @ vectors.flip(-1)[:, :count]
    return directions


def _dealt(latents: Tensor, dimensions: int) -> Tensor:
    """Deal latents [.., 4 * D] to cells [.., 4, D]: the first four are dimension 0 of each, and so on."""
    return latents.reshape(*latents.shape[:-1], dimensions, CELLS).transpose(-1, -2)


def _scales(network: VideoNetwork, latents: Tensor) -> Tensor:
    """Return for each latent what 1 shall stand for: the candidate with the least error after rounding."""
    dimensions = len(network.shape.levels)
    deviation = latents.std(0).clamp(min=1e-6)
    errors = []
    for factor in SCALES:
        places = network.shape.fsq.places(_dealt(latents / (factor * deviation), dimensions))
        said = network.spoken(places)
        values, undone = said.reshape(*said.shape[:-1], CELLS, 2 * dimensions).chunk(2, dim=-1)
        errors.append(
            _error_of_fit(latents, [part.transpose(-1, -2).flatten(-2) for part in (values, undone)])
        )
    return torch.tensor(SCALES)[torch.stack(errors).argmin(0)] * deviation


def _error_of_fit(latents: Tensor, guesses: list[Tensor]) -> Tensor:
    """Return the mean squared error of each latent [K] after its best linear fit from two guesses."""
    design = torch.stack([*guesses, torch.ones_like(latents)], dim=-1).permute(1, 0, 2)
    wanted = latents.T.unsqueeze(-1)
    gram = (design.mT @ design).to(torch.float64) / len(latents) + 1e-9 * torch.eye(3, dtype=torch.float64)
    weights = torch.linalg.solve(gram, (design.mT @ wanted).to(torch.float64) / len(latents))
    errors: Tensor = (wanted - design @ weights.to(torch.float32)).square().mean((1, 2))
    return errors


def _least_squares(inputs: Tensor, wanted: Tensor, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Return weight [I, O] and bias [O] of the best linear map."""
    mean_in, mean_out = inputs.mean(0), wanted.mean(0)
    centred = inputs - mean_in
    gram = (centred.T @ centred).to(torch.float64) / len(inputs)
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    cross = (centred.T @ (wanted - mean_out)).to(torch.float64) / len(inputs)
    weight = torch.linalg.solve(gram, cross).to(torch.float32)
    return weight, mean_out - mean_in @ weight
