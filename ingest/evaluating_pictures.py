"""What encoders of pictures lose, against codecs of as many bits.

PSNR, SSIM and MS-SSIM in RGB, on bytes; the mean over frames. Bits are nominal (every code equally likely)
and, beside them, those of the codes' frequencies in what was measured: less than an entropy coder would
need, if the codes are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import Encoder, encode_clip, encoder_names, load_encoder, reconstruct_clip
from encoders.picture_metrics import ms_ssim, psnr, ssim
from encoders.quality import bits_of
from ingest.reference_codecs import H264_QUALITIES, JPEG_QUALITIES, through_h264, through_jpeg
from ingest.training_media import TrainingClip, picture_clips

FPS = Fraction(8)
SIZE, FRAMES, GROUP = 256, 16, 8
CLIPS_OF_EACH = 2
MOST_CLIPS = 24
SIMILARITY_EVERY = 4
"""SSIM and MS-SSIM are slow: they are taken of every fourth frame."""


@dataclass(frozen=True)
class Variant:
    """One encoder with settings, and the size that it works at."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    size: int = SIZE
    """Smaller than 256: frames are scaled down before, and up again after."""

    @property
    def label(self) -> str:
        """What stands in the table."""
        chosen = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        smaller = f" at {self.size}" if self.size < SIZE else ""
        return self.name + (f", {chosen}" if chosen else "") + smaller


VARIANTS = {
    "fifth-video": (Variant("fifth-video", {"stages": 1}), Variant("fifth-video", {"stages": 2})),
    "frames-dct": (
        Variant("frames-dct", {"tokens": 4}, 128),
        Variant("frames-dct", {"tokens": 8}, 128),
        Variant("frames-dct", {"tokens": 4}),
        Variant("frames-dct", {"tokens": 8}),
        Variant("frames-dct", {"tokens": 16}),
    ),
}
"""Where more is measured than the default settings. At half the size `frames-dct` has few enough bits to
be compared with `fifth-video`."""
LEFT_OUT = ("jpeg", "h264")
"""Measured as a codec, at many qualities."""


@dataclass(frozen=True)
class PictureFigures:
    """What was measured of one encoder, or of a codec at one quality."""

    label: str
    bits_per_pixel: float
    entropy_bits_per_pixel: float
    """Of codes, from their frequencies; of bytes the same as the other."""
    psnr_db: float
    ssim: float
    ms_ssim: float
    psnr_db_by_source: dict[str, float] = field(default_factory=dict)

    @property
    def kbit_per_second(self) -> float:
        """At 256 x 256 and 8 frames per second."""
        return self.bits_per_pixel * SIZE * SIZE * float(FPS) / 1000


