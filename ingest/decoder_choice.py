"""What `--decoder` becomes: resolved once, when a dataset is first planned, and stored with it.

`auto` is the reference, PyAV, for files of every class (codec, size, pixel format): on a CPU it was measured
to be the fastest that is exact, in all of them (`fifth probe --decoders FILE` measures on your own). No GPU
has been measured yet, so `auto` never chooses one.
"""

from __future__ import annotations

from ingest.decoders.backends import DECODERS, why_missing
from ingest.errors import WrongUse

FASTEST_EXACT = "av"


def resolve_decoder(asked: str, stored: str | None = None) -> str:
    """Return the decoder to use on this machine.

    Args:
        asked: `auto` or one of `DECODERS`.
        stored: what the dataset was made with; None for a new one. `auto` keeps to it.

    Raises:
        WrongUse: there is no such decoder, or this machine does not have it.
    """
    if asked not in ("auto", *DECODERS):
        raise WrongUse(f"--decoder must be auto, {', '.join(DECODERS)}, got {asked!r}")
    name = (stored or FASTEST_EXACT) if asked == "auto" else asked
    missing = why_missing(name)
    if missing and stored == name:
        raise WrongUse(
            f"the dataset is made with --decoder {name}, which this machine can't use: {missing}. "
            "Go on with it on a machine that can, or make another dataset folder with --decoder av."
        )
    if missing:
        raise WrongUse(f"--decoder {name}: {missing}. --decoder av works everywhere.")
    return name
