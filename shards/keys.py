"""Sample keys: `<first 16 hex of the content id>_<start minus origin, ns, 19 digits>`.

No dots (readers cut a file name at its first one), unique in the dataset, and in sorted order the
samples of a recording are in time order.
"""

from __future__ import annotations

import re

KEY_LENGTH = 36
_KEY = re.compile(r"[0-9a-f]{16}_[0-9]{19}")


def recording_number(content_id: str) -> int:
    """Return the uint64 that stands for a content id (hex) in keys and `.samples.npy`."""
    return int(content_id[:16], 16)


def sample_key(recording_id: int, offset_ns: int) -> str:
    """Return the key of the sample that begins `offset_ns` after its recording's origin.

    Args:
        recording_id: uint64, as `recording_number` gives it.
        offset_ns: at least 0.
    """
    if not 0 <= recording_id < 2**64 or not 0 <= offset_ns < 10**19:
        raise ValueError(f"recording id {recording_id} must fit uint64, and offset {offset_ns} 19 digits")
    return f"{recording_id:016x}_{offset_ns:019d}"


def is_key(key: str) -> bool:
    """Tell whether a text has the form of a key."""
    return _KEY.fullmatch(key) is not None


def parse_key(key: str) -> tuple[int, int] | None:
    """Return recording id and offset in ns, or None where it is no key of ours."""
    return (int(key[:16], 16), int(key[17:])) if is_key(key) else None
