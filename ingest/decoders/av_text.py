"""Subtitle packets to timed text, through PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.caption_text import words_of_ass
from ingest.errors import CannotDecode
from ingest.recording import Cue, Packet, Track
from ingest.timing import NS, pts_to_ns

UNSAID_NS = 5 * NS
"""How long a cue is shown whose packet has no duration."""


class TextDecoder:
    """Decodes one text-subtitle stream; styling is dropped, the words stay."""

    def __init__(self, track: Track, context: Any, time_base: Fraction) -> None:
        self._track = track
        self._context = context
        self._time_base = time_base

    def decode(self, packet: Packet) -> Iterable[Cue]:
        """Return the packet's cue; empty cues (which only clear the screen) give none."""
        data = packet.data
        try:
            parts = self._context.decode(data)
        except DECODING_ERRORS as error:
            raise CannotDecode(f"a {self._track.codec} cue does not decode ({words_of(error)})") from error
        lines = [words_of_ass(part.ass) for part in parts if part.type == b"ass"]
        text = "\n".join(line for line in lines if line)
        if not text:
            return []
        lasts_ns = pts_to_ns(data.duration, self._time_base) if data.duration else UNSAID_NS
        return [Cue(packet.time_ns, packet.time_ns + max(1, lasts_ns), text)]

    def flush(self) -> Iterable[Cue]:
        """Nothing is held back."""
        return []
