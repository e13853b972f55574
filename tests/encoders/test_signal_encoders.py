"""`bins-255` and `mulaw-1024`, and the rows that they are fitted to."""

from __future__ import annotations

import bisect
import json
from itertools import pairwise
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoders import ClipTokens, Encoder, WrongInput, encoder_for, load_encoder
from encoders.bins import BINS, fit_column
from encoders.launch import encode_clip, reconstruct_clip
from encoders.mulaw import SIGNAL_HALF, SIGNAL_MU, SOUND_HALF, SOUND_MU, mulaw_table
from encoders.samples import evenly_spaced_rows

NAN, INF = float("nan"), float("inf")
columns_of_floats = hnp.arrays(
    np.float32, st.integers(1, 600), elements=st.floats(-(2.0**100), 2.0**100, width=32)
)


def fitted(name: str, *columns: list[float] | np.ndarray) -> Encoder:
    return load_encoder(name).fit([np.array(columns, np.float32).T])


def encoded(encoder: Encoder, *columns: list[float]) -> ClipTokens:
    return encode_clip(encoder, torch.tensor(columns, dtype=torch.float32).t().contiguous())


def back(encoder: Encoder, tokens: ClipTokens) -> list[list[float]]:
    media: list[list[float]] = reconstruct_clip(encoder, tokens.tokens, tokens.valid).t().tolist()
    return media


def test_few_values_come_back_exactly() -> None:
    """A switch, a counter, a constant: each of up to 255 values has its own bin."""
    counter = np.arange(255, dtype=np.float32) / 7
    encoder = fitted("bins-255", counter, np.full(255, -1.25), np.arange(255) % 2)
    clip = torch.from_numpy(
        np.stack([counter, np.full(255, -1.25), np.arange(255) % 2], 1).astype(np.float32)
    )
    tokens = encode_clip(encoder, clip)
    assert torch.equal(reconstruct_clip(encoder, tokens.tokens, tokens.valid), clip)
    assert tokens.saturated == 0
    assert tokens.tokens[:, 0].tolist() == list(range(1, 256))
    assert set(tokens.tokens[:, 1].tolist()) == {1}


def test_invalid_is_zero_and_comes_back_invalid() -> None:
    """NaN is code 0 and no value is, in both encoders."""
    for name in ("bins-255", "mulaw-1024"):
        encoder = fitted(name, [1.0, 2.0, 3.0], [0.0, 0.0, 5.0])
        tokens = encoded(encoder, [NAN, 2.0, -9.0], [5.0, NAN, NAN])
        assert ((tokens.tokens == 0) == np.array([[1, 0], [0, 1], [0, 1]], bool)).all()
        values = back(encoder, tokens)
        assert [np.isnan(v) for v in values[0]] == [True, False, False]
        assert tokens.saturated == 1


def test_a_column_without_values_says_so() -> None:
    """A column fitted to nothing has a code for `valid, but unknown`: counted, and NaN on the way back."""
    encoder = fitted("bins-255", [NAN, NAN], [1.0, 2.0])
    tokens = encoded(encoder, [3.0, NAN], [1.0, 2.0])
    assert tokens.tokens[:, 0].tolist() == [1, 0]
    assert tokens.saturated == 1
    assert np.isnan(back(encoder, tokens)[0]).all()


def test_values_outside_saturate_and_are_counted() -> None:
    """Beyond the fitted range the outermost bin is taken, infinities included; the ends are inside."""
    encoder = fitted("bins-255", [1.0, 2.0, 4.0])
    tokens = encoded(encoder, [0.5, 1.0, 4.0, 4.5, INF, -INF])
    assert tokens.tokens[:, 0].tolist() == [1, 1, 3, 3, 3, 1]
    assert tokens.saturated == 4
    assert back(encoder, tokens) == [[1.0, 1.0, 4.0, 4.0, 4.0, 1.0]]


@pytest.mark.parametrize(("code", "column"), [(4, 1), (6, 1), (6, 0)])
def test_a_code_that_its_column_has_not_is_refused(code: int, column: int) -> None:
    """Each column has as many codes as bins, few though they are: no other one's value is taken."""
    encoder = fitted("bins-255", [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 3.0, 3.0])
    codes = np.ones((2, 2), np.uint8)
    codes[1, column] = code
    with pytest.raises(WrongInput, match=f"column {column} has {5 if column == 0 else 3} steps"):
        reconstruct_clip(encoder, codes, 2)


