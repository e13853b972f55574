"""Opening a media file and taking its packets out, through PyAV: local, one file, no surprises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import av
import av.error

from ingest.decoders.av_errors import words_of
from ingest.decoders.av_limits import OPTIONS
from ingest.errors import CannotOpen
from ingest.recording import Incident
from ingest.sources.open_failure import why_it_does_not_open
from ingest.sources.ranges import RangeReader

_ELSEWHERE = {
    *("concat", "dash", "ffmetadata", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub"),
    "webm_dash_manifest",
}
"""Demuxers that open other files or the network: playlists and session descriptions."""
_DEVICES = {
    *("alsa", "android_camera", "avfoundation", "bktr", "decklink", "dshow", "fbdev", "gdigrab", "iec61883"),
    *("jack", "kmsgrab", "lavfi", "libcdio", "libdc1394", "openal", "oss", "pulse", "sndio", "v4l2"),
    *("vfwcap", "video4linux2", "x11grab", "xcbgrab"),
}
_SCRIPTS = {"avisynth", "sbg", "vapoursynth"}
"""Demuxers that run what the file says."""
_STILL = {
    *("alias_pix", "apng", "brender_pix", "fits", "frm", "gif", "ico", "image2", "image2pipe", "jpegxl_anim"),
    "msp",
}
"""Demuxers of still pictures, besides all whose name ends in `_pipe`. GIF and APNG count as such."""
_TEXT = {
    *("adf", "aqtitle", "ass", "bin", "idf", "jacosub", "lrc", "mcc", "microdvd", "mpl2", "mpsub", "pjs"),
    *("realtext", "sami", "scc", "srt", "stl", "subviewer", "subviewer1", "sup", "tedcaptions", "tty"),
    *("vplayer", "webvtt", "xbin"),
}
"""Demuxers of subtitles and of text drawn as pictures: beside a recording they are sidecars."""
_HEADERLESS = {
    *("alaw", "bitpacked", "codec2raw", "data", "mulaw", "rawvideo", "s8", "sln", "u8", "v210", "v210x"),
    *(f"{kind}{bits}{end}" for kind in "su" for bits in (16, 24, 32) for end in ("be", "le")),
    *(f"f{bits}{end}" for bits in (32, 64) for end in ("be", "le")),
    "vidc",
}
"""Demuxers that take any bytes by the file's ending: rate and size would be guesses."""

RANGE_BYTES = 1 << 16
"""How much FFmpeg asks for at once of a file that is read by ranges."""
MOST_ERRORS = 1000
"""A container in which so many reads in a row fail is at its end."""


@cache
def allowed_formats() -> frozenset[str]:
    """Return the names of libavformat's demuxers that may open a recording."""
    names = {name for listed in av.formats_available for name in listed.split(",")}
    refused = _ELSEWHERE | _DEVICES | _SCRIPTS | _STILL | _TEXT | _HEADERLESS
    return frozenset(name for name in names - refused if not name.endswith("_pipe"))


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file for reading.

    Only the file itself is ever opened: playlists, references that lead elsewhere, still pictures and
    text are refused.

    Raises:
        CannotOpen: with the cause in words.
        OSError: the file can't be read at all.
    """
    with path.open("rb") as file:
        pass  # a missing file or permission is told by Python, in its own words
    formats = ",".join(sorted(allowed_formats()))
    try:
        if isinstance(file, RangeReader):
            options = {"protocol_whitelist": "none", "format_whitelist": formats}
            return av.open(
                path.open("rb"), "r", metadata_errors="replace", container_options=options,
                buffer_size=RANGE_BYTES,
            )  # fmt: skip
        options = {"protocol_whitelist": "file", "format_whitelist": formats}
        # with the protocol said, a colon in a file's name is a colon
        return av.open(
            f"file:{path}", metadata_errors="replace", container_options=options, options=dict(OPTIONS)
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise_if_unreadable(path, error)
        raise CannotOpen(why_it_does_not_open(path, words_of(error))) from error


def packets_of(
    container: av.container.InputContainer, streams: Sequence[Any], damage: Damage
) -> Iterator[Any]:
    """Take out the packets of some streams, in the container's order, until the end.

    Args:
        container: opened; the reading position is where the last reader left it.
        streams: of this container.
        damage: told of every place that can't be read; reading goes on behind it.

    Raises:
        OSError: the file can't be read any more.
    """
    failed = 0
    while streams and failed <= MOST_ERRORS:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    failed = 0
                    yield packet
            return
        except IndexError:  # all packets were taken: PyAV stumbles over a stream that appeared on the way
            return
        except (av.error.FFmpegError, OSError) as error:
            if container.name.startswith("file:"):  # others raise their own errors
                raise_if_unreadable(Path(container.name.removeprefix("file:")), error)
            if not failed:
                damage.begin(words_of(error))
            failed += 1


class Damage:
    """Where a container can't be read: each place lasts from the packet before it to the one after."""

    def __init__(self) -> None:
        self.latest_ns: int | None = None
        """The greatest decoding time so far, kept by whoever takes the packets."""
        self.places: list[tuple[str, int | None, int | None]] = []
        """Cause, and the decoding times before and after; None where there is none."""
        self.is_open = False

    def begin(self, cause: str) -> None:
        """Note that reading fails here."""
        self.places.append((cause, self.latest_ns, None))
        self.is_open = True

    def end(self) -> None:
        """Note that reading went on, at `latest_ns`."""
        cause, start_ns, _ = self.places[-1]
        self.places[-1] = (cause, start_ns, self.latest_ns)
        self.is_open = False

    def incidents(self, track: str, start_ns: int, stop_ns: int) -> list[Incident]:
        """Return a failure for every place.

        Args:
            track: the track's name, or "" for the whole recording.
            start_ns, stop_ns: the recording's span, which bounds what no packet bounds.
        """
        found = []
        for cause, before_ns, after_ns in self.places:
            begins_ns = start_ns if before_ns is None else before_ns
            ends_ns = max(begins_ns, stop_ns if after_ns is None else after_ns)
            words = f"the container can't be read here ({cause})"
            found.append(Incident("failure", words, track, begins_ns, ends_ns))
        return found


def raise_if_unreadable(path: Path, error: Exception) -> None:
    """Raise the machine's own error if the file can't be read to its end.

    FFmpeg answers with the same error number where a disk fails and where a file was cut off.
    """
    if not isinstance(error, OSError) or isinstance(error, av.error.InvalidDataError):
        return
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
