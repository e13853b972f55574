"""What encoders of signals lose, per track, in the unit of each column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import encoder_names, load_encoder, measure
from ingest.errors import WrongUse
from ingest.training_signals import SIGNAL_HZ, read_signals


@dataclass(frozen=True)
class Variant:
    """One encoder with settings."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What stands in the table."""
        return ", ".join([self.name, *(f"{key}={value}" for key, value in self.settings.items())])


VARIANTS = {"fast-1024": tuple(Variant("fast-1024", {"scale": scale}) for scale in (10, 50, 100, 300))}
"""Where more is measured than the default settings."""


def evaluate_signals(data: Path, names: Sequence[str] = ()) -> dict[str, Any]:
    """Measure encoders of signals on every signal track below a folder.

    Encoders are fitted to every other clip of 4 s of a track, and measured on the others: the same
    recording, but not the same seconds. A track of a single clip is measured on what it was fitted to.

    Args:
        data: a folder, or one recording.
        names: of encoders; none: all.

    Returns:
        `tracks`: per track its `columns`, `values`, `held_out`, and `measured`: per encoder `bits_per_value`,
        `normalised_rmse`, and per column `rmse` and `largest_error`, in the column's unit.

    Raises:
        WrongUse: there are no signals.
    """
    found = read_signals(data, lambda _: None)
    if not found:
        raise WrongUse(f"{data}: no signals to measure on")
    variants = [
        variant
        for name in names or encoder_names("signal")
        for variant in VARIANTS.get(name, (Variant(name),))
    ]
    return {
        "tracks": [_track(name, columns, clips, variants) for (name, columns), clips in sorted(found.items())]
    }


def _track(
    name: str, columns: tuple[str, ...], clips: list[np.ndarray], variants: Sequence[Variant]
) -> dict[str, Any]:
    seen, scored = clips[::2], clips[1::2] or clips
    return {
        "track": name,
        "columns": list(columns),
        "values": sum(clip.size for clip in scored),
        "held_out": len(clips) > 1,
        "measured": [_measured(variant, columns, seen, scored) for variant in variants],
    }


def _measured(
    variant: Variant, columns: tuple[str, ...], seen: list[np.ndarray], scored: list[np.ndarray]
) -> dict[str, Any]:
    encoder = load_encoder(variant.name, **variant.settings).fit(seen)
    quality = measure(encoder, [torch.from_numpy(clip) for clip in scored], SIGNAL_HZ)

    def by_column(figure: str) -> dict[str, float]:
        named = {f"{figure}.{place}": column for place, column in enumerate(columns)}
        return {named[key]: value for key, value in quality.figures.items() if key in named}

    return {
        "label": variant.label,
        "bits_per_value": quality.bits / max(1, sum(clip.size for clip in scored)),
        "normalised_rmse": quality.figures.get("normalised_rmse", 0.0),
        "saturated": quality.saturated,
        "rmse": by_column("rmse"),
        "largest_error": by_column("largest_error"),
    }


def signals_table(found: dict[str, Any]) -> str:
    """Return the figures as text: a block per track, with the column that comes back worst."""
    lines = []
    for track in found["tracks"]:
        how = "held-out clips" if track["held_out"] else "what it was fitted to"
        columns = len(track["columns"])
        lines.append(f"signal {track['track']}: {columns} columns, {track['values']} values, {how}")
