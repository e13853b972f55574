"""`fifth encoders`: the list of encoders, and their quality on real media."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from encoders import (
    Encoder,
    Medium,
    TokenSpec,
    default_encoder,
    encoder_names,
    load_encoder,
    measure,
    medium_of,
    model_families,
)
from encoders.sound_metrics import resampled
from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.discovery import Walk, find_recordings
from ingest.errors import CannotOpen, WrongUse
from ingest.opening import open_recording
from ingest.recording import Recording, Track
from ingest.sampling.clip import DepthClip, PictureClip, SignalClip, SoundClip
from ingest.timing import NS, clip_count

MEDIA: tuple[Medium, ...] = ("pictures", "depth", "sound", "signal")
FPS, SIGNAL_HZ = Fraction(8), Fraction(50)
SOUND_RATE = 48_000
"""Sound is read at the highest rate that an encoder has, and brought to each one's own."""
CLIP_NS = 4 * NS
MOST_RECORDINGS = 8


def list_encoders() -> dict[str, Any]:
    """Describe every encoder with its default settings: rates at 8 frames and 50 rows per second.

    Returns:
        `encoders`: those in the box; `pretrained`: the families of models that `hf:...` takes.
    """
    found = []
    for name in encoder_names():
        spec = load_encoder(name).spec
        medium = medium_of(name)
        rate = {"pictures": FPS, "depth": FPS, "signal": SIGNAL_HZ, "sound": None}[medium]
        per_second = spec.tokens_per_second(rate)
        found.append(
            {
                "name": name,
                "medium": medium,
                "default": name == default_encoder(medium),
                "takes": _takes(spec),
                "gives": _gives(spec),
                "kind": spec.kind,
                "tokens_per_second": float(per_second) if per_second else 0.0,
                "bits_per_second": _bits_per_second(spec, rate),
                "exact_across_devices": spec.exact_across_devices,
                "spec": spec.to_json(),
            }
        )
    pretrained = [
        {"family": family.name, "medium": family.medium, "models": list(family.kinds), "gives": family.gives}
        for family in model_families()
    ]
    return {
        "encoders": found,
        "pretrained": pretrained,
        "at": {"fps": str(FPS), "signal_hz": str(SIGNAL_HZ)},
    }


def _takes(spec: TokenSpec) -> str:
    if spec.input.size:
        what = "metres" if spec.input.medium == "depth" else "RGB"
        return f"{spec.input.size[1]}x{spec.input.size[0]} {what}"
    if spec.input.rate:
        return f"{int(spec.input.rate)} Hz, {spec.input.channels} ch"
    return "columns"


def _gives(spec: TokenSpec) -> str:
    if spec.kind == "bytes":
        return "bytes"
    if spec.is_ragged:
        return f"any number of codes, of {spec.codebook_sizes[0]}"
    if spec.input.medium == "signal":
        return f"a code per column, of {spec.codebook_sizes[0]}"
    axes = "x".join(str(edge) for edge in spec.shape) or "1"
    if spec.kind == "features":
        return f"{axes} numbers per step"
    books = ", ".join(str(size) for size in dict.fromkeys(spec.codebook_sizes))
    return f"{axes} codes per step, of {books}"


def _bits_per_second(spec: TokenSpec, rate: Fraction | None) -> float:
    rate = spec.input.rate or rate
    if rate is None or spec.kind != "codes" or spec.is_ragged:
        return 0.0
    return float(rate * spec.steps_per_chunk / spec.input.chunk) * spec.bits_per_step


def measure_encoders(path: Path, seconds: Fraction) -> dict[str, Any]:
    """Encode and reconstruct media from a file or folder with every encoder of its media.

    Args:
        path: a recording or a folder; of a folder the first 8 recordings.
        seconds: how much of each recording to take, from its middle.

    Returns:
        `measured`: per encoder and track `figures` (dB, RMSE in the signal's unit), `bits_per_second`.
    """
    media = _media(path, int(seconds * NS))
    measured = []
    for medium in MEDIA:
        for name in encoder_names(medium):
            if not load_encoder(name).spec.reconstructs:
                continue  # nothing comes back that could be compared
            for track, clips, rate, columns in media[medium]:
                sizes: dict[str, Any] = {"size": list(clips[0].shape[1:])} if medium == "depth" else {}
                measured.append(_measured(load_encoder(name, **sizes), track, clips, rate, columns))
    if not measured:
        raise WrongUse(f"{path}: no media to measure on")
    return {"measured": measured}


