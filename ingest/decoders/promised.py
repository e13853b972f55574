"""Messages that lack what their type promises: JSON may hold anything in any field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingest.errors import CannotDecode

MISFITS = (AttributeError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError)
"""What comes of a value of another kind than the one that is asked for."""
LONGEST_WORDS = 200


@contextmanager
def as_promised(what: str) -> Iterator[None]:
    """Say of whatever comes of a message's values that the message does not decode.

    Args:
        what: the message, as the beginning of a sentence: `a laser scan`.

    Raises:
        CannotDecode: in place of what was raised.
    """
    try:
        yield
    except MISFITS as error:
        words = " ".join(str(error).split())[:LONGEST_WORDS]
        raise CannotDecode(f"{what} lacks what its type promises ({words})") from error
