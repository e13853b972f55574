"""Why a file does not open as a recording, in words for the person who gave it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

HEAD_BYTES = 4096
_STILL_PICTURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
)
_STILL_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}
"""Major brands of ISO media files that hold still pictures (ISO/IEC 23008-12)."""
_PLAYLISTS = (
    (b"#EXTM3U", "m3u8"),
    (b"ffconcat version", "ffconcat"),
    (b";FFMETADATA", "ffmetadata"),
    (b"v=0", "session description"),
    (b"[playlist]", "pls"),
)
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
)


_CONTAINERS = (
    (b"\x1a\x45\xdf\xa3", "Matroska"),
    (b"OggS", "Ogg"),
    (b"fLaC", "FLAC"),
    (b"FLV", "FLV"),
    (b"RIFF", "WAVE or AVI"),
    (b"ID3", "MP3"),
    (b"\x30\x26\xb2\x75", "ASF"),
    (b"\x06\x0e\x2b\x34", "MXF"),
    (b"\x00\x00\x01\xba", "MPEG"),
    (b"caff", "CAF"),
    (b"FORM", "AIFF"),
)


def why_it_does_not_open(path: Path, said: str) -> str:
    """Return the cause, one sentence without the path.

    Args:
        path: a file that can be read.
        said: the library's own words, for causes that nothing else explains.
    """
    size_bytes = path.stat().st_size
    if not size_bytes:
        return "the file is empty (0 bytes)"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip(b"\0"):
        return "the file holds only zeros where its header should be"
    known = _other_kind(head)
    if known:
        return known
    if head[4:8] == b"ftyp":
        return _why_mp4(path, said)
    if _is_text(head):
        return "the file holds plain text, no audio or video"
    container = next((name for beginning, name in _CONTAINERS if head.startswith(beginning)), "")
    if said == "the data ends too early":
        header = f"{container} header".strip()
        return f"the file was cut off: its {size_bytes} bytes end within the {header}"
    if container:
        return f"a damaged {container} file of {size_bytes} bytes: no picture and no sound can be found in it"
    return f"no container that FFmpeg knows, or a damaged header ({said})"


def _other_kind(head: bytes) -> str:
    """Name what a file is that is no recording; empty if it may be one."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for beginning, name in _PLAYLISTS:
        if text.startswith(beginning):
            return f"a playlist ({name}) that points to other files, no recording: give the files themselves"
    if text.startswith(b"<") and (b"<MPD" in text or b"<smil" in text):
        return "a playlist (DASH) that points to other files, no recording: give the files themselves"
    for beginning, name in _STILL_PICTURES:
        if head.startswith(beginning):
            return f"a still picture ({name}), no recording"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a still picture (WebP), no recording"
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return f"a still picture ({_STILL_BRANDS[head[8:12]]}), no recording"
    for beginning, name in _OTHERS:
        if head.startswith(beginning):
            return f"{name}, no audio or video"
    return ""


def _why_mp4(path: Path, said: str) -> str:
    kinds = {kind for kind, _, _ in top_level_boxes(path)}
    if kinds & {b"moov", b"moof"}:
        return f"the index of this mp4 is damaged ({said})"
    if b"mdat" in kinds:
        return (
            "the index is missing (an mp4 without 'moov'): the recording was cut off before it was finished"
        )
    return "an mp4 of which only the beginning is there: neither index nor media"


def top_level_boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and stop of the top-level boxes of an mp4 (ISO/IEC 14496-12, section 4.2).

    The last box may end behind the file. Ends at the first length that can't be.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size_bytes:
            file.seek(at)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            elif length == 0:  # to the end of the file
                length = size_bytes - at
            if length < 8:
                return
            yield header[4:8], at, at + length
            at += length


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and not any(byte < 9 or 13 < byte < 32 for byte in head)


def is_encrypted_matroska(path: Path) -> bool:
    """Say whether a Matroska or WebM file declares an encrypted track near its beginning.

    Looks for the identities of ContentEncodings and, in it, ContentEncryption (RFC 9559, 5.1.4.1.31)
    instead of walking the whole tree: FFmpeg does not tell, and this only words a failure.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return False
    encodings = head.find(b"\x6d\x80")
    return encodings >= 0 and b"\x50\x35" in head[encodings : encodings + 256]
