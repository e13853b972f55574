"""What weights are, whatever file they stand in: sha256 over tensors sorted by name.

Per tensor: its name, its dtype as safetensors writes it, its shape, and its bytes. A `.pth` and a
`.safetensors` of the same tensors have the same hash. TorchScript files hold code as well: their hash is
that of the file.

safetensors: 8 bytes little-endian length, then that much JSON, `{name: {"dtype", "shape", "data_offsets"}}`,
then the data (https://github.com/huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import ModelNotFound

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 1 << 22
_MOST_HEADER_BYTES = 100 << 20
_DTYPES = {
    "torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16",
    "torch.int64": "I64", "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8",
    "torch.uint8": "U8", "torch.bool": "BOOL",
}  # fmt: skip


def weights_sha256(files: Sequence[Path]) -> str:
    """Return the hash of the tensors in these files: `.safetensors`, `.jit`, or what torch saved.

    Raises:
        ModelNotFound: a file can't be read as weights.
    """
    digest = hashlib.sha256()
    if any(path.suffix == ".jit" for path in files):
        for path in files:
            digest.update(b"".join(_pieces(path, 0, path.stat().st_size)))
        return digest.hexdigest()
    found: dict[str, tuple[str, list[int], Path, int, int] | Tensor] = {}
    for path in files:
        found.update(_tensors_of(path))
    for name in sorted(found):
        tensor = found[name]
        if isinstance(tensor, tuple):
            dtype, shape, path, start, stop = tensor
            digest.update(_head(name, dtype, shape))
            for piece in _pieces(path, start, stop):
                digest.update(piece)
        else:
            digest.update(_head(name, _DTYPES[str(tensor.dtype)], list(tensor.shape)))
            digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file. Nothing in it is run.

    Raises:
        ModelNotFound: it holds no dictionary of tensors, or something that is not weights.
    """
    import pickle

    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelNotFound(f"{path.name} can't be read as weights: {first}") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(t, torch.Tensor) for t in loaded.values()):
        raise ModelNotFound(f"{path.name} holds no dictionary of tensors")
    return dict(loaded)


def _tensors_of(path: Path) -> dict[str, Any]:
    return dict(_spans(path)) if path.suffix == ".safetensors" else dict(load_tensors(path))


def _spans(path: Path) -> Iterator[tuple[str, tuple[str, list[int], Path, int, int]]]:
    """Yield where each tensor of a safetensors file lies."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if length > _MOST_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
            for name, about in header.items():
                if name != "__metadata__":
                    start, stop = (8 + length + int(offset) for offset in about["data_offsets"])
                    yield name, (about["dtype"], about["shape"], path, start, stop)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelNotFound(f"{path.name} is no safetensors file: {error}") from error


def _pieces(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop:
            piece = file.read(min(_CHUNK_BYTES, stop - start))
            if not piece:
                raise ModelNotFound(f"{path.name} is cut short")
            start += len(piece)
            yield piece


def _head(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    return json.dumps([name, dtype, list(shape)]).encode()


def _bytes_of(tensor: Tensor) -> bytes:
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
