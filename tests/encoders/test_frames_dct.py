"""`frames-dct` on pictures whose answer is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import block_class_fit, load_encoder
from encoders.allotment import DIGITS
from encoders.block_classes import AC_PLACES, CLASS_COUNT, TABLE, class_exponents, exponent_lines
from encoders.block_transform import UNIT_BITS, BlockTransform, zone
from encoders.class_coder import SCALE_BITS
from encoders.frames_fsq import HALF_SHIFT, class_costs, class_fields, field_levels
from encoders.launch import encode_clip, reconstruct_clip

EVERY_COUNT = pytest.mark.parametrize("tokens", [4, 8, 16])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products on a machine that others use, too, are many times faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def there_and_back(frames: Tensor, tokens: int) -> Tensor:
    encoder = load_encoder("frames-dct", size=list(frames.shape[-2:]), tokens=tokens)
    made = encode_clip(encoder, frames)
    return reconstruct_clip(encoder, made.tokens, made.valid)


def twin_tokens(row: list[int], tokens: int) -> list[int]:
    """The slow twin: one block's coefficients to tokens, in Python's integers."""
    halves = [(c + (1 << HALF_SHIFT - 1)) >> HALF_SHIFT for c in row]
    weights, biases = class_costs()
    costs = [
        sum(h * h * int(w) for h, w in zip(halves, weights[:, k], strict=True)) + int(biases[k])
        for k in range(CLASS_COUNT)
    ]
    number = costs.index(min(costs))
    result = [number << 11] + [0] * (tokens - 1)
    for field in class_fields(tokens)[number]:
        levels = field_levels(number, field)
        half_level = (1 << SCALE_BITS - 1) if levels.zero_inside else 0
        scaled = (row[field.place] + levels.bias) * levels.multiplier + half_level
        level = (scaled >> SCALE_BITS) + (1 << field.bits >> 1)
        result[field.token] += min(max(level, 0), (1 << field.bits) - 1) << field.shift
    return result


@EVERY_COUNT
def test_tokens_are_those_of_exact_arithmetic(tokens: int) -> None:
    """From coefficients on, every block's tokens are those of whole-number arithmetic."""
    random = np.random.default_rng(tokens)
    smooth = np.add.outer(np.arange(48), np.arange(64))[None, None] * np.array([1, 2, 3])[None, :, None, None]
    noise = random.integers(0, 1 + 255 * random.integers(0, 2, (1, 3, 48, 1)), (1, 3, 48, 64))
    frames = torch.from_numpy(
        np.concatenate([noise, smooth % 256, noise // 8 + smooth // 3]).astype(np.uint8)
    )
    encoder = load_encoder("frames-dct", size=[48, 64], tokens=tokens)
    coded = encode_clip(encoder, frames).tokens.reshape(-1, tokens)
    rows = BlockTransform(torch.device("cpu")).coefficients(frames).numpy().astype(np.int64).tolist()
    assert len(rows) == len(coded) == 36
    for row, codes in zip(rows, coded.tolist(), strict=True):
        assert codes == twin_tokens(row, tokens)


@EVERY_COUNT
def test_plain_colours_keep_their_colour(tokens: int) -> None:
    """Every grey, and the corners of the colour cube, come back to within 3 of 255 in every pixel."""
    greys = torch.arange(0, 256, 5, dtype=torch.uint8)[:, None].expand(-1, 3)
    corners = torch.cartesian_prod(*[torch.tensor([0, 255], dtype=torch.uint8)] * 3)
    colours = torch.cat([greys, corners])
    frames = colours[:, :, None, None].expand(-1, 3, 16, 16).contiguous()
    error = (there_and_back(frames, tokens).int() - frames.int()).abs()
    assert int(error.max()) <= 3
    assert float(error.float().mean()) < 1.0


@EVERY_COUNT
def test_more_tokens_are_better(tokens: int) -> None:
    """Texture comes back with a smaller error the more tokens it gets."""
    random = np.random.default_rng(3)
    coarse = np.kron(random.integers(60, 200, (1, 3, 16, 16)), np.ones((1, 1, 4, 4), np.int64))
    frames = torch.from_numpy(coarse.astype(np.uint8))
    error = (there_and_back(frames, tokens).double() - frames.double()).square().mean()
    limits = {4: 1400.0, 8: 1000.0, 16: 560.0}
    assert float(error) < limits[tokens]


def test_each_block_is_on_its_own() -> None:
    """Changing one block changes the tokens of that block alone."""
    encoder = load_encoder("frames-dct", size=[48, 64])
    frame = torch.randint(
        0, 256, (1, 3, 48, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    changed = frame.clone()
    changed[:, :, 16:32, 32:48] = 7
    before, after = (encode_clip(encoder, some).tokens[0] for some in (frame, changed))
    assert np.argwhere((before != after).any(axis=-1)).tolist() == [[1, 2]]


def test_launches_hold_as_many_pixels_whatever_the_size() -> None:
    """A launch has 2 Mpixel: 32 frames of 256 x 256, and never less than one."""
    assert load_encoder("frames-dct", size=256).spec.input.launch_batch == 32
    assert load_encoder("frames-dct", size=[1088, 1920]).spec.input.launch_batch == 1
    assert load_encoder("frames-dct", size=[2160, 3840]).spec.input.launch_batch == 1


def test_the_table_of_classes_is_whole() -> None:
    """32 classes of 130 variances, none beyond what stays exact; writing them gives the table again."""
    exponents = class_exponents()
    assert exponents.shape == (CLASS_COUNT, len(AC_PLACES)) == (32, len(zone()) - 3)
    assert 4 <= exponents.min() <= exponents.max() <= 40
    assert exponent_lines(exponents) == list(TABLE)


def test_costs_stay_exact() -> None:
    """No block's cost passes 2^53: the sum of a block's squares is bounded by its pixels (Parseval)."""
    weights, biases = class_costs()
    squares = 256 * (383**2 / 3 + 255**2 / 2 + 510**2 / 6) * 4 * 1.01
    assert float(weights.max()) * squares + float(np.abs(biases).max()) < 2**52
    assert UNIT_BITS == HALF_SHIFT + 1


def test_fitting_classes_finds_kinds_of_blocks() -> None:
    """From flat and from striped blocks, some classes are flat and some expect just those stripes."""
    random = np.random.default_rng(0)
    flat = np.full((3, 128, 128), 90) + random.integers(-1, 2, (3, 128, 128))
    stripes = (
        np.zeros((3, 128, 128), np.int64) + 100 * (np.arange(128) // 4 % 2) + random.integers(-5, 6, 128)
    )
    lines = block_class_fit.fit_block_classes([flat.astype(np.uint8), stripes.astype(np.uint8)])
    assert len(lines) == len(TABLE)
    assert {len(line) for line in lines} == {len(line) for line in TABLE}
    places = [zone()[place] for place in AC_PLACES]
    upright = places.index((0, 0, 4))
    lying = places.index((0, 4, 0))
    table = np.array([[DIGITS.index(d) for d in a + b] for a, b in zip(lines[::2], lines[1::2], strict=True)])
    assert table[0].max() <= 6
    assert (table[:, upright] > table[:, lying] + 8).any()
