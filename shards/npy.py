r"""Arrays as npy 1.0 bytes, and back as views.

    \x93NUMPY 1 0    magic and version
    uint16 LE        length of what follows up to the data
    {...}            a Python dict of descr, fortran_order and shape, then spaces and a line break, so
                     that the data begin at a multiple of 64 bytes

Always little-endian, C order, no objects. Source: `numpy.lib.format`, "Format Version 1.0".
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNMENT = 64
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    RecursionError,
    MemoryError,
    AttributeError,
    IndexError,
)
"""What comes of a header that is no dict of ours; `MemoryError` is how the parser calls too deep a text."""


class BadNpy(ValueError):
    """The bytes are not an npy of ours."""


def little_endian(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype as it stands in files; the same object's bytes on any machine."""
    return np.dtype(dtype).newbyteorder("<")


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what stands before the data.

    Args:
        dtype: little-endian or of single bytes; not of objects.
        shape: of the array.
    """
    if dtype.hasobject or dtype.byteorder == ">":
        raise ValueError(f"dtype must be plain and little-endian, got {dtype!r}")
    descr = np.lib.format.dtype_to_descr(dtype)
    body = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    before = len(_MAGIC) + 2
    length = len(body) + 1
    length += -(before + length) % _ALIGNMENT
    if length > 0xFFFF:
        raise ValueError(f"{len(body)} bytes of description do not fit an npy 1.0 header")
    return _MAGIC + length.to_bytes(2, "little") + body.encode("ascii").ljust(length - 1) + b"\n"


def npy_view(data: bytes | memoryview, offset: int = 0, size_bytes: int | None = None) -> Array:
    """Return the array whose npy bytes begin at `offset`, as a view of `data`.

    Args:
        size_bytes: of the npy; all of `data` behind `offset` when left out.

    Raises:
        BadNpy: it is not an npy 1.0 in little-endian C order whose data have exactly the size left.
    """
    if size_bytes is None:
        size_bytes = len(data) - offset
    before = len(_MAGIC) + 2
    start = bytes(data[offset : offset + before])
    length = int.from_bytes(start[-2:], "little")
    if offset + size_bytes > len(data):
        raise BadNpy(f"{offset + size_bytes - len(data)} bytes of it are missing")
    if len(start) < before or start[:-2] != _MAGIC or before + length > size_bytes:
        raise BadNpy("the bytes do not begin with an npy 1.0 header")
    dtype, shape, count = _parse_header(bytes(data[offset + before : offset + before + length]))
    if count * dtype.itemsize != size_bytes - before - length:
        raise BadNpy(f"{size_bytes - before - length} bytes of data do not make {dtype} {list(shape)}")
    return np.frombuffer(data, dtype, count, offset + before + length).reshape(shape)


@lru_cache(maxsize=4096)
def _parse_header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return dtype, shape and number of items."""
    try:
        fields = ast.literal_eval(text.decode("latin-1"))
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
        shape = fields["shape"]
        plain = set(fields) == {"descr", "fortran_order", "shape"} and fields["fortran_order"] is False
        plain = plain and isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    except _UNREADABLE as error:
        raise BadNpy(f"an npy header that can't be read ({error})") from error
    if not plain or dtype.hasobject or dtype.byteorder == ">" or not dtype.itemsize:
        raise BadNpy("an npy that is not little-endian C order of plain numbers")
    count = 1
    for size in shape:
        count *= size
    return dtype, shape, count
