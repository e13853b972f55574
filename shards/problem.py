"""What `verify_dataset` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    file: str
    """Path in the dataset."""
    sample: str
    """Key of the sample; empty when the whole file is meant."""
    what: str
    """One sentence."""

    def __str__(self) -> str:
        return f"{self.file}: {f'{self.sample}: ' if self.sample else ''}{self.what}"
