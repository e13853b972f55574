"""Which files are video or sound, by the endings of their names and by their first bytes."""

from __future__ import annotations

from pathlib import Path

MEDIA_ENDINGS = frozenset(
    {
        *(".mp4", ".m4v", ".m4a", ".mov", ".qt", ".mkv", ".mka", ".webm", ".avi", ".divx", ".flv", ".f4v"),
        *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".3gp", ".3g2", ".mxf", ".asf"),
        *(".wmv", ".wma", ".rm", ".rmvb", ".nut", ".dv", ".ivf", ".y4m", ".mjpeg", ".h264", ".264", ".h265"),
        *(".265", ".hevc", ".wav", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".ogv", ".opus", ".aac", ".ac3"),
        *(".eac3", ".amr", ".aif", ".aiff", ".aifc", ".caf", ".au"),
    }
)
"""Endings that claim to be a video or audio file."""

HEAD_BYTES = 1024
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat")
_FILLERS = (b"wide", b"free", b"skip")
"""First boxes of an mp4 or QuickTime file (ISO/IEC 14496-12, section 4.2): length, then name. Texts can
have such a word there too, but no length below 16 MiB."""
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"crx ")
"""Major brands of single pictures in the same boxes (ISO/IEC 23008-12: HEIF; AVIF; Canon's CR3)."""
_SYNC_BYTE = 0x47
_BEGINNINGS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM (EBML)
    b"OggS",
    b"fLaC",
    b"ID3",  # MP3 with its tags first
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"caff",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"DKIF",  # IVF
    b"YUV4MPEG2",
)


def has_media_signature(path: Path) -> bool:
    """Say whether a file begins like a container that can be told apart from anything else."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if len(head) >= 16 and (head[4:8] in _BOXES or (head[4:8] in _FILLERS and not head[0])):
        return not (head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS)
    if head[:4] in (b"RIFF", b"RF64"):
        return head[8:12] in (b"AVI ", b"WAVE")
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    return head.startswith(_BEGINNINGS) or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Say whether there is a sync byte every 188 bytes, or 192 with a time stamp before each (M2TS)."""
    return any(
        len(head) > 3 * size and set(head[first::size]) == {_SYNC_BYTE}
        for first, size in ((0, 188), (4, 192))
    )
