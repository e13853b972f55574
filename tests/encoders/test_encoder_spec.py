"""The specs: arithmetic, JSON, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import InputSpec, TokenSpec
from encoders.picture_size import nearest_sizes
from encoders.spec import dtype_for, fraction_from, fraction_text

VIDEO = InputSpec(
    "pictures", "uint8", (0, 255), "BTCHW", 3, 4, chunk=8, context=1, size=(32, 48), size_multiple=16
)
SOUND = InputSpec("sound", "float32", (-1.0, 1.0), "BCN", 1, 2, chunk=480, rate=Fraction(24_000))
SPEC = TokenSpec(
    encoder="some",
    revision=3,
    kind="codes",
    dtype="uint16",
    axes="THWK",
    shape=(2, 3, 2),
    strides=(4, 16, 16, 1),
    steps_per_chunk=2,
    codebook_sizes=(1024, 256),
    input=VIDEO,
    settings={"size": [32, 48]},
    fitted={"edges": [0.1, 1e-45]},
)


def test_launch_shapes() -> None:
    """A launch holds context and chunk, in the medium's own layout."""
    assert VIDEO.launch_shape == (4, 9, 3, 32, 48)
    assert SOUND.launch_shape == (2, 1, 480)
    assert InputSpec("signal", "float32", None, "BTD", 7, 5).launch_shape == (5, 1, 7)


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, input=SOUND, fitted={})])
def test_json_brings_back_an_equal_spec(spec: TokenSpec) -> None:
    """Through JSON text and back: equal, with exact fractions and tuples as tuples."""
    back = TokenSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert back.input.rate == spec.input.rate
    assert isinstance(back.shape, tuple)


def test_rates_and_bits() -> None:
    """2 steps of 12 codes per 8 frames at 8 fps are 24 codes a second, half of 10 and half of 8 bits."""
    assert SPEC.tokens_per_second() is None
    assert SPEC.tokens_per_second(Fraction(8)) == 24
    assert SPEC.bits_per_step == 12 * 9
    assert replace(SPEC, codebook_sizes=(256,)).bits_per_step == 12 * 8
    audio = replace(SPEC, input=SOUND, axes="T", shape=(), strides=(240,), codebook_sizes=(256,))
    assert audio.tokens_per_second() == 100
    assert audio.bits_per_step == 8
    assert audio.to_json()["tokens_per_second"] == "100/1"
    ragged = replace(SPEC, kind="bytes", axes="N", shape=(), strides=(0,))
    assert (ragged.tokens_per_second(Fraction(8)), ragged.bits_per_step) == (None, 0.0)


def test_the_layout_leaves_out_what_was_fitted() -> None:
    """Specs that differ only in what was fitted share a layout; others don't."""
    other = replace(SPEC, fitted={"edges": [2.0]})
    assert other != SPEC
    assert other.layout_identity() == SPEC.layout_identity()
    assert replace(SPEC, revision=4).layout_identity() != SPEC.layout_identity()


def test_wrong_specs_are_refused() -> None:
    """Axes, strides and sizes must belong together."""
    with pytest.raises(ValueError, match="axes 'THW' do not name T and the 3 axes"):
        replace(SPEC, axes="THW", strides=(1, 1, 1))
    with pytest.raises(ValueError, match="strides"):
        replace(SPEC, strides=(1, 1))
    with pytest.raises(ValueError, match="medium 'sound' with axes 'BTD'"):
        replace(SOUND, axes="BTD")
    with pytest.raises(ValueError, match="at least 1"):
        replace(SOUND, launch_batch=0)
    with pytest.raises(ValueError, match="have a size"):
        replace(VIDEO, size=None)


@given(st.none() | st.fractions(min_value=Fraction(1, 1000)))
def test_fractions_survive_text(value: Fraction | None) -> None:
    """Every rate, and no rate, comes back from its text."""
    assert fraction_from(fraction_text(value)) == value


@given(st.lists(st.integers(1, 1 << 32), min_size=1, max_size=4))
def test_the_smallest_dtype_is_chosen(sizes: list[int]) -> None:
    """Every code fits the dtype, and no smaller one."""
    bits = {"uint8": 8, "uint16": 16, "uint32": 32}[dtype_for(tuple(sizes))]
    assert max(sizes) <= 1 << bits
    assert bits == 8 or max(sizes) > 1 << bits // 2


def test_too_large_a_codebook_is_refused() -> None:
    """Codes beyond 32 bits have no dtype."""
    with pytest.raises(ValueError, match="does not fit 32 bits"):
        dtype_for(((1 << 32) + 1,))


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([1, 8, 16, 32]))
def test_nearest_sizes_fit_and_are_near(height: int, width: int, multiple: int) -> None:
    """Both are multiples, none is zero, and none is a whole block away."""
    found = nearest_sizes((height, width), multiple)
    assert 1 <= len(found) <= 2
    for size in found:
        for number, wanted in zip(size, (height, width), strict=True):
            assert number % multiple == 0
            assert number >= multiple
            assert abs(number - wanted) < multiple
