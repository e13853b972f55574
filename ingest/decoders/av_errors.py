"""What FFmpeg's errors mean, in words that are the same on every machine."""

from __future__ import annotations

import errno

import av.error

DECODING_ERRORS = (av.error.FFmpegError, ValueError)
"""What PyAV raises for damaged or unsupported data."""


_DAMAGE = (
    *(av.error.InvalidDataError, av.error.ArgumentError, av.error.UndefinedError, av.error.UnknownError),
    PermissionError,
)
"""How decoders call damaged data: also with numbers that mean nothing, and with "not permitted"."""


def words_of(error: Exception) -> str:
    """Return what an error of FFmpeg's says, without paths and numbers."""
    if isinstance(error, _DAMAGE):
        return "the data is damaged"
    if isinstance(error, av.error.PatchWelcomeError):
        return "FFmpeg does not support this variant"
    if isinstance(error, EOFError) or getattr(error, "errno", 0) == errno.EIO:
        return "the data ends too early"
    if isinstance(error, MemoryError):
        return "the data asks for more memory than there is"
    said = getattr(error, "strerror", None) or str(error)
    return str(said).lower()
