"""Makes the clips that `decode.py` measures: real pictures (film and a drive), 20 s each, 30 a second.

Frames of two recordings are brought to one size, played one after the other and over again, and encoded as
people's files are: with B-frames, keyframes ten seconds apart, small web renditions and camera bit rates.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

SECONDS, FPS = 20, 30
LONG = "ten_minutes.mp4"
"""The first clip thirty times: for sound, which takes too little time in twenty seconds."""
SOURCES = ("video/bigbuckbunny.mp4", "driving/solidWhiteRight.mp4")
_X264 = ("-c:v", "libx264", "-preset", "fast", "-bf", "3", "-g", "250", "-pix_fmt", "yuv420p")
_UP = "scale=1920:1080:flags=lanczos,noise=alls=3:allf=t"


class Clip(NamedTuple):
    """One input."""

    title: str
    filters: str
    options: tuple[str, ...]


_CAMERA = ("-b:v", "12M", "-maxrate", "14M", "-bufsize", "24M")
_X265 = ("-c:v", "libx265", "-preset", "fast", "-crf", "26", "-x265-params", "log-level=error:keyint=250")
_VPX = ("-c:v", "libvpx-vp9", "-b:v", "1500k", "-g", "250", "-deadline", "good", "-cpu-used", "5")
_SVT = ("-c:v", "libsvtav1", "-preset", "8", "-crf", "35", "-g", "250")
CLIPS = {
    "h264_1080p.mp4": Clip("H.264 1080p, web", _UP, (*_X264, "-crf", "25")),
    "h264_1080p_camera.mp4": Clip("H.264 1080p, 12 Mbit/s", _UP, (*_X264, *_CAMERA)),
    "h264_720p.mp4": Clip("H.264 720p, web", "null", (*_X264, "-crf", "23")),
    "hevc_720p.mp4": Clip("HEVC 720p, web", "null", _X265),
    "vp9_720p.webm": Clip("VP9 720p, web", "null", _VPX),
    "av1_720p.mp4": Clip("AV1 720p, web", "null", _SVT),
}


def make_inputs(media: Path, folder: Path) -> list[Path]:
    """Make the clips that are not there yet.

    Raises:
        subprocess.CalledProcessError: ffmpeg can't encode one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mezzanine = folder / "mezzanine.mkv"
    if not mezzanine.exists():
        same = "scale=1280:720:flags=lanczos,setsar=1,format=yuv420p,setpts=N/30/TB"
        graph = f"[0:v]{same}[a];[1:v]{same}[b];[a][b]concat=n=2:v=1:a=0,fps={FPS}[v]"
        inputs = [word for name in SOURCES for word in ("-i", str(media / name))]
        to = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-g", "30")
        _ffmpeg(*inputs, "-filter_complex", graph, "-map", "[v]", *to, out=mezzanine)
    for name, clip in CLIPS.items():
        if not (folder / name).exists():
            tone = ("-f", "lavfi", "-i", f"sine=frequency=330:sample_rate=48000:duration={SECONDS}")
            sound = ("-c:a", "libopus" if name.endswith("webm") else "aac", "-b:a", "128k", "-ac", "2")
            _ffmpeg(
                *("-stream_loop", "-1", "-i", str(mezzanine), *tone, "-t", str(SECONDS)),
                *("-map", "0:v", "-map", "1:a", "-vf", clip.filters, "-r", str(FPS), *clip.options, *sound),
                out=folder / name,
            )
    if not (folder / LONG).exists():
        again = ("-stream_loop", "29", "-i", str(folder / "h264_1080p.mp4"), "-c", "copy", "-t", "600")
        _ffmpeg(*again, out=folder / LONG)
    return [folder / name for name in CLIPS]


def _ffmpeg(*words: str, out: Path) -> None:
    part = out.with_name(f"part-{out.name}")
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words, str(part)], check=True)
    part.rename(out)
