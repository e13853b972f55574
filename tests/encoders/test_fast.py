"""`fast-1024`: few tokens, bounded errors, what is out of range or invalid kept, damage refused."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoders import (
    ClipTokens,
    Encoder,
    NotFitted,
    TokenArray,
    WrongInput,
    WrongSetting,
    encoder_for,
    load_encoder,
)
from encoders.fast_symbols import ESCAPE, SYMBOLS, WHOLE, ZERO, chunk_symbols, read_symbols
from encoders.launch import encode_clip, reconstruct_clip
from encoders.pair_merging import BORDER, apply_merges, expansions, learn_merges

ROWS = 10


def walks(rows: int, columns: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth random walks in three very different units."""
    steps = np.random.default_rng(seed).standard_normal((rows, columns))
    smooth = np.cumsum(np.cumsum(steps, axis=0) * 0.1, axis=0)
    return (smooth * [1, 1e-3, 1e4][:columns]).astype(np.float32)


def fitted(scale: int = 50) -> Encoder:
    return load_encoder("fast-1024", rows=ROWS, scale=scale).fit([walks(400)])


def there_and_back(encoder: Encoder, values: np.ndarray) -> tuple[ClipTokens, np.ndarray]:
    tokens = encode_clip(encoder, torch.from_numpy(values))
    back = reconstruct_clip(encoder, tokens.tokens, tokens.valid, tokens.offsets)
    return tokens, back.numpy()


def halves(encoder: Encoder) -> np.ndarray:
    return np.array([column["half"] for column in encoder.spec.fitted["columns"]])


@pytest.mark.parametrize("scale", [1, 10, 50, 1000])
def test_the_error_is_what_rounding_leaves(scale: int) -> None:
    """No chunk's root mean square error exceeds half a step of the coefficients; in all, a third."""
    encoder = fitted(scale)
    values = walks(400, seed=1)
    _, back = there_and_back(encoder, values)
    errors = ((back - values) / halves(encoder)).reshape(-1, ROWS, 3)
    assert np.sqrt(np.square(errors).mean(axis=1)).max() <= 0.5 / scale + 1e-4
    assert np.sqrt(np.square(errors).mean()) <= 0.3 / scale + 1e-4


def test_smooth_signals_take_few_tokens() -> None:
    """With a token for every fourth value, smooth walks come back to within a fiftieth of their range."""
    encoder = load_encoder("fast-1024", rows=50, scale=50).fit([walks(4000)])
    tokens, back = there_and_back(encoder, walks(4000, seed=1))
    assert tokens.tokens.size < 4000 * 3 / 4
    assert np.abs((back - walks(4000, seed=1)) / halves(encoder)).max() < 0.02 * 2


def test_what_lies_far_out_of_range_is_kept() -> None:
    """A value a thousand times beyond the fitted range comes back as closely as any other, not clipped."""
    encoder = fitted()
    values = walks(40)
    values[13] *= 1000
    tokens, back = there_and_back(encoder, values)
    assert tokens.saturated == 0
    assert np.abs((back - values) / halves(encoder)).max() < 0.05


def test_what_no_code_can_say_is_counted() -> None:
    """Beyond 2^14 half-ranges values saturate and are counted; infinities are invalid and counted."""
    encoder = fitted()
    values = walks(20)
    values[3, 0] = 1e30
    values[5, 1] = np.inf
    tokens, back = there_and_back(encoder, values)
    assert tokens.saturated == 2
    assert np.isnan(back[5, 1])
    assert back[3, 0] > 1000 * halves(encoder)[0]


def test_invalid_stays_invalid() -> None:
    """NaN comes back where it was and nowhere else, and a gap does not disturb what is around it."""
    encoder = fitted()
    values = walks(35)
    values[4:9, 1] = np.nan
    values[22:, 2] = np.nan
    values[10:20] = np.nan
    tokens, back = there_and_back(encoder, values)
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs((back - values) / halves(encoder))) < 0.05
    assert tokens.saturated == 0


def test_a_constant_column_comes_back_exactly() -> None:
    """A constant costs nothing but its column; one that was never seen keeps what comes later."""
    samples = np.stack([np.full(50, 2.5), np.full(50, np.nan)], axis=1).astype(np.float32)
    encoder = load_encoder("fast-1024", rows=ROWS).fit([samples])
    _, back = there_and_back(encoder, samples)
    assert np.array_equal(back, samples, equal_nan=True)
    _, later = there_and_back(encoder, np.array([[2.5, 7.0]] * ROWS, np.float32))
    assert np.allclose(later, [2.5, 7.0], atol=0.01)


@given(
    values=hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 25), st.just(2)),
        elements=st.floats(-100, 100, width=32) | st.just(float("nan")),
    )
)
@hypothesis_settings(max_examples=30)
def test_any_values_come_back(values: np.ndarray) -> None:
    """Whatever was fitted, values within its reach come back to within the rounding, invalid ones invalid."""
    encoder = load_encoder("fast-1024", rows=ROWS, scale=100).fit([walks(100, 2)])
    _, back = there_and_back(encoder, values)
    assert back.shape == values.shape
    assert np.array_equal(np.isnan(back), np.isnan(values))
    errors = np.abs(back - values) / halves(encoder)
    assert (
        np.nanmax(errors, initial=0)
        <= 0.5 / 100 * np.sqrt(ROWS) + np.nanmax(np.abs(values), initial=0) * 1e-3
    )


