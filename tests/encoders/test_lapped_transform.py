"""The integer sound transform: exact, and inverted by its transpose."""

from __future__ import annotations

import numpy as np
import torch

from encoders.lapped_transform import (
    CHUNK,
    STEP,
    STEPS_PER_CHUNK,
    UNIT_BITS,
    LappedTransform,
    basis_values,
    integer_basis,
)

CPU = torch.device("cpu")


def noise(chunks: int) -> torch.Tensor:
    random = np.random.default_rng(2)
    return torch.from_numpy(random.integers(-32767, 32768, (chunks, CHUNK)).astype(np.float64))


def test_a_chunk_comes_back_without_its_neighbours() -> None:
    """Transform and back gives every sample of a chunk, its first and last included, 60 dB over the error."""
    samples = noise(2)
    transform = LappedTransform(CPU)
    back = transform.samples(transform.coefficients(samples) / (1 << UNIT_BITS))
    error = (back - samples).square()
    assert float(error.mean()) < 1e-6 * float(samples.square().mean())
    assert float(error.max()) < 100.0**2


def test_the_transform_is_orthogonal() -> None:
    """All 16000 basis vectors of a chunk have length 1 and are at right angles, the ends' included."""
    first, inner, last = basis_values()
    half, step = STEP // 2, STEP
    assert np.allclose(first.T @ first, np.eye(step), atol=1e-12)
    assert np.allclose(inner.T @ inner, np.eye(step), atol=1e-12)
    assert np.allclose(last.T @ last, np.eye(step), atol=1e-12)
    for left, right in ((first, inner), (inner, inner), (inner, last)):
        assert np.allclose(left[step:].T @ right[:step], 0, atol=1e-12)
    assert not first[:half].any()
    assert not last[-half:].any()


def test_coefficients_are_exact() -> None:
    """float64 products give the very integers that exact arithmetic gives."""
    samples = torch.cat([noise(1), torch.full((1, CHUNK), 32767.0)])
    fast = LappedTransform(CPU).coefficients(samples).numpy()
    padded = np.pad(samples.numpy().astype(np.int64), ((0, 0), (STEP // 2, STEP // 2))).astype(object)
    for chunk in (0, 1):
        for step in (0, 1, 25, STEPS_PER_CHUNK - 1):
            matrix = integer_basis()[0 if step == 0 else 2 if step == STEPS_PER_CHUNK - 1 else 1]
            window = padded[chunk, step * STEP : (step + 2) * STEP]
            assert fast[chunk, step].astype(object).tolist() == (window @ matrix.astype(object)).tolist()


def test_no_sum_can_round() -> None:
    """The largest sum of any samples stays below 2^53."""
    assert int(np.abs(integer_basis()).sum(1).max()) * 32767 < 1 << 40 < 1 << 53


def test_the_matrix_is_the_same_everywhere() -> None:
    """No entry lies so close to a tie that another machine's cosine could round it the other way."""
    scaled = basis_values() * (1 << UNIT_BITS)
    assert np.abs(np.abs(scaled - np.floor(scaled)) - 0.5).min() > 1e-8
