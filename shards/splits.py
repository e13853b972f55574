"""Which split a recording belongs to: a pure function of its content id, so that nothing leaks.

All samples of a recording fall into one split, in every dataset that holds it and whatever else that
holds. `train=0.9,validation=0.1` parts recordings as a stream with a `validation_share` of 0.1 does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import accumulate

from shards.errors import ShardsError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MASK = 2**64 - 1


def parse_shares(text: str) -> dict[str, float]:
    """Read `train=0.9,validation=0.1`.

    Raises:
        ShardsError: a name or share can't be used, or the shares are not 1 in sum.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not _NAME.fullmatch(name) or name in shares or not 0 < share <= 1:
            raise ShardsError(
                f"a split is NAME=SHARE, each name once, shares in (0, 1]; got {part.strip()!r}"
            )
        shares[name] = share
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise ShardsError(f"the shares of a split must be 1 in sum; {text!r} is {sum(shares.values()):g}")
    return shares


def place_of(recording_id: int) -> float:
    """Return a recording's place in [0, 1): the last step of SplitMix64 (Steele et al., 2014).

    Args:
        recording_id: uint64, as `recording_number` gives it.
    """
    value = (recording_id + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return (value ^ (value >> 31)) / 2**64


def split_of(recording_id: int, shares: Mapping[str, float]) -> str:
    """Return the name of the split that a recording belongs to; the last one has the lowest places."""
    place = place_of(recording_id)
    names = list(shares)[::-1]
    for name, end in zip(names, accumulate(shares[name] for name in names), strict=True):
        if place < end:
            return name
    return names[-1]
