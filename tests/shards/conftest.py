"""Datasets made on the spot; `made_dataset` has the parts to make others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the maker is a module of its own

from made_dataset import write_dataset


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset; don't write to it."""
    return write_dataset(tmp_path_factory.mktemp("finished") / "dataset").path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A finished dataset of one's own."""
    return write_dataset(tmp_path / "dataset").path
