"""Made media files with every trap that we know; see `video_made`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the makers are modules of their own

from video_made import KINDS


@pytest.fixture(scope="session")
def made_kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the made file of this name, one of `KINDS`; it is made when first asked for."""
    folder = tmp_path_factory.mktemp("kinds")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = KINDS[name](folder)
        return made[name]

    return make


@pytest.fixture
def engine_jobs_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import `engine_jobs`, whose functions the engines' tests name."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
