"""How a remote dataset is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def default_cache_folder() -> Path:
    """Return where files are kept unless told otherwise: `fifth` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "fifth"


@dataclass(frozen=True)
class RemoteOptions:
    """How a remote dataset is read. Checked when made.

    Raises:
        ValueError: a value that can't work.
    """

    cache_folder: Path = field(default_factory=default_cache_folder)
    """Shared by all processes of a machine, and by all datasets. On a local disk: locks must work."""
    cache_bytes: int = 64 * 2**30
    """What the files in it may have together. What is mapped is never removed, so more than one process
    with many shards open may go beyond it; that is said once."""
    prefetch: int = 2
    """How many files are fetched ahead at a time."""
    tries: int = 6
    """How often a part of a file is asked for before it is given up."""
    first_pause_s: float = 0.5
    """The longest pause before the second try; it doubles from try to try. The pause itself is drawn at
    random from 0 to that, so that many processes do not ask again at once."""
    longest_pause_s: float = 30.0
    timeout_s: float = 60.0
    """How long a connection may be silent."""
    part_bytes: int = 16 * 2**20
    """How much of a file is asked for at once."""
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    """For fsspec: credentials, endpoint and so on."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cache_folder", Path(self.cache_folder))
        for name in ("cache_bytes", "tries", "part_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("prefetch", "first_pause_s", "longest_pause_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be more than 0, got {self.timeout_s}")
