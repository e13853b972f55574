"""Which build of the codec libraries makes and made codec bytes: another one may write other bytes."""

from __future__ import annotations

from typing import Any

from encoders.errors import MissingDependency, WrongSpec


def codecs(encoder: str) -> Any:
    """Return the `av` module.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency(f"{encoder} needs PyAV: pip install av") from error
    return av


def installed_library(encoder: str) -> str:
    """Return what bytes made here are made with; PyAV's wheels bring the codecs along.

    >>> installed_library("opus")  # doctest: +SKIP
    'av 18.1.0, libavcodec 62.28.102'
    """
    av = codecs(encoder)
    return f"av {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def check_library(encoder: str, made_with: str) -> None:
    """Raise unless bytes made here are those of the library that a dataset's other bytes were made with."""
    here = installed_library(encoder)
    if made_with != here:
        raise WrongSpec(
            f"{encoder}: the stored bytes were made with {made_with!r}, this installation has {here!r} and "
            f"may write others; install {made_with.partition(',')[0].replace(' ', '==')} to go on "
            "(reading needs nothing)"
        )
