"""Text beside a file, with its stem: `.srt` and `.vtt` subtitles, `.txt` for the whole recording."""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from ingest.decoders.caption_text import without_tags
from ingest.recording import Cue
from ingest.timing import NS

ENDINGS = (".srt", ".vtt", ".txt")
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,9}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s|$)")
"""A cue's time line; SubRip writes `00:00:01,000`, WebVTT `00:01.000`, each with settings behind it."""


def read_sidecar(path: Path, start_ns: int, stop_ns: int) -> list[Cue]:
    """Return the cues of a text file.

    Args:
        path: `.srt` or `.vtt`: cues by their own times; `.txt`: one cue for all of it.
        start_ns, stop_ns: the recording's span, which a `.txt` is shown for, and from whose start the
            others count.
    """
    text = _decoded(path.read_bytes())
    if path.suffix.lower() == ".txt":
        return [Cue(start_ns, stop_ns, text.strip())] if text.strip() else []
    return parse_cues(text, start_ns, entities=path.suffix.lower() == ".vtt")


def parse_cues(text: str, origin_ns: int, *, entities: bool = False) -> list[Cue]:
    """Read SubRip or WebVTT: a time line, then words until an empty line or the next time line.

    Args:
        text: the file.
        origin_ns: added to all times.
        entities: whether `&amp;` means `&` (WebVTT).
    """
    cues: list[Cue] = []
    span: tuple[int, int] | None = None
    words: list[str] = []
    for line in [*re.split(r"\r\n|\r|\n", text), ""]:
        times = _TIMES.match(line)
        if times and words and words[-1].strip().isdigit():
            words.pop()  # the next cue's number, where the empty line before it is missing
        if span and (times or not line.strip()):
            said = without_tags("\n".join(words), entities=entities)
            if said:
                cues.append(Cue(origin_ns + span[0], origin_ns + span[1], said))
            span = None
        if times:
            start_ns, stop_ns = _ns(*times.groups()[:4]), _ns(*times.groups()[4:])
            span, words = (start_ns, max(stop_ns, start_ns + 1)), []
        else:
            words.append(line)
    return cues


def _ns(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> int:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * NS + int((fraction or "0").ljust(9, "0"))


def _decoded(data: bytes) -> str:
    """Return text as UTF-8, as UTF-16 if it is marked so, or as Windows-1252, which takes any bytes."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
