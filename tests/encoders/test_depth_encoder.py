"""`depth-log`: metres to logarithmic steps and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders import WrongSetting, load_encoder
from encoders.depth_log import log_table
from encoders.launch import encode_clip, reconstruct_clip

WORST = (200 / 0.05) ** (1 / (2 * 1022)) - 1
"""The largest error of the default settings, as a share of the distance: half a step."""


def there_and_back(metres: list[float], **settings: Any) -> tuple[list[int], list[float], int]:
    """Return codes, distances and how many saturated, of a picture of one row."""
    encoder = load_encoder("depth-log", size=[1, len(metres)], **settings)
    made = encode_clip(encoder, torch.tensor([[metres]], dtype=torch.float32))
    back = reconstruct_clip(encoder, made.tokens, made.valid)
    return made.tokens[0, 0].tolist(), back[0, 0].tolist(), made.saturated


@given(st.floats(0.0625, 200, width=32))
def test_a_distance_comes_back_within_half_a_step(metres: float) -> None:
    """What lies between the nearest and the farthest comes back to within 0.41 % of itself."""
    _, (back,), saturated = there_and_back([metres])
    assert abs(back / metres - 1) <= WORST * (1 + 1e-6)
    assert not saturated


@given(st.floats(0.0625, 200, width=32))
def test_codes_are_those_of_the_formula(metres: float) -> None:
    """The code is 1 plus the rounded share of the way from near to far, by the logarithm."""
    (code,), _, _ = there_and_back([metres])
    exact = 1 + 1022 * math.log(metres / 0.05) / math.log(200 / 0.05)
    assert abs(code - exact) <= 0.5 + 1e-4


def test_what_is_no_distance_is_code_0() -> None:
    """NaN, infinity, zero and less have no code of their own, and come back as NaN; nothing saturates."""
    codes, back, saturated = there_and_back([math.nan, math.inf, -math.inf, 0.0, -1.0, 1.0])
    assert codes[:5] == [0] * 5
    assert np.isnan(back[:5]).all()
    assert codes[5] > 0
    assert saturated == 0


def test_what_is_too_near_or_too_far_is_counted() -> None:
    """Beyond the ends, the end is what comes back, and it is counted."""
    codes, back, saturated = there_and_back([0.01, 0.05, 200.0, 500.0])
    assert codes == [1, 1, 1023, 1023]
    assert back == pytest.approx([0.05, 0.05, 200.0, 200.0])
    assert saturated == 2


def test_other_ends_and_steps() -> None:
    """Few steps are bytes; the ends are the ones that were asked for."""
    encoder = load_encoder("depth-log", size=2, near_m=1, far_m=100, steps=3)
    assert (encoder.spec.dtype, encoder.spec.codebook_sizes) == ("uint8", (4,))
    codes, back, _ = there_and_back([1, 3, 10, 30, 40, 100], near_m=1, far_m=100, steps=3)
    assert codes == [1, 1, 2, 2, 3, 3]
    assert back == pytest.approx([1, 1, 10, 10, 100, 100])
    edges, distances = log_table(1.0, 100.0, 3)
    assert edges.tolist() == pytest.approx([10**0.5, 10**1.5])
    assert distances.tolist() == pytest.approx([1, 10, 100])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"near_m": 0}, "near_m must be above 0"),
        ({"near_m": 5, "far_m": 5}, "below far_m, got 5 and 5"),
        ({"far_m": math.inf}, "below far_m"),
        ({"steps": 1}, "from 2 to 65535, got 1"),
        ({"steps": 70_000}, "from 2 to 65535, got 70000"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], words: str) -> None:
    """Ends in the wrong order, and too few or too many steps, are refused with the value."""
    with pytest.raises(WrongSetting, match=words):
        load_encoder("depth-log", **settings)
