"""Weights of our own encoders: safetensors files, known by their sha256.

A file in the package, `encoders/weights/NAME.safetensors`, or one that the user gives by its path. Either
way the hash is that of the whole file, stands in the token spec as `weights_sha256`, and is compared before
a single number is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from torch import Tensor

from encoders.errors import WrongSetting, WrongSpec

MOST_BYTES = 1 << 30
"""What claims to be larger is none of ours."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors by name, and what their file says of itself."""

    tensors: Mapping[str, Tensor]
    sha256: str
    """Of the whole file."""
    about: Mapping[str, str] = field(default_factory=dict)
    """The file's metadata: what it is for, how the network is shaped, how it was trained."""

    def __repr__(self) -> str:
        return f"Weights({len(self.tensors)} tensors, sha256 {self.sha256[:16]})"


def packaged_weights(name: str, sha256: str) -> Weights:
    """Read `NAME.safetensors` of the package.

    Raises:
        WrongSpec: the file is missing or another one than the code was written for.
    """
    file = files("encoders") / "weights" / f"{name}.safetensors"
    if not file.is_file():
        raise WrongSpec(f"{name}.safetensors is missing from this installation: install Fifth again")
    return _checked(file.read_bytes(), f"{name}.safetensors", sha256)


def weights_from(path: str | Path, sha256: str = "") -> Weights:
    """Read a weights file that the user gives.

    Args:
        path: a .safetensors file, as `fifth train` writes it.
        sha256: what it must be, where a dataset says so; empty: any.

    Raises:
        WrongSetting: it is no safetensors file, or not there.
        WrongSpec: it is another file than the one asked for.
    """
    path = Path(path)
    try:
        is_file, size_bytes = path.is_file(), path.stat().st_size
    except (OSError, ValueError):  # not there, or no path at all
        is_file = False
    if not is_file:
        raise WrongSetting(f"{path} is no file: give the .safetensors file that `fifth train` wrote")
    if size_bytes > MOST_BYTES:
        raise WrongSetting(f"{path} has {size_bytes} bytes, more than weights of ours can have")
    return _checked(path.read_bytes(), str(path), sha256)


def write_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """Write tensors and what is known of them, whole or not at all; return the file's sha256.

    The same tensors and texts give the same bytes: names are sorted, and nothing of the machine goes in.
    """
    from safetensors.torch import save

    data = _with_sorted_metadata(
        save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}), about
    )
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    partial.replace(path)
    return hashlib.sha256(data).hexdigest()


def _with_sorted_metadata(data: bytes, about: Mapping[str, str]) -> bytes:
    """Put the metadata into the header ourselves: the library writes it in an order that changes.

    Source: the safetensors format: uint64 length of the header, the header as JSON (padded with spaces),
    the tensors; `__metadata__` maps texts to texts.
    """
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(about.items()))
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _checked(data: bytes, where: str, sha256: str) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load

    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise WrongSpec(f"{where} has sha256 {found[:16]}..., expected {sha256[:16]}...: it is another file")
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        about = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise WrongSetting(f"{where} is no safetensors file: {error}") from error
    return Weights(tensors, found, about)
