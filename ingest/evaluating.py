"""`fifth evaluate`: encoders of each medium against each other and against codecs, on the same recordings."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from encoders import medium_of
from ingest.errors import WrongUse

JUDGES = {
    "pictures": ("ingest.evaluating_pictures", "evaluate_pictures", "pictures_table"),
    "sound": ("ingest.evaluating_sound", "evaluate_sound", "sound_table"),
    "signal": ("ingest.evaluating_signals", "evaluate_signals", "signals_table"),
}
"""Per medium the module, what measures, and what makes a table of it."""


def evaluate_encoders(data: Path, names: Sequence[str] = (), picture: Path | None = None) -> dict[str, Any]:
    """Measure on all recordings below a folder.

    Args:
        data: a folder, or one recording.
        names: of encoders; none: all of every medium that is judged.
        picture: where to draw originals and copies.

    Returns:
        Per medium what its module returns.

    Raises:
        WrongUse: an encoder of a medium that is not judged, or nothing to measure on.
        UnknownEncoder: no encoder has this name.
    """
    wanted: dict[str, list[str]] = {} if names else {medium: [] for medium in JUDGES}
    for name in names:
        medium: str = medium_of(name)
        if medium not in JUDGES:
            raise WrongUse(f"{name} takes {medium}, which is not judged (only: {', '.join(JUDGES)})")
        wanted.setdefault(medium, []).append(name)
    found: dict[str, Any] = {}
    lacking: list[str] = []
    for medium, chosen in wanted.items():
        module, judge, _ = JUDGES[medium]
        more = {"picture": picture} if medium == "pictures" else {}
        try:
            found[medium] = getattr(import_module(module), judge)(data, chosen, **more)
        except WrongUse as error:
            if names:
                raise
            lacking.append(str(error))
    if not found:
        raise WrongUse("; ".join(lacking))
    return found


def evaluation_table(found: dict[str, Any]) -> str:
    """Return the figures of all media as text."""
    tables = []
    for medium, figures in found.items():
        module, _, table = JUDGES[medium]
        tables.append(str(getattr(import_module(module), table)(figures)))
    return "\n\n".join(tables)