def evaluate_pictures(data: Path, names: Sequence[str] = (), picture: Path | None = None) -> dict[str, Any]:
    """Measure encoders of pictures and codecs on the recordings of a folder.

    Args:
        data: a folder, or one recording.
        names: of encoders; none: all that need no download.
        picture: where to draw the middle frame of some sources: the original, and what each one makes of it.

    Returns:
        `measured`: per encoder its figures, and `jpeg_db`, `h264_db`: what these codecs reach with as many
        bits (None: they need more at their worst). `codecs`: their curves.
    """
    torch.set_num_threads(1)  # as in the main job: the order of sums can change a network's tokens
    clips = list(picture_clips(data, SIZE, FPS, FRAMES, CLIPS_OF_EACH))
    clips = clips[:: -(-len(clips) // MOST_CLIPS)]
    chosen = names or [name for name in encoder_names("pictures") if name not in LEFT_OUT]
    variants = [variant for name in chosen for variant in VARIANTS.get(name, (Variant(name),))]
    jpeg = [_codec("jpeg", q, clips, partial(through_jpeg, quality=q)) for q in JPEG_QUALITIES]
    h264 = [_codec("h264", q, clips, partial(through_h264, quality=q, group=GROUP)) for q in H264_QUALITIES]
    measured = []
    drawn: list[tuple[str, list[np.ndarray]]] = []
    for variant in variants:
        figures, backs = _encoder(variant, clips)
        drawn.append((variant.label, backs))
        rate = figures.bits_per_pixel
        compared = {"jpeg_db": at_equal_bits(jpeg, rate), "h264_db": at_equal_bits(h264, rate)}
        measured.append({**asdict(figures), "kbit_per_second": figures.kbit_per_second, **compared})
    if picture is not None:
        from ingest.evaluation_picture import draw_copies

        draw_copies(picture, clips, drawn)
    return {
        "clips": len(clips),
        "sources": sorted({clip.source for clip in clips}),
        "measured": measured,
        "codecs": {"jpeg": [asdict(f) for f in jpeg], "h264": [asdict(f) for f in h264]},
    }


def _encoder(variant: Variant, clips: Sequence[TrainingClip]) -> tuple[PictureFigures, list[np.ndarray]]:
    encoder = load_encoder(variant.name, size=variant.size, **variant.settings)
    bits, entropy, backs = 0.0, Entropy(), []
    for clip in clips:
        frames = resized(clip.frames, variant.size)
        made = encode_clip(encoder, torch.from_numpy(frames))
        bits += bits_of(encoder.spec, made)
        entropy.add(encoder, made.tokens)
        back = reconstruct_clip(encoder, made.tokens, made.valid, made.offsets).numpy()
        backs.append(resized(back, SIZE))
    return _figures(variant.label, clips, backs, bits, entropy.bits() or bits), backs


def _codec(
    name: str,
    quality: int,
    clips: Sequence[TrainingClip],
    through: Callable[[np.ndarray], tuple[int, np.ndarray]],
) -> PictureFigures:
    sizes, backs = zip(*(through(clip.frames) for clip in clips), strict=True)
    bits = 8.0 * sum(sizes)
    return _figures(f"{name}, quality={quality}", clips, list(backs), bits, bits)


def _figures(
    label: str, clips: Sequence[TrainingClip], backs: Sequence[np.ndarray], bits: float, entropy: float
) -> PictureFigures:
    by_source: dict[str, list[float]] = {}
    sums, frames = np.zeros(3), 0
    for clip, back in zip(clips, backs, strict=True):
        one, other = torch.from_numpy(clip.frames), torch.from_numpy(np.ascontiguousarray(back))
        decibels = psnr(one, other)
        by_source.setdefault(clip.source, []).extend(decibels.tolist())
        first, second = (part[::SIMILARITY_EVERY].to(torch.float32) for part in (one, other))
        alike = [float(measure(first, second).mean()) * len(one) for measure in (ssim, ms_ssim)]
        sums += [float(decibels.sum()), *alike]
        frames += len(one)
    pixels = frames * SIZE * SIZE
    decibels_mean, ssim_mean, ms_ssim_mean = (sums / frames).tolist()
    return PictureFigures(
        label,
        bits / pixels,
        entropy / pixels,
        decibels_mean,
        ssim_mean,
        ms_ssim_mean,
        {source: float(np.mean(values)) for source, values in by_source.items()},
    )


def at_equal_bits(curve: Iterable[PictureFigures], bits_per_pixel: float) -> float | None:
    """Return a codec's PSNR at this rate, between two measured qualities; None below or above all of them."""
    points = sorted((figures.bits_per_pixel, figures.psnr_db) for figures in curve)
    rates = [log2(rate) for rate, _ in points]
    wanted = log2(bits_per_pixel)
    if not rates[0] <= wanted <= rates[-1]:
        return None
    return float(np.interp(wanted, rates, [decibels for _, decibels in points]))


class Entropy:
    """Counts codes, per index of the last axis where an encoder has several codebooks."""

    def __init__(self) -> None:
        self._counts: list[np.ndarray] = []

    def add(self, encoder: Encoder, tokens: np.ndarray) -> None:
        """Count the codes of a clip; bytes are not counted."""
        spec = encoder.spec
        if spec.kind != "codes":
            return
        books = spec.shape[-1] if spec.axes.endswith("K") else 1
        size = max(spec.codebook_sizes)
        if not self._counts:
            self._counts = [np.zeros(size, np.int64) for _ in range(books)]
        for book, counts in enumerate(self._counts):
            counts += np.bincount(tokens.reshape(-1, books)[:, book], minlength=size)

    def bits(self) -> float:
        """Return the bits of all codes together, if each took -log2 of its share."""
        total = 0.0
        for counts in self._counts:
            seen = counts[counts > 0].astype(np.float64)
            total -= float((seen * np.log2(seen / seen.sum())).sum())
        return total


def resized(frames: np.ndarray, size: int) -> np.ndarray:
    """Scale frames [T, 3, H, W] to a size: by area down, bicubic up."""
    if frames.shape[-1] == size:
        return frames
    import cv2

    how = cv2.INTER_AREA if size < frames.shape[-1] else cv2.INTER_CUBIC
    scaled = [cv2.resize(f.transpose(1, 2, 0), (size, size), interpolation=how) for f in frames]
    return np.ascontiguousarray(np.stack(scaled).transpose(0, 3, 1, 2))


def pictures_table(found: dict[str, Any]) -> str:
    """Return the figures as text, the fewest bits first."""
    amount = f"{found['clips']} clips of {len(found['sources'])} sources"
    head = f"pictures: {amount}, 256 x 256, 8 frames per second"
    lines = [
        head,
        f"{'encoder':34} {'bits/px':>8} {'entropy':>8} {'kbit/s':>7} {'PSNR':>6} {'SSIM':>6} {'MS-SSIM':>8} "
        f"{'JPEG':>6} {'H.264':>6}",
    ]
    for entry in sorted(found["measured"], key=lambda e: (e["bits_per_pixel"], e["label"])):
        codecs = [f"{entry[key]:.2f}" if entry[key] is not None else "-" for key in ("jpeg_db", "h264_db")]
        lines.append(
            f"{entry['label']:34} {entry['bits_per_pixel']:8.4f} {entry['entropy_bits_per_pixel']:8.4f} "
            f"{entry['kbit_per_second']:7.1f} {entry['psnr_db']:6.2f} {entry['ssim']:6.3f} "
            f"{entry['ms_ssim']:8.3f} {codecs[0]:>6} {codecs[1]:>6}"
        )
    lines.append("JPEG, H.264: their PSNR with as many bits (-: they can't do with so few, or so many)")
    return "\n".join(lines)
