"""Tokens back to pictures and sound: one sample of a dataset becomes an mp4, wav or csv.

The ending of the output decides: `.mp4` (pictures and, where the sample has it, sound), `.wav`
(sound), `.csv` (signals, one row per step), `.npy` (depth, float32 [T, H, W] in metres, NaN where nothing
was measured), `.txt` (text). A folder gets one file per track.
"""

from __future__ import annotations

import csv
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from encoders import ModelNotFound, kept_encoder_for, reconstruct_clip
from ingest.errors import WrongUse
from ingest.timing import NS, grid_times
from shards import Sample, WrongLayout, open_dataset

BT601 = 6
"""The matrix by which RGB is written, as numbered by ITU-T H.273, table 4."""
UNSAID_RATE = Fraction(8)
"""Frames per second of pictures whose rate is not stored."""


ENDINGS = {"pictures": ".mp4", "depth": ".npy", "sound": ".wav", "signal": ".csv", "text": ".txt"}
"""Of the files that tracks are written to, by medium."""


@dataclass(frozen=True)
class Reconstructed:
    """One track of a sample, turned back into media."""

    name: str
    medium: str
    media: Any
    """pictures uint8 [T, 3, H, W], depth float32 [T, H, W] in metres, sound float32 [C, N], signal
    float32 [T, D], text str."""
    rate: Fraction | None
    """Frames, samples or rows per second; None for native stamps and text."""
    columns: tuple[str, ...] = ()
    times_ns: np.ndarray | None = None
    """int64 [T], relative to the clip's start, where the sample stores them."""
    values: np.ndarray | None = None
    """Signals: the values as stored beside their tokens."""


def reconstruct_sample(
    dataset: Path | str, key: str, track: str = "", left_out: Callable[[str], None] | None = None
) -> dict[str, Reconstructed]:
    """Turn the tokens of one sample back into media; tracks of embeddings are left out.

    Args:
        dataset: its folder.
        key: of the sample.
        track: the one that must come back; empty: all of them must.
        left_out: told of further tracks whose pretrained model is not on this machine; None: they are an
            error as well.

    Raises:
        shards.ShardsError: no dataset, or no sample of this key.
        EncodersError: an encoder that can't be built here: its weights are not found, or others.
    """
    opened = open_dataset(Path(dataset))
    sample = opened.sample(key)
    layout = opened.layouts[sample.layout]
    found = {}
    for name in layout.tracks:
        if not leads_back(layout.track(name)):
            continue
        try:
            found[name] = reconstruct_track(layout.track(name), sample)
        except ModelNotFound as error:
            if left_out is None or name == track:
                raise
            left_out(f"{name} is left out: {error}")
    return found


def leads_back(track: Mapping[str, Any]) -> bool:
    """Tell whether media come back from what is stored of a layout's track."""
    return not track.get("spec") or bool(track["spec"].get("reconstructs", True))


def reconstruct_track(track: Mapping[str, Any], sample: Sample) -> Reconstructed:
    """Turn the tokens of one track, as the sample's layout describes it, back into media."""
    name, medium, spec = track["name"], track.get("medium"), track.get("spec") or {}
    rate = Fraction(track["rate"]) if track.get("rate") else None
    if medium not in ENDINGS:
        raise WrongLayout(f"track {name} is of medium {medium!r}; known are {', '.join(ENDINGS)}")
    if medium == "text" and name in sample.text:
        return Reconstructed(name, medium, sample.text[name], None)
    arrays = sample.arrays
    valid = sample.valid[name]
    stored = f"{name}.{'features' if spec.get('kind') == 'features' else 'tokens'}"
    if stored not in arrays:
        raise WrongLayout(f"track {name} has no {stored}.npy that its token spec speaks of")
    offsets = arrays.get(f"{name}.offsets")
    encoder = kept_encoder_for(spec)
    if encoder.spec.input.medium != medium:
        raise WrongLayout(f"track {name} is of medium {medium}, its encoder of {encoder.spec.input.medium}")
    media = reconstruct_clip(encoder, np.asarray(arrays[stored]), valid, offsets).numpy()
    return Reconstructed(
        name,
        medium,
        media,
        rate,
        tuple(track.get("columns") or ()),
        arrays.get(f"{name}.times"),
        arrays.get(f"{name}.values"),
    )


