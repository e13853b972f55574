"""What `verify_dataset` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["missing", "changed", "wrong", "left"]


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    file: str
    """Path in the dataset."""
    sample: str
    """Key of the sample; empty when the whole file is meant."""
    what: str
    """One sentence."""
    kind: Kind = "wrong"
    """`missing`, `changed`: the file is not the one that was written; `repair` makes it again. `wrong`: it
    holds what must not be, whether or not it was written so. `left`: a stopped run left it."""

    def __str__(self) -> str:
        return f"{self.file}: {f'{self.sample}: ' if self.sample else ''}{self.what}"
