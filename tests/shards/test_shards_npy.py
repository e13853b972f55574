"""Arrays as npy bytes, beside numpy's own writer and reader."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.npy import BadNpy, npy_header, npy_view

DTYPES = [np.dtype(name) for name in ("<u1", "<u2", "<u4", "<i8", "<f2", "<f4", "<f8", "?")]
shapes = st.lists(st.integers(0, 5), max_size=5).map(tuple)


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    return npy_header(array.dtype, array.shape) + array.tobytes()


def numbers(dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    count = int(np.prod(shape, dtype=int))
    return np.random.default_rng(count).integers(0, 2, count).astype(dtype).reshape(shape)


@given(st.sampled_from(DTYPES), shapes)
def test_numpy_reads_what_we_write(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """`np.load` gives the same array, of the same type and shape, for any shape with or without items."""
    array = numbers(dtype, shape)
    loaded = np.load(io.BytesIO(npy_bytes(array)), allow_pickle=False)
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    assert np.array_equal(loaded, array)


@given(st.sampled_from(DTYPES), shapes)
def test_we_read_what_numpy_writes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """`npy_view` gives the array that `np.save` was given."""
    array = numbers(dtype, shape)
    file = io.BytesIO()
    np.save(file, array)
    viewed = npy_view(file.getvalue())
    assert viewed.dtype == array.dtype
    assert np.array_equal(viewed, array)
    assert viewed.shape == array.shape


@given(st.sampled_from(DTYPES), shapes)
def test_data_begin_at_a_multiple_of_64(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """The header's length is a multiple of 64 bytes and ends in a line break."""
    header = npy_header(dtype, shape)
    assert len(header) % 64 == 0
    assert header.endswith(b"\n")


def test_a_view_copies_nothing() -> None:
    """The array lies in the bytes it was read from, at the given offset, and can't be written to."""
    data = b"before" + npy_bytes(np.arange(5, dtype="<u2")) + b"behind"
    view = npy_view(memoryview(data), 6, len(data) - 12)
    assert view.tolist() == [0, 1, 2, 3, 4]
    assert not view.flags.owndata
    assert not view.flags.writeable


@pytest.mark.parametrize("dtype", ["O", ">u2"])
def test_only_plain_little_endian_arrays_are_written(dtype: str) -> None:
    """Objects would need pickle; big-endian numbers would differ between machines."""
    with pytest.raises(ValueError, match="plain and little-endian"):
        npy_header(np.dtype(dtype), (1,))


def saved(array: npt.NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "do not begin with an npy 1.0 header"),
        (b"\x93NUMPY\x01\x00", "do not begin"),
        (b"PK\x03\x04" + bytes(100), "do not begin"),
        (saved(np.zeros(3, "<u2"), version=(2, 0)), "do not begin with an npy 1.0 header"),
        (saved(np.zeros(3, ">u2")), "not little-endian C order"),
        (saved(np.zeros((2, 3), "<u2", order="F")), "not little-endian C order"),
        (saved(np.array([{}]), allow_pickle=True), "not little-endian C order of plain numbers"),
        (saved(np.zeros(3, "<u2"))[:-1], "5 bytes of data do not make uint16 \\[3\\]"),
        (saved(np.zeros(3, "<u2")) + b"\0", "7 bytes of data do not make uint16 \\[3\\]"),
        (saved(np.zeros(3, "<u2")).replace(b"(3,)", b"(-3)"), "not little-endian C order"),
        (saved(np.zeros(3, "<u2")).replace(b"'shape': (3,)", b"'shape': a()"), "can't be read"),
        (saved(np.zeros(3, "<u2")).replace(b"{'descr'", b"{'other'"), "can't be read"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str) -> None:
    """What is no npy of ours is named as such; nothing in a header is ever run."""
    with pytest.raises(BadNpy, match=message):
        npy_view(data)
