"""What encoders of sound lose, against Opus.

Everything is compared at 16 kHz, where each encoder's result and the original are brought, so that an encoder
for 24 kHz is neither rewarded nor punished for what lies above. Bits are nominal, and beside them those of
the codes' frequencies. PESQ and STOI are added where the packages `pesq` and `pystoi` are installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import encode_clip, encoder_names, load_encoder, reconstruct_clip
from encoders.quality import bits_of
from encoders.sound_metrics import log_spectral_distance_db, mel_distance, resampled, si_sdr_db
from ingest.errors import WrongUse
from ingest.evaluating_pictures import Entropy
from ingest.training_sound import read_sound

JUDGED_RATE = 16_000
READ_RATE = 48_000
SECONDS = 10
"""Of each track, from its middle."""
MOST_TRACKS = 24
LEAST_PEAK = 1e-3
"""A track that is never louder is silence, and left out."""


@dataclass(frozen=True)
class Variant:
    """One encoder with settings."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    slower: int = 1
    """2: it is given sound of half its sample rate as if it were its own, and so takes half the bits."""

    @property
    def label(self) -> str:
        """What stands in the table."""
        chosen = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        less = f" at 1/{self.slower} of its rate" if self.slower > 1 else ""
        return self.name + (f", {chosen}" if chosen else "") + less


VARIANTS = {
    "fifth-audio": tuple(Variant("fifth-audio", {"codebooks": count}) for count in (2, 4, 6, 8)),
    "sound-mdct": (
        Variant("sound-mdct", {"tokens": 8}, slower=4),
        Variant("sound-mdct", {"tokens": 8}, slower=2),
        *(Variant("sound-mdct", {"tokens": count}) for count in (8, 16, 32)),
    ),
    "opus": tuple(Variant("opus", {"bit_rate": rate}) for rate in (6000, 8000, 12000, 16000, 24000)),
}
"""Where more is measured than the default settings. At a part of its rate, `sound-mdct` has few enough bits
to be compared with `fifth-audio`: it then keeps the lower frequencies alone."""


def evaluate_sound(data: Path, names: Sequence[str] = ()) -> dict[str, Any]:
    """Measure encoders of sound on the recordings of a folder.

    Args:
        data: a folder, or one recording.
        names: of encoders; none: all that need no download.

    Returns:
        `measured`: per encoder and settings `kbit_per_second`, `entropy_kbit_per_second`, `mel_l1`,
        `log_spectral_distance_db`, `si_sdr_db` (means over tracks), and `by_track`.

    Raises:
        WrongUse: there is no sound.
    """
    tracks = {name: _middle(sound) for name, sound in read_sound(data, READ_RATE, lambda _: None).items()}
    tracks = {name: sound for name, sound in tracks.items() if _is_heard(sound)}
    if not tracks:
        raise WrongUse(f"{data}: no sound to measure on")
    kept = dict(sorted(tracks.items())[:: -(-len(tracks) // MOST_TRACKS)])
    chosen = names or encoder_names("sound")
    variants = [variant for name in chosen for variant in VARIANTS.get(name, (Variant(name),))]
    seconds = sum(len(sound) for sound in kept.values()) / READ_RATE
    measured = [_measured(variant, kept) for variant in variants]
    return {"tracks": sorted(kept), "seconds": seconds, "measured": measured}


def _middle(sound: np.ndarray) -> np.ndarray:
    length = min(len(sound), SECONDS * READ_RATE)
    first = (len(sound) - length) // 2
    return sound[first : first + length]


def _is_heard(sound: np.ndarray) -> bool:
    return len(sound) > READ_RATE // 2 and float(np.abs(sound).max()) > LEAST_PEAK


def _measured(variant: Variant, tracks: dict[str, np.ndarray]) -> dict[str, Any]:
    encoder = load_encoder(variant.name, **variant.settings)
    assert encoder.spec.input.rate is not None
    fed = Fraction(encoder.spec.input.rate, variant.slower)
    bits, seconds, entropy = 0.0, 0.0, Entropy()
    by_track: dict[str, dict[str, float]] = {}
    for name, sound in tracks.items():
        clip = resampled(sound, READ_RATE, int(fed)).clip(-1, 1)
        made = encode_clip(encoder, torch.from_numpy(clip)[None])
        bits += bits_of(encoder.spec, made) * len(clip) / max(1, _padded(len(clip), encoder.spec.input.chunk))
        seconds += len(clip) / float(fed)
        entropy.add(encoder, made.tokens)
        back = reconstruct_clip(encoder, made.tokens, made.valid, made.offsets)[0].numpy()
        by_track[name] = _figures(
            resampled(back, int(fed), JUDGED_RATE), resampled(sound, READ_RATE, JUDGED_RATE)
        )
    means = {
        key: float(np.mean([row[key] for row in by_track.values()])) for key in next(iter(by_track.values()))
    }
    return {
        "label": variant.label,
        "kbit_per_second": bits / seconds / 1000,
        "entropy_kbit_per_second": (entropy.bits() or bits) / seconds / 1000,
        **means,
        "by_track": by_track,
    }


def _padded(length: int, chunk: int) -> int:
    return -(-length // chunk) * chunk


def _figures(made: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    length = min(len(made), len(wanted))
    ours, theirs = torch.from_numpy(made[:length]), torch.from_numpy(wanted[:length])
    figures = {
        "mel_l1": mel_distance(ours, theirs, JUDGED_RATE),
        "log_spectral_distance_db": log_spectral_distance_db(ours, theirs),
        "si_sdr_db": si_sdr_db(ours, theirs),
    }
    for name, judge in _listeners().items():
        figures[name] = judge(wanted[:length], made[:length])
    return figures


def _listeners() -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """Return the models of hearing that are installed, by the name of their figure."""
    found: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {}
    if find_spec("pesq"):
        pesq = import_module("pesq")
        found["pesq"] = lambda wanted, made: float(
            pesq.pesq(JUDGED_RATE, wanted, made, "wb", on_error=pesq.PesqError.RETURN_VALUES)
        )
    if find_spec("pystoi"):
        stoi = import_module("pystoi").stoi
        found["stoi"] = lambda wanted, made: float(stoi(wanted, made, JUDGED_RATE))
    return found


def sound_table(found: dict[str, Any]) -> str:
    """Return the figures as text, the fewest bits first."""
    extra = [key for key in ("pesq", "stoi") if key in found["measured"][0]]
    lines = [
        f"sound: {found['seconds']:.0f} s of {len(found['tracks'])} tracks, compared at 16 kHz",
        f"{'encoder':42} {'kbit/s':>7} {'entropy':>8} {'mel L1':>7} {'LSD dB':>7} {'SI-SDR':>7}"
        + "".join(f" {key.upper():>6}" for key in extra),
    ]
    lines += [
        f"{entry['label']:42} {entry['kbit_per_second']:7.2f} {entry['entropy_kbit_per_second']:8.2f} "
        f"{entry['mel_l1']:7.3f} {entry['log_spectral_distance_db']:7.2f} {entry['si_sdr_db']:7.2f}"
        + "".join(f" {entry[key]:6.2f}" for key in extra)
        for entry in sorted(found["measured"], key=lambda e: (e["kbit_per_second"], e["label"]))
    ]
    lines.append("less is better of mel L1 and LSD (spectra), more of SI-SDR (waves)")
    return "\n".join(lines)