def test_no_columns_are_no_columns() -> None:
    """A signal of no columns is fitted, encoded and reconstructed to nothing."""
    for name in ("bins-255", "mulaw-1024"):
        encoder = load_encoder(name).fit([np.zeros((5, 0), np.float32)])
        assert encode_clip(encoder, torch.zeros(4, 0)).tokens.shape == (4, 0)


def test_bins_are_of_equal_population() -> None:
    """25,500 different values in 255 bins: 100 in each."""
    values = np.random.default_rng(0).permutation(25_500).astype(np.float32)
    encoder = fitted("bins-255", values)
    codes = encode_clip(encoder, torch.from_numpy(values[:, None])).tokens[:, 0]
    assert np.bincount(codes, minlength=256).tolist() == [0] + [100] * 255


def test_a_frequent_value_does_not_cost_the_others_their_bins() -> None:
    """Where half of all values are 0, zero gets one bin, and the rest share 254 evenly."""
    others = np.random.default_rng(0).permutation(np.arange(1, 25_401)).astype(np.float32)
    encoder = fitted("bins-255", np.concatenate([np.zeros(25_400, np.float32), others]))
    codes = encode_clip(encoder, torch.from_numpy(others[:, None])).tokens[:, 0]
    assert np.bincount(codes, minlength=256).tolist() == [0, 0] + [100] * 254


@given(columns_of_floats)
def test_fitted_bins_are_sound(values: np.ndarray) -> None:
    """At most 255 bins; edges rise; every fitted value lies in a bin whose value is among its own."""
    column = fit_column(values)
    edges, stand_ins = column["edges"], column["values"]
    assert len(stand_ins) == len(edges) + 1 <= BINS
    assert all(low < high for low, high in pairwise(edges))
    assert json.loads(json.dumps(column)) == column
    bins: dict[int, list[float]] = {}
    for value in values.tolist():
        bins.setdefault(bisect.bisect_right(edges, value), []).append(value)
    assert sorted(bins) == list(range(len(stand_ins)))
    for index, members in bins.items():
        assert min(members) <= stand_ins[index] <= max(members)
    if len(set(values.tolist())) <= BINS:
        assert all(len(set(members)) == 1 for members in bins.values())


@given(columns_of_floats, columns_of_floats)
def test_codes_are_those_of_a_search(sample: np.ndarray, values: np.ndarray) -> None:
    """The slow twin: bisect the fitted edges, one value at a time."""
    encoder = fitted("bins-255", sample)
    column = encoder.spec.fitted["columns"][0]
    tokens = encode_clip(encoder, torch.from_numpy(values[:, None]))
    wanted = [1 + bisect.bisect_right(column["edges"], value) for value in values.tolist()]
    assert tokens.tokens[:, 0].tolist() == wanted
    outside = sum(not column["low"] <= value <= column["high"] for value in values.tolist())
    assert tokens.saturated == outside


@pytest.mark.parametrize("name", ["bins-255", "mulaw-1024"])
@given(values=columns_of_floats)
def test_what_was_fitted_survives_json(name: str, values: np.ndarray) -> None:
    """Rebuilt from JSON text, the encoder is equal and gives the same codes for the values fitted to."""
    encoder = fitted(name, values)
    rebuilt = encoder_for(json.loads(json.dumps(encoder.spec.to_json())))
    assert rebuilt.spec == encoder.spec
    clip = torch.from_numpy(values[:, None])
    assert np.array_equal(encode_clip(rebuilt, clip).tokens, encode_clip(encoder, clip).tokens)


