"""`fifth reshard` and `fifth export mds`: what they print, and how they end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest.cli import main

sys.path.insert(0, str(Path(__file__).parent.parent / "shards"))  # the maker of small datasets

from made_dataset import write_dataset


def fifth(*words: str | Path, expect: int = 0) -> str:
    """Run a command and return what it prints."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == expect, done.output
    return done.output


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset").path


def test_reshard_says_what_it_made(dataset: Path, tmp_path: Path) -> None:
    """A line per dataset; again: nothing to do; what is made is whole."""
    options = ("--shuffle", "--split", "train=0.5,test=0.5", "--where", "start < 3", "--tracks", "video,a*")
    said = fifth("reshard", dataset, tmp_path / "out", *options)
    assert f"{tmp_path / 'out' / 'train'}: " in said
    assert f"{tmp_path / 'out' / 'test'}: " in said
    assert "samples are left out" in said
    assert "nothing to do" in fifth("reshard", dataset, tmp_path / "out", *options)
    for name in ("train", "test"):
        assert "all is as it was written" in fifth("verify", tmp_path / "out" / name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "reshard takes at least one DATASET and the folder OUT"),
        (("out", "--where", "tokens >"), "--where: condition 'tokens >': expected a field"),
        (("s3://bucket/out",), "OUT must be a folder on this machine"),
    ],
)
def test_wrong_use_of_reshard_is_told(dataset: Path, words: tuple[str, ...], said: str) -> None:
    """One line, exit code 2."""
    assert said in fifth("reshard", dataset, *words, expect=2)


def test_what_cannot_be_done_ends_with_one(dataset: Path, tmp_path: Path) -> None:
    """No such tracks, shares that are not 1 in sum, no dataset."""
    assert "no track is like" in fifth("reshard", dataset, tmp_path / "o", "--tracks", "sonar", expect=1)
    assert "must be 1 in sum" in fifth("reshard", dataset, tmp_path / "o", "--split", "a=0.5", expect=1)
    assert "no such folder" in fifth("reshard", tmp_path / "none", tmp_path / "o", expect=1)


def test_export_mds_says_what_it_made(dataset: Path, tmp_path: Path) -> None:
    """A line per layout."""
    said = fifth("export", "mds", dataset, tmp_path / "out")
    assert f"{tmp_path / 'out' / 'video'}: 4 samples" in said
    assert (tmp_path / "out" / "video-audio" / "index.json").is_file()