def test_fitting_repeats_and_survives_json() -> None:
    """The same samples give the same state, which JSON keeps; cut into other whole chunks, too."""
    whole = fitted().spec
    again = load_encoder("fast-1024", rows=ROWS, scale=50).fit([walks(400)[:200], walks(400)[200:]]).spec
    assert again == whole
    stored = json.loads(json.dumps(whole.to_json()))
    clip = torch.from_numpy(walks(33, seed=5))
    assert np.array_equal(encode_clip(encoder_for(stored), clip).tokens, encode_clip(fitted(), clip).tokens)


def test_damaged_tokens_are_refused() -> None:
    """Tokens that say nothing raise, and never come back as zeros."""
    encoder = fitted()
    good = encode_clip(encoder, torch.from_numpy(walks(ROWS)))
    high = len(encoder.spec.fitted["merges"]) + SYMBOLS
    for tokens, message in (
        ([], "ends before it is complete"),
        ([ZERO], "begins with symbol"),
        ([WHOLE, ESCAPE, 5], "ends before it is complete"),
        ([WHOLE, ESCAPE, *[ZERO] * 6], "where a digit must be"),
        ([WHOLE, WHOLE], "where a coefficient must be"),
        ([WHOLE, *[ZERO + 1] * (3 * ROWS + 1)], "holds 31 coefficients, more than its 30"),
        ([high], f"has codes from 0 to below {high}"),
    ):
        with pytest.raises(WrongInput, match=message):
            reconstruct_clip(encoder, np.array(tokens, np.uint16), 1, np.array([0, len(tokens)]))
    with pytest.raises(WrongInput, match=r"codes \[N\] with offsets"):
        encoder.reconstruct(TokenArray(torch.from_numpy(good.tokens)))


def test_use_before_fitting_and_wrong_settings_are_refused() -> None:
    """An encoder that was fitted to nothing neither encodes nor reconstructs; settings have limits."""
    encoder = load_encoder("fast-1024")
    with pytest.raises(NotFitted, match="must be fitted before it reconstructs"):
        encoder.reconstruct(TokenArray(torch.zeros(1, dtype=torch.uint16), torch.tensor([0, 1])))
    with pytest.raises(WrongSetting, match="rows and a scale from 1 to 1000, got rows=50, scale=0"):
        load_encoder("fast-1024", scale=0)
    with pytest.raises(WrongInput, match=r"samples must be \[T, 3\], got \[5, 2\]"):
        encoder.fit([np.zeros((5, 3), np.float32), np.zeros((5, 2), np.float32)])


@given(
    coefficients=st.lists(st.integers(-(2**34), 2**34) | st.integers(-120, 120), min_size=1, max_size=30),
    seed=st.integers(0, 9),
)
def test_symbols_say_everything(coefficients: list[int], seed: int) -> None:
    """Any coefficients and any pattern of invalid values survive the symbols."""
    valid = np.random.default_rng(seed).random(len(coefficients)) > seed / 10
    values = np.array(coefficients, np.int64)
    symbols = chunk_symbols(values, valid)
    assert symbols.min() >= 0
    assert symbols.max() < SYMBOLS
    read, still = read_symbols(symbols, len(values))
    assert np.array_equal(read, values)
    assert np.array_equal(still, valid)


def slowly_merged(symbols: list[int], merges: list[tuple[int, int]], base: int) -> list[int]:
    """The usual rule, said plainly: while a learned pair is there, merge the earliest everywhere."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while True:
        known = [ranks[pair] for pair in pairwise(symbols) if pair in ranks]
        if not known:
            return symbols
        pair, out, at = merges[min(known)], [], 0
        while at < len(symbols):
            if tuple(symbols[at : at + 2]) == pair:
                out.append(base + min(known))
                at += 2
            else:
                out.append(symbols[at])
                at += 1
        symbols = out


@given(symbols=st.lists(st.integers(0, 3) | st.just(BORDER), min_size=2, max_size=80))
def test_merging_is_the_usual_rule(symbols: list[int]) -> None:
    """Whole-array merging gives what the slow rule gives, and expanding gives the symbols back."""
    array = np.array(symbols, np.int64)
    merges = learn_merges(array, 4, 20)
    merged = apply_merges(array, merges, 4)
    assert merged.tolist() == slowly_merged(symbols, merges, 4)
    meanings = expansions(merges, 4)
    back = [
        part for code in merged.tolist() for part in ([BORDER] if code == BORDER else meanings[code].tolist())
    ]
    assert back == symbols


def test_merges_of_what_is_not_there_are_refused() -> None:
    """A merge can only be of symbols before it."""
    with pytest.raises(ValueError, match="merge 1 is of 2 and 5"):
        expansions([(0, 1), (2, 5)], 4)
