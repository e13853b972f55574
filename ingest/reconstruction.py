"""Tokens back to pictures and sound: one sample of a dataset becomes an mp4, wav or csv.

The ending of the output decides: `.mp4` (pictures and, where the sample has it, sound), `.wav`
(sound), `.csv` (signals, one row per step), `.txt` (text). A folder gets one file per track.
"""

from __future__ import annotations

import csv
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from encoders import encoder_for, reconstruct_clip
from ingest.errors import WrongUse
from ingest.timing import NS, grid_times
from shards import Sample, open_dataset


@dataclass(frozen=True)
class Reconstructed:
    """One track of a sample, turned back into media."""

    name: str
    medium: str
    media: Any
    """pictures uint8 [T, 3, H, W], sound float32 [C, N], signal float32 [T, D], text str."""
    rate: Fraction | None
    """Frames, samples or rows per second; None for native stamps and text."""
    columns: tuple[str, ...] = ()
    times_ns: np.ndarray | None = None
    """int64 [T], relative to the clip's start, where the sample stores them."""
    values: np.ndarray | None = None
    """Signals: the values as stored beside their tokens."""


def reconstruct_sample(dataset: Path | str, key: str) -> dict[str, Reconstructed]:
    """Turn the tokens of one sample back into media.

    Raises:
        shards.ShardsError: no dataset, or no sample of this key.
    """
    opened = open_dataset(Path(dataset))
    sample = opened.sample(key)
    layout = opened.layouts[sample.layout]
    return {name: _track(layout.track(name), sample) for name in layout.tracks}


def _track(track: Mapping[str, Any], sample: Sample) -> Reconstructed:
    name, medium = track["name"], track["medium"]
    rate = Fraction(track["rate"]) if track["rate"] else None
    if medium == "text":
        return Reconstructed(name, medium, sample.text[name], None)
    arrays = sample.arrays
    valid = sample.valid[name]
    tokens = np.asarray(arrays[f"{name}.tokens"])
    offsets = arrays.get(f"{name}.offsets")
    media = reconstruct_clip(encoder_for(track["spec"]), tokens, valid, offsets).numpy()
    return Reconstructed(
        name,
        medium,
        media,
        rate,
        tuple(track["columns"]),
        arrays.get(f"{name}.times"),
        arrays.get(f"{name}.values"),
    )


def write_reconstruction(tracks: Mapping[str, Reconstructed], out: Path, track: str = "") -> list[Path]:
    """Write reconstructed tracks to a file or folder.

    Args:
        tracks: as `reconstruct_sample` returned them.
        out: `.mp4`, `.wav`, `.csv`, `.txt`, or a folder for all of them.
        track: the track to write where several would fit; empty: the first of its medium.

    Raises:
        WrongUse: the sample has no track of the kind that the ending asks for.
    """
    ending = out.suffix.lower()
    if not ending:
        out.mkdir(parents=True, exist_ok=True)
        return [
            path for name in tracks for path in write_reconstruction(tracks, out / _file(tracks[name]), name)
        ]
    medium = {".mp4": "pictures", ".wav": "sound", ".csv": "signal", ".txt": "text"}.get(ending)
    if medium is None:
        raise WrongUse(
            f"cannot write {out.name}: give a name that ends in .mp4, .wav, .csv or .txt, or a folder"
        )
    chosen = _chosen(tracks, medium, track, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if medium == "pictures":
        sound = next((t for t in tracks.values() if t.medium == "sound" and t.media.shape[1]), None)
        _write_mp4(out, chosen, sound)
    elif medium == "sound":
        _write_wav(out, chosen)
    elif medium == "signal":
        _write_csv(out, chosen)
    else:
        out.write_text(chosen.media, "utf-8")
    return [out]


def _file(track: Reconstructed) -> str:
    return track.name + {"pictures": ".mp4", "sound": ".wav", "signal": ".csv", "text": ".txt"}[track.medium]


def _chosen(tracks: Mapping[str, Reconstructed], medium: str, track: str, out: Path) -> Reconstructed:
    fitting = [t for t in tracks.values() if t.medium == medium and track in ("", t.name)]
    with_content = [t for t in fitting if medium == "text" or t.media.size]
    if with_content:
        return with_content[0]
    has = ", ".join(f"{t.name} ({t.medium})" for t in tracks.values())
    wanted = f"track {track!r}" if track else f"{medium}"
    what = "is empty" if fitting else f"has no {wanted}"
    raise WrongUse(f"cannot write {out.name}: the sample {what}; it has {has}")


def _write_mp4(out: Path, pictures: Reconstructed, sound: Reconstructed | None) -> None:
    """Write frames at their own times, and sound from the clip's start."""
    import av

    frames = pictures.media
    with av.open(str(out), "w") as container:
        video = container.add_stream("libx264", rate=pictures.rate)
        video.width, video.height = frames.shape[3], frames.shape[2]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "16", "preset": "fast"}
        time_base = Fraction(1, 90000)
        video.codec_context.time_base = time_base
        audio = container.add_stream("aac", rate=int(sound.rate or 0)) if sound else None
        if audio is not None and sound is not None:
            audio.codec_context.layout = "mono" if sound.media.shape[0] == 1 else "stereo"
        for index, pts in enumerate(_picture_pts(pictures, time_base)):
            picture = np.ascontiguousarray(frames[index].transpose(1, 2, 0))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = pts, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            layout = "mono" if sound.media.shape[0] == 1 else "stereo"
            chunk = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound.media), format="fltp", layout=layout
            )
            chunk.sample_rate, chunk.pts = int(sound.rate or 0), 0
            container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))


def _picture_pts(pictures: Reconstructed, time_base: Fraction) -> list[int]:
    """Return strictly increasing stamps: when each frame was sampled, on the clip's own clock.

    A frame's own time may lie before the clip or repeat where the grid is finer than the camera; the
    grid step at or after it is what a viewer saw.
    """
    count = len(pictures.media)
    rate = pictures.rate or Fraction(8)
    grid = grid_times(0, int(count * NS / rate) + 1, rate)[:count]
    times = pictures.times_ns if pictures.times_ns is not None else grid
    pts: list[int] = []
    for own_ns in (int(t) for t in times):
        shown_ns = max(own_ns, 0)
        stamp = int(shown_ns * time_base.denominator // (NS * time_base.numerator))
        step = int(time_base.denominator / rate)
        pts.append(max(stamp, pts[-1] + step // 2 if pts else 0))
    return pts


def _write_wav(out: Path, sound: Reconstructed) -> None:
    samples = np.clip(np.round(sound.media.T * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(out), "wb") as file:
        file.setnchannels(sound.media.shape[0])
        file.setsampwidth(2)
        file.setframerate(int(sound.rate or 0))
        file.writeframes(samples.tobytes())


def _write_csv(out: Path, signal: Reconstructed) -> None:
    """One row per step: seconds since the clip's start, then the columns; empty where invalid."""
    rows = signal.media
    if signal.times_ns is not None:
        times = np.asarray(signal.times_ns)
    else:
        rate = signal.rate or Fraction(1)
        times = grid_times(0, int(len(rows) * NS / rate) + 1, rate)[: len(rows)]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", *signal.columns])
        for time_ns, row in zip(times, rows, strict=True):
            seconds = f"{int(time_ns) / NS:.6f}"
            writer.writerow([seconds, *("" if np.isnan(value) else f"{value:.9g}" for value in row)])
