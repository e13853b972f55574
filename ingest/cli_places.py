"""What a command takes where files and folders are: paths of this machine, or addresses of stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # generic for the type checker of newer versions only
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType


class Place(ParamType):
    """A path, or an address such as `s3://bucket/videos`, which stays text."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Tell the two apart."""
        return value if isinstance(value, Path) or "://" in value else Path(value)
