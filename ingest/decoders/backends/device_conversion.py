"""From decoded planes on a device to a small RGB picture on it: torch only, the same rules as on the CPU.

Hardware decoders give two planes: luma, and colour differences side by side at half the size (NV12; P010
and P016 with more bits). Each plane of the region that is seen is scaled by two small matrices, one for
lines and one for columns: exact area averages where it shrinks, bicubic where it grows. Then the small
picture is converted.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from ingest.decoders.colour import Colour, rgb_matrix
from ingest.geometry import Geometry, Region


def rgb_of_planes(
    luma: torch.Tensor,
    chroma: torch.Tensor,
    colour: Colour,
    width: int,
    height: int,
    region: Region,
    *,
    left_sited: bool = False,
) -> torch.Tensor:
    """Return uint8 [height, width, 3] on the planes' device.

    Args:
        luma: uint8 or uint16 [H, W]; 16 bits are filled from the top.
        chroma: [H / 2, W / 2, 2] of the same type: Cb and Cr.
        colour: how the samples are to be understood; `sdr`.
        width, height: of the result.
        region: what is seen of the picture, in its pixels.
        left_sited: whether colours lie on the left one of two pixels, and not between them.
    """
    left, top, seen_width, seen_height = region
    lines, columns = slice(top, top + seen_height), slice(left, left + seen_width)
    half_lines = slice(top // 2, (top + seen_height + 1) // 2)
    half_columns = slice(left // 2, (left + seen_width + 1) // 2)
    kind = "area" if width <= seen_width and height <= seen_height else "cubic"
    y = _scaled(_in_bytes(luma[lines, columns]), (seen_height, seen_width), (height, width), kind)
    differences = _in_bytes(chroma[half_lines, half_columns])
    half = (seen_height / 2, seen_width / 2)
    cb, cr = (_scaled(differences[..., k], half, (height, width), kind, left_sited) for k in range(2))
    rows = rgb_matrix(colour.weights, colour.full_range).tolist()
    channels = [row[0] * y + row[1] * cb + row[2] * cr + row[3] for row in rows]
    return torch.stack(channels, dim=2).round_().clamp_(0, 255).to(torch.uint8)


def arranged(scaled: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Mirror, turn, and pad a scaled region: what `ingest.geometry.arrange` does, on the device.

    Args:
        scaled: uint8 [scaled_height, scaled_width, 3].
        geometry: as `fit` returned it for this picture's stored size.

    Returns:
        uint8 [size, size, 3].
    """
    upright = scaled.flip(1) if geometry.mirrored else scaled
    upright = torch.rot90(upright, -geometry.rotation // 90, (0, 1))
    height, width = upright.shape[:2]
    square = upright.new_zeros((geometry.size, geometry.size, 3))
    square[geometry.top : geometry.top + height, geometry.left : geometry.left + width] = upright
    return square


def _in_bytes(plane: torch.Tensor) -> torch.Tensor:
    """Return samples as float32 on the scale of 8 bits."""
    if plane.dtype == torch.uint8:
        return plane.to(torch.float32)
    sixteen = plane.view(torch.int16).to(torch.int32) & 0xFFFF  # few operations know uint16
    return sixteen.to(torch.float32) / 256


def _scaled(
    plane: torch.Tensor,
    seen: tuple[float, float],
    wanted: tuple[int, int],
    kind: str,
    left_sited: bool = False,
) -> torch.Tensor:
    """Return float32 [H, W] of the wanted size; what is seen may end in the middle of the last pixel."""
    lines = weights(plane.shape[0], seen[0], wanted[0], kind).to(plane.device)
    shift = 0.25 if left_sited else 0.0
    columns = weights(plane.shape[1], seen[1], wanted[1], kind, shift).to(plane.device)
    return (lines @ plane @ columns.T).clamp_(0, 255)  # bicubic can overshoot


@lru_cache(maxsize=64)
def weights(stored: int, seen: float, wanted: int, kind: str, shift: float = 0) -> torch.Tensor:
    """Return float32 [wanted, stored]: how much each stored pixel counts for each wanted one.

    Every row sums to 1. What lies beyond the edge is the edge.

    Args:
        stored: pixels there are.
        seen: how many of them are seen, from the first on.
        wanted: pixels of the result.
        kind: `area`: wanted pixel i is the mean of [i, i + 1) * seen / wanted; where a plane grows all the
            same, straight lines between stored pixels. `cubic`: swscale's bicubic (B = 0, C = 0.6).
        shift: how far to the left the stored pixels lie of where they seem to, in stored pixels.
    """
    step = seen / wanted
    middles = (np.arange(wanted)[:, None] + 0.5) * step + shift
    reach = int(np.ceil(2 * max(1, step))) + 1
    pixels = np.arange(-reach, stored + reach)[None, :]
    if kind == "cubic":
        shares = _cubic((pixels + 0.5 - middles) / max(1, step))
    elif step >= 1:
        ends = np.minimum(middles + step / 2, pixels + 1)
        shares = np.clip(ends - np.maximum(middles - step / 2, pixels), 0, None)
    else:
        shares = np.clip(1 - np.abs(pixels + 0.5 - middles), 0, None)
    inside = shares[:, reach:-reach]
    inside[:, 0] += shares[:, :reach].sum(axis=1)
    inside[:, -1] += shares[:, -reach:].sum(axis=1)
    return torch.from_numpy((inside / inside.sum(axis=1, keepdims=True)).astype(np.float32))


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Mitchell and Netravali's cubic with B = 0, C = 0.6."""
    x, c = np.abs(distance), 0.6
    near = (2 - c) * x**3 - (3 - c) * x**2 + 1
    far = -c * x**3 + 5 * c * x**2 - 8 * c * x + 4 * c
    return np.where(x < 1, near, np.where(x < 2, far, 0))
