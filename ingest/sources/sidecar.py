"""Text beside a file, with its stem: `.srt` and `.vtt` subtitles, `.txt` for the whole recording."""

from __future__ import annotations

import re
from pathlib import Path

from ingest.recording import Cue
from ingest.timing import NS

ENDINGS = (".srt", ".vtt", ".txt")
_TIMES = re.compile(
    r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
)
"""A cue's time line; SubRip writes `00:00:01,000`, WebVTT `00:01.000`."""


def read_sidecar(path: Path, start_ns: int, stop_ns: int) -> list[Cue]:
    """Return the cues of a text file.

    Args:
        path: `.srt` or `.vtt`: cues by their own times; `.txt`: one cue for all of it.
        start_ns, stop_ns: the recording's span, which a `.txt` is shown for, and from whose start the
            others count.
    """
    text = path.read_text("utf-8-sig", errors="replace")
    if path.suffix.lower() == ".txt":
        return [Cue(start_ns, stop_ns, text.strip())] if text.strip() else []
    return parse_cues(text, start_ns)


def parse_cues(text: str, origin_ns: int) -> list[Cue]:
    """Read SubRip or WebVTT: blocks of lines, one of which holds the times."""
    cues = []
    for block in re.split(r"\r?\n[ \t]*\r?\n", text):
        lines = block.splitlines()
        for at, line in enumerate(lines):
            times = _TIMES.search(line)
            if times:
                start, stop = _ns(*times.groups()[:4]), _ns(*times.groups()[4:])
                words = "\n".join(re.sub(r"<[^>]*>", "", said) for said in lines[at + 1 :]).strip()
                if words:
                    cues.append(Cue(origin_ns + start, origin_ns + max(stop, start + 1), words))
                break
    return cues


def _ns(hours: str | None, minutes: str, seconds: str, fraction: str) -> int:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * NS + int(fraction.ljust(3, "0")) * 1_000_000
