"""The file of rates that `fifth capacity` reads (`ingest/capacity.py`): each benchmark writes its share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingest.capacity import FORMAT

Json = dict[str, Any]


def rate(per: str, unit: str, per_second: float, source: str) -> Json:
    """Return what one core or GPU does per second."""
    return {"per": per, "unit": unit, "per_second": per_second, "from": source}


def add_measured(path: Path, found: Json) -> None:
    """Put values into the file, in place of what it has under the same names."""
    data: Json = json.loads(path.read_text()) if path.exists() else {"format": FORMAT}
    for name, value in found.items():
        if isinstance(value, dict):
            data.setdefault(name, {}).update(value)
        else:
            data[name] = value
    path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
