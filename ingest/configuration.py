"""The settings that can change bytes, resolved and frozen with the dataset.

Never in here: workers, engine, output path, log level, absolute paths. `auto` is resolved once, when
the dataset is first planned, and stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ingest.clips import PICTURE_CHOICES, Sampling
from ingest.decoder_choice import resolve_decoder
from ingest.encoder_choice import parse_choices, resolve_choices
from ingest.errors import ConfigurationChanged, WrongUse
from ingest.geometry import FITS, Fit
from ingest.timing import FASTEST_HZ, NS, seconds_to_ns
from ingest.track_map import TrackMap

PIPELINE_REVISION = 3
"""Raised whenever our code changes the bytes that the same configuration gives."""

MEDIA = ("pictures", "depth", "sound", "signal")


@dataclass(frozen=True)
class Settings:
    """What `fifth shard` can be told that changes bytes. Checked when made.

    Raises:
        WrongUse: a value that cannot work.
    """

    clip_seconds: Fraction = Fraction(4)
    fps: Fraction = Fraction(8)
    size: int = 256
    fit: str = "auto"
    """`auto`: crop for files, pad for bags (a gripper is at the edge)."""
    depth_size: int = 128
    """Edge of depth pictures; range images of point clouds have a size of their own."""
    video: str = "auto"
    depth: str = "auto"
    audio: str = "auto"
    signals: str = "auto"
    """Encoders (`ingest.encoder_choice`); `auto` is the medium's default, `none` leaves the medium out."""
    signal_hz: Fraction | None = Fraction(50)
    """None: signals keep their own stamps."""
    tracks: tuple[str, ...] = ()
    maps: tuple[TrackMap, ...] = ()
    reference: str = ""
    """Track at whose own stamps pictures and signals are sampled; empty: on their grids."""
    audio_formats: Mapping[str, str] = field(default_factory=dict)
    shard_mb: int = 64
    shard_seconds: int = 3600
    device: str = "auto"
    sample: str = "grid"
    """`grid`: at `fps` times a second the picture shown then; `keyframes`: each picture that is decodable by
    itself, at its own time."""
    decoder: str = "auto"
    """Which library decodes video files, where it is exact; see `ingest.decoder_choice`."""

    def __post_init__(self) -> None:
        for option, value in (("--clip-seconds", self.clip_seconds), ("--fps", self.fps)):
            if value <= 0:
                raise WrongUse(f"{option} must be more than 0, got {_shown(value)}")
        if self.signal_hz is not None and self.signal_hz <= 0:
            raise WrongUse(f"--signal-hz must be more than 0, or 'native', got {_shown(self.signal_hz)}")
        if self.signal_hz is not None and self.signal_hz > FASTEST_HZ:
            raise WrongUse(f"--signal-hz must be at most {FASTEST_HZ}, got {_shown(self.signal_hz)}")
        if self.clip_seconds > 3600:
            raise WrongUse(f"--clip-seconds must be at most 3600, got {_shown(self.clip_seconds)}")
        if self.fps > 1000:
            raise WrongUse(f"--fps must be at most 1000, got {_shown(self.fps)}")
        if self.size < 16 or self.size > 4096 or self.size % 16:
            raise WrongUse(f"--size must be a multiple of 16 from 16 to 4096, got {self.size}")
        if not 1 <= self.depth_size <= 4096:
            raise WrongUse(f"--depth-size must be from 1 to 4096, got {self.depth_size}")
        if self.fit not in ("auto", *FITS):
            raise WrongUse(f"--fit must be crop, pad or stretch, got {self.fit!r}")
        if self.sample not in PICTURE_CHOICES:
            raise WrongUse(f"--sample must be grid or keyframes, got {self.sample!r}")
        if self.sample == "keyframes" and self.decoder not in ("auto", "av"):
            raise WrongUse(f"--sample keyframes takes --decoder av, got {self.decoder!r}")
        if self.shard_mb < 1 or self.shard_seconds < 1:
            raise WrongUse("--shard-mb and --shard-seconds must be at least 1")
        names = [entry.name for entry in self.maps]
        if len(set(names)) < len(names):
            raise WrongUse(f"--map gives one name twice: {', '.join(names)}")
        for medium in MEDIA:
            parse_choices(self.encoders_for(medium))
        if self.reference and names and self.reference not in names:
            raise WrongUse(f"--reference {self.reference}: --map names only {', '.join(names)}")

    def encoders_for(self, medium: str) -> str:
        """Return the encoders of a medium, as they were asked for."""
        names = {"pictures": self.video, "depth": self.depth, "sound": self.audio, "signal": self.signals}
        return names[medium]


