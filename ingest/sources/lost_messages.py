"""How many messages a damaged part of a bag has lost, in words: counted by an index, or estimated."""

from __future__ import annotations


def lost_words(found: int, indexed: int | None, read_bytes: int = 0, whole_bytes: int = 0) -> str:
    """Return how many messages are lost.

    Args:
        found: messages that could be read.
        indexed: messages that an index counts; None where there is none.
        read_bytes: that the messages found fill.
        whole_bytes: that all messages would fill; 0 where that is not known.

    >>> lost_words(7, 10), lost_words(9, 10)
    ('3 messages are lost', '1 message is lost')
    >>> lost_words(7, None, 700, 1010)
    'about 3 messages are lost, by its size'
    >>> lost_words(0, None)
    'how many messages are lost is not known'
    """
    if indexed is not None and indexed >= found:
        return _counted(indexed - found)
    if found and read_bytes and whole_bytes > read_bytes:
        return f"about {_counted(max(1, round(found * whole_bytes / read_bytes) - found))}, by its size"
    return "how many messages are lost is not known"


def _counted(count: int) -> str:
    return "1 message is lost" if count == 1 else f"{count} messages are lost"