def _measured(
    encoder: Encoder, track: str, clips: list[torch.Tensor], rate: Fraction, columns: tuple[str, ...]
) -> dict[str, Any]:
    """Measure one encoder; what must be fitted is fitted to the same clips, as for a dataset of them."""
    wanted = encoder.spec.input.rate
    if encoder.spec.input.medium == "sound" and wanted not in (None, rate):
        clips = [_at_rate(clip, int(rate), int(wanted)) for clip in clips]
    fitted = encoder.fit([clip.numpy() for clip in clips]) if encoder.spec.needs_fit else encoder
    quality = measure(fitted, clips, rate)
    figures = {_named(name, columns): value for name, value in quality.figures.items()}
    rates = {"track": track, "bits_per_second": quality.bits_per_second}
    return {**quality.to_json(), **rates, "figures": figures}


def _at_rate(clip: torch.Tensor, rate: int, wanted: int) -> torch.Tensor:
    """Return sound [1, N] at the rate of an encoder, in range."""
    return torch.from_numpy(resampled(clip[0].numpy(), rate, wanted)).clamp(-1, 1)[None]


def _named(figure: str, columns: tuple[str, ...]) -> str:
    """Return `rmse.x` for `rmse.0`."""
    what, _, column = figure.partition(".")
    return f"{what}.{columns[int(column)]}" if column else figure


Clips = list[tuple[str, list[torch.Tensor], Fraction, tuple[str, ...]]]
"""Per track its name, its clips, their rate, and the columns of a signal."""


def _media(path: Path, length_ns: int) -> dict[str, Clips]:
    """Read pictures and sound of all recordings together, and each track of depth and signals by itself."""
    sampling = Sampling(fps=FPS, sample_rate=SOUND_RATE, channels=1, signal_hz=SIGNAL_HZ)
    pictures: list[torch.Tensor] = []
    sound: list[torch.Tensor] = []
    signals: dict[str, list[torch.Tensor]] = {}
    depths: dict[str, list[torch.Tensor]] = {}
    columns: dict[str, tuple[str, ...]] = {}
    for found in list(find_recordings([path], Walk()))[:MOST_RECORDINGS]:
        try:
            with open_recording(found.paths, episode=found.episode) as source:
                recording = source.probe()
                for wish, media in _clips(source, recording, length_ns, sampling):
                    if isinstance(media, PictureClip):
                        pictures.append(torch.as_tensor(media.frames).permute(0, 3, 1, 2))
                    elif isinstance(media, SoundClip):
                        sound.append(torch.from_numpy(media.samples))
                    elif isinstance(media, DepthClip):
                        depths.setdefault(f"{found.name}:{wish}", []).append(torch.from_numpy(media.frames))
                    else:
                        name = f"{found.name}:{wish}"
                        columns[name] = recording.track(wish).columns
                        signals.setdefault(name, []).append(torch.from_numpy(media.values))
        except CannotOpen:
            continue
    return {
        "pictures": [("all pictures", pictures, FPS, ())] if pictures else [],
        "depth": [(name, clips, FPS, ()) for name, clips in sorted(depths.items())],
        "sound": [("all sound", sound, Fraction(sampling.sample_rate), ())] if sound else [],
        "signal": [(name, clips, SIGNAL_HZ, columns[name]) for name, clips in sorted(signals.items())],
    }


def _clips(
    source: Any, recording: Recording, length_ns: int, sampling: Sampling
) -> Iterator[tuple[str, PictureClip | DepthClip | SoundClip | SignalClip]]:
    wishes = [Wish(track.name, track) for track in recording.tracks if _measurable(track)]
    count = clip_count(recording.origin_ns, recording.stop_ns, CLIP_NS)
    wanted = min(count, max(1, length_ns // CLIP_NS))
    windows = windows_of(recording, CLIP_NS, (count - wanted) // 2, wanted)
    for _, name, media in read_clips(source, wishes, windows, sampling, lambda _: None):
        if isinstance(media, (PictureClip, DepthClip, SoundClip, SignalClip)) and media.valid:
            yield name, media


def _measurable(track: Track) -> bool:
    return track.medium != "text"