def _shown(value: Fraction) -> str:
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "more than can be counted"


@dataclass(frozen=True)
class Configuration:
    """Resolved settings: what the dataset stores, and what every worker builds its encoders from."""

    data: Mapping[str, Any]
    """JSON, sorted keys; see `resolve`."""

    @property
    def digest(self) -> str:
        """Return the sha256 of the configuration's JSON."""
        return hashlib.sha256(json.dumps(self.data, sort_keys=True).encode()).hexdigest()

    @property
    def clip_ns(self) -> int:
        """Length of a clip."""
        return int(self.data["clip_ns"])

    @property
    def maps(self) -> tuple[TrackMap, ...]:
        """The tracks that are wanted by name."""
        return tuple(TrackMap.parse(text) for text in self.data["map"])

    @property
    def reference(self) -> str:
        """The track at whose own stamps the others are sampled; empty: on their grids."""
        return str(self.data.get("reference", ""))

    def fit_for(self, kind: str) -> Fit:
        """Return how pictures of a `media` file, a `bag` or an `episode` are fitted."""
        fit: Fit | None = None if self.data["fit"] == "auto" else self.data["fit"]
        return fit or ("crop" if kind == "media" else "pad")

    def encoders_of(self, medium: str) -> list[Mapping[str, Any]]:
        """Return what is stored of a medium's encoders: `slug`, `rate`, `spec`; none for text."""
        return list(self.data["encoders"].get(medium, ()))

    def sampling(self, kind: str) -> Sampling:
        """Return how tracks are sampled, where their wishes say nothing else."""
        return Sampling(
            pictures=self.data["sample"],
            fps=Fraction(self.data["fps"]),
            size=self.data["size"],
            depth_size=self.data["depth_size"],
            fit=self.fit_for(kind),
            signal_hz=None if self.data["signal_hz"] == "native" else Fraction(self.data["signal_hz"]),
        )

    def check_same(self, other: Configuration) -> None:
        """Raise `ConfigurationChanged` where this, asked for now, differs from what the dataset has."""
        lines = differences(other.data, self.data)
        if lines:
            raise ConfigurationChanged(
                "the dataset was made with other settings:\n  "
                + "\n  ".join(lines)
                + "\nGive the same settings to go on, or another dataset folder."
            )


def resolve(settings: Settings, stored: Configuration | None = None) -> tuple[Configuration, str]:
    """Resolve `auto` and return the configuration, and the device to work on.

    The device is part of the configuration only where an encoder's tokens depend on it.

    Args:
        settings: what was asked for.
        stored: the configuration of the dataset, if there is one already.

    Raises:
        WrongUse: an encoder or a decoder that can't be used.
    """
    decoder = resolve_decoder(settings.decoder, stored.data.get("decoder") if stored else None)
    device = resolve_device(settings.device)
    encoders = {
        medium: resolve_choices(
            settings.encoders_for(medium),
            medium,
            device,
            settings.depth_size if medium == "depth" else settings.size,
        )
        for medium in MEDIA
    }
    exact = all(e["spec"]["exact_across_devices"] for chosen in encoders.values() for e in chosen)
    data = {
        "pipeline_revision": PIPELINE_REVISION,
        "clip_ns": seconds_to_ns(settings.clip_seconds),
        "fps": rate_text(settings.fps),
        "size": settings.size,
        "depth_size": settings.depth_size,
        "fit": settings.fit,
        "sample": settings.sample,
        "encoders": encoders,
        "signal_hz": rate_text(settings.signal_hz) if settings.signal_hz else "native",
        "tracks": list(settings.tracks),
        "map": [str(entry) for entry in settings.maps],
        "reference": settings.reference,
        "audio_formats": dict(settings.audio_formats),
        "shard_bytes": settings.shard_mb * 2**20,
        "shard_ns": settings.shard_seconds * NS,
        "device": "any" if exact else device,
        "decoder": decoder,
    }
    return Configuration(json.loads(json.dumps(data, sort_keys=True))), device


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is a GPU, else `cpu`."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return one line per value that differs between two JSON values: `fps: 8/1 there, 4/1 now`."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        lines = []
        for key in sorted({*ours, *theirs}):
            lines += differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
        return lines
    if ours == theirs:
        return []
    return [f"{path}: {_short(ours)} there, {_short(theirs)} now"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def rate_text(rate: Fraction) -> str:
    """Return a rate as the configuration and the layouts write it: `8/1`."""
    return f"{rate.numerator}/{rate.denominator}"
