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

LEAST_SHARE = 0.25
"""Of a track's values: fewer of them held out say little."""


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
    recording, but not the same seconds. A track of one clip, or little more, is measured on what it was
    fitted to.

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
    seen, scored = clips[::2], clips[1::2]
    held_out = sum(clip.size for clip in scored) >= LEAST_SHARE * sum(clip.size for clip in clips)
    if not held_out:
        seen = scored = clips
    return {
        "track": name,
        "columns": list(columns),
        "values": sum(clip.size for clip in scored),
        "held_out": held_out,
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
    blocks = []
    for track in found["tracks"]:
        how = "held-out clips" if track["held_out"] else "what it was fitted to"
        columns = len(track["columns"])
        lines = [
            f"signal {track['track']}: {columns} columns, {track['values']} values, {how}",
            f"{'encoder':28} {'bits/value':>10} {'norm. RMSE':>10}  worst column: RMSE, largest error",
        ]
        blocks.append("\n".join([*lines, *(_line(entry) for entry in track["measured"])]))
    return "\n\n".join(blocks)


def _line(entry: dict[str, Any]) -> str:
    largest, rmse = entry["largest_error"], entry["rmse"]
    worst = max(largest, key=lambda column: largest[column], default="")
    shown = f"{worst}: {rmse[worst]:.4g}, {largest[worst]:.4g}" if worst else "-"
    return f"{entry['label']:28} {entry['bits_per_value']:10.3f} {entry['normalised_rmse']:10.5f}  {shown}"