def write_reconstruction(tracks: Mapping[str, Reconstructed], out: Path, track: str = "") -> list[Path]:
    """Write reconstructed tracks to a file or folder.

    Args:
        tracks: as `reconstruct_sample` returned them.
        out: `.mp4`, `.npy`, `.wav`, `.csv`, `.txt`, or a folder for all of them that are not empty.
        track: the track to write where several would fit; empty: the first of its medium.

    Raises:
        WrongUse: the sample has no track of the kind that the ending asks for, or it is empty.
        OSError: the place can't be written to.
    """
    ending = out.suffix.lower()
    if not ending:
        full = [reconstructed for reconstructed in tracks.values() if _has_content(reconstructed)]
        if not full:
            raise WrongUse(f"cannot write {out.name}: every track of the sample is empty")
        out.mkdir(parents=True, exist_ok=True)
        return [path for t in full for path in write_reconstruction(tracks, out / _file(t), t.name)]
    medium = next((medium for medium, other in ENDINGS.items() if other == ending), None)
    if medium is None:
        raise WrongUse(
            f"cannot write {out.name}: give a name that ends in .mp4, .npy, .wav, .csv or .txt, or a folder"
        )
    chosen = _chosen(tracks, medium, track, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")  # it gets its name when it is whole
    try:
        if medium == "pictures":
            sound = next((t for t in tracks.values() if t.medium == "sound" and _has_content(t)), None)
            _write_mp4(part, chosen, sound)
        elif medium == "depth":
            with part.open("wb") as file:
                np.save(file, chosen.media, allow_pickle=False)
        elif medium == "sound":
            _write_wav(part, chosen)
        elif medium == "signal":
            _write_csv(part, chosen)
        else:
            part.write_text(chosen.media, "utf-8")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return [out]


def _file(track: Reconstructed) -> str:
    return track.name + ENDINGS[track.medium]


def _chosen(tracks: Mapping[str, Reconstructed], medium: str, track: str, out: Path) -> Reconstructed:
    fitting = [t for t in tracks.values() if t.medium == medium and track in ("", t.name)]
    with_content = [t for t in fitting if _has_content(t)]
    if with_content:
        return with_content[0]
    has = ", ".join(f"{t.name} ({t.medium})" for t in tracks.values())
    wanted = f"track {track!r}" if track else f"{medium}"
    what = f"{wanted} is empty in this sample" if fitting else f"the sample has no {wanted}"
    raise WrongUse(f"cannot write {out.name}: {what}; it has {has}")


def _has_content(track: Reconstructed) -> bool:
    return bool(track.media) if track.medium == "text" else bool(track.media.size)


def _write_mp4(out: Path, pictures: Reconstructed, sound: Reconstructed | None) -> None:
    """Write frames at the grid times they were sampled for, and sound from the clip's start."""
    import av

    frames, rate = pictures.media, pictures.rate or _own_rate(pictures)
    height, width = frames.shape[2:]
    with av.open(f"file:{out}", "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "fast"})
        video.width, video.height = width, height
        video.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        video.codec_context.time_base = 1 / rate
        video.codec_context.colorspace = BT601
        video.codec_context.max_b_frames = 0  # else the last frame's length in the file is another one's
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=int(sound.rate or 0)) if sound else None
        if audio is not None and sound is not None:
            audio.codec_context.layout = _layout(sound)
            audio.codec_context.thread_count = 1
        for step, picture in zip(grid_steps(pictures, rate), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24"
            )
            frame.pts, frame.time_base = step, 1 / rate
            container.mux(_one_step_each(video.encode(frame)))
        container.mux(_one_step_each(video.encode(None)))
        if audio is not None and sound is not None:
            chunk = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound.media), format="fltp", layout=_layout(sound)
            )
            chunk.sample_rate, chunk.pts = int(sound.rate or 0), 0
            container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))


def _own_rate(pictures: Reconstructed) -> Fraction:
    """Return a rate on which frames that were sampled at their own stamps lie, about."""
    times = pictures.times_ns
    if times is None or len(times) < 2:
        return UNSAID_RATE
    return Fraction(NS, max(1, int(np.median(np.diff(times))))).limit_denominator(1001)


def _one_step_each(packets: list[Any]) -> list[Any]:
    """Say how long each frame is shown: else the last one would be as long as the one before it."""
    for packet in packets:
        packet.duration = 1
    return packets


def _layout(sound: Reconstructed) -> str:
    return "mono" if sound.media.shape[0] == 1 else "stereo"


def grid_steps(pictures: Reconstructed, rate: Fraction) -> list[int]:
    """Return for each frame the grid step at which it was sampled, strictly ascending.

    A frame's own time may lie before the clip, repeat where the grid is finer than the camera, or leave
    steps without a frame: it stands at the first step from its own time on that is still free.
    """
    if pictures.times_ns is None:
        return list(range(len(pictures.media)))
    steps: list[int] = []
    for own_ns in (int(time_ns) for time_ns in pictures.times_ns):
        first = -(-max(own_ns, 0) * rate.numerator // (NS * rate.denominator))
        steps.append(max(first, steps[-1] + 1 if steps else 0))
    return steps


def _write_wav(out: Path, sound: Reconstructed) -> None:
    samples = np.clip(np.round(sound.media.T * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(out), "wb") as file:
        file.setnchannels(sound.media.shape[0])
        file.setsampwidth(2)
        file.setframerate(int(sound.rate or 0))
        file.writeframes(samples.tobytes())


def _write_csv(out: Path, signal: Reconstructed) -> None:
    """One row per step: seconds since the clip's start, then the columns; empty where invalid.

    Nine digits bring every float32 back exactly.
    """
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
            writer.writerow([_seconds(int(time_ns)), *("" if np.isnan(v) else f"{v:.9g}" for v in row)])


def _seconds(time_ns: int) -> str:
    """Return seconds with nine decimals: no nanosecond is lost."""
    sign = "-" if time_ns < 0 else ""
    return f"{sign}{abs(time_ns) // NS}.{abs(time_ns) % NS:09d}"