@pytest.mark.parametrize(("mu", "half"), [(SOUND_MU, SOUND_HALF), (SIGNAL_MU, SIGNAL_HALF)])
def test_the_table_is_the_formula(mu: int, half: int) -> None:
    """Edges and values are where round(F(x) * half) steps and stays, F being ln(1 + mu x) / ln(1 + mu)."""
    edges, values = mulaw_table(mu, half)
    assert (len(edges), len(values)) == (2 * half, 2 * half + 1)

    def companded(x: float) -> float:
        return log(1 + mu * abs(x)) / log(1 + mu) * half * (1 if x >= 0 else -1)

    for step, value in zip(range(-half, half + 1), values.tolist(), strict=True):
        assert companded(value) == pytest.approx(step, abs=1e-9)
    for step, edge in zip(range(-half, half), edges.tolist(), strict=True):
        assert companded(edge) == pytest.approx(step + 0.5, abs=1e-9)
    assert values[half] == 0
    assert (values[0], values[-1]) == (-1, 1)


@hypothesis_settings(max_examples=30)
@given(st.floats(2.0**-10, 2.0**20, width=32), st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_mulaw_errs_by_a_hundredth(scale: float, shares: list[float]) -> None:
    """Within the scale, a value comes back to within 1 % of itself and 4e-7 of the scale."""
    encoder = fitted("mulaw-1024", [scale, -scale / 3])
    values = np.array([scale * share for share in shares], np.float32)
    tokens = encode_clip(encoder, torch.from_numpy(values[:, None]))
    error = np.abs(np.array(back(encoder, tokens)[0]) - values)
    assert np.all(error <= 0.01 * np.abs(values) + 4e-7 * scale)
    assert tokens.saturated == 0


def test_mulaw_keeps_zero_and_sign() -> None:
    """Zero is code 512 and exact; opposite values have mirrored codes; beyond the scale is counted."""
    encoder = fitted("mulaw-1024", [0.0, 8.0], [0.0, 0.0])
    tokens = encoded(encoder, [0.0, 3.0, -3.0, 8.0, -20.0], [0.0, 0.5, 1.0, -1.0, 2.0])
    codes = tokens.tokens.astype(int)
    assert codes[0].tolist() == [512, 512]
    assert codes[1, 0] - 512 == 512 - codes[2, 0] > 0
    assert (codes[3, 0], codes[4, 0]) == (1023, 1)
    assert tokens.saturated == 2
    assert back(encoder, tokens)[0][0] == 0.0


def test_sound_mulaw_counts_what_it_can_not_say() -> None:
    """Sound beyond full scale saturates, NaN is silence; both are counted."""
    encoder = load_encoder("mulaw-256")
    tokens = encode_clip(encoder, torch.tensor([[0.0, 1.0, -1.0, 1.25, NAN, -INF]]))
    assert tokens.tokens.tolist() == [128, 255, 1, 255, 128, 1]
    assert tokens.saturated == 3
    assert reconstruct_clip(encoder, tokens.tokens, tokens.valid).tolist() == [[0, 1, -1, 1, 0, -1]]


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 50))
def test_rows_are_chosen_evenly_however_they_are_cut(lengths: list[int], most: int) -> None:
    """Every n-th row of all, n the smallest power of two that fits, whatever the cuts."""
    rows = np.arange(sum(lengths), dtype=np.float32)[:, None]
    cuts = np.split(rows, np.cumsum(lengths)[:-1]) if lengths else [rows]
    stride = 1
    while -(-len(rows) // stride) > most:
        stride *= 2
    assert evenly_spaced_rows(cuts, most).tolist() == rows[::stride].tolist()


def test_samples_that_do_not_belong_together_are_refused() -> None:
    """Arrays of different widths, of the wrong rank, or none at all, can't be fitted to."""
    with pytest.raises(WrongInput, match="there are no samples to fit to"):
        load_encoder("bins-255").fit([])
    with pytest.raises(WrongInput, match=r"samples must be \[T, 2\], got \[5, 3\]"):
        load_encoder("bins-255").fit([np.zeros((4, 2)), np.zeros((5, 3))])
    with pytest.raises(WrongInput, match=r"samples must be \[T, D\], got \[4\]"):
        load_encoder("mulaw-1024").fit([np.zeros(4)])


def test_fitting_leaves_the_first_encoder_unfitted() -> None:
    """`fit` returns a new encoder; what can't be fitted returns itself."""
    bare = load_encoder("bins-255")
    assert bare.fit([np.zeros((2, 3))]).spec.is_fitted
    assert not bare.spec.is_fitted
    plain = load_encoder("mulaw-256")
    assert plain.fit([]) is plain
