"""`fifth evaluate`: encoders of each medium against each other and against codecs, on the same recordings."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from encoders import medium_of
from ingest.errors import WrongUse

JUDGES = {"pictures": ("ingest.evaluating_pictures", "evaluate_pictures", "pictures_table")}
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
    for medium, chosen in wanted.items():
        module, judge, _ = JUDGES[medium]
        more = {"picture": picture} if medium == "pictures" else {}
        found[medium] = getattr(import_module(module), judge)(data, chosen, **more)
    return found


def evaluation_table(found: dict[str, Any]) -> str:
    """Return the figures of all media as text."""
    tables = []
    for medium, figures in found.items():
        module, _, table = JUDGES[medium]
        tables.append(str(getattr(import_module(module), table)(figures)))
    return "\n\n".join(tables)
