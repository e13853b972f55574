"""An output that no task can write to ends the run, and the message says what to do."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from made_runs import hashes
from made_sound import tone, write_sound

import ingest.jobs
from ingest.configuration import Settings
from ingest.engine.local import Job, Outcome
from ingest.output_trouble import stop_without_output
from ingest.pipeline import shard_recordings
from shards import DatasetFolder

SETTINGS = Settings(clip_seconds=Fraction(1), device="cpu", shard_seconds=1)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "is used up"), (errno.EROFS, "become read-only")],
)
def test_what_is_wrong_with_the_disk_ends_the_run(tmp_path: Path, number: int, words: str) -> None:
    """Whichever task met it first; what is wrong with a recording does not."""
    folder = DatasetFolder(tmp_path)
    folder.create()

    def outcome(error: Exception) -> Outcome:
        return Outcome(Job("x:y", {}), "failed", {"error": str(error)})

    with pytest.raises(OSError, match=words):
        stop_without_output(folder, outcome(OSError(number, os.strerror(number))))
    stop_without_output(folder, outcome(OSError(errno.EIO, os.strerror(errno.EIO))))
    stop_without_output(folder, outcome(ValueError("a recording")))


def test_an_output_that_is_gone_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder taken away in the middle: said so, and when it is back the run goes on to the same bytes."""
    write_sound(tmp_path / "a.wav", tone(300, 3))
    out, gone = tmp_path / "out", tmp_path / "gone"
    real = ingest.jobs.Jobs.of

    def taken_away(*arguments: Any) -> Any:
        for number, job in enumerate(real(*arguments)):
            if number == 1:
                out.rename(gone)
            yield job

    shard_recordings([tmp_path / "a.wav"], tmp_path / "whole", SETTINGS, workers=0)
    with monkeypatch.context() as patch:
        patch.setattr(ingest.jobs.Jobs, "of", taken_away)
        with pytest.raises(OSError, match="the dataset's folder is gone"):
            shard_recordings([tmp_path / "a.wav"], out, SETTINGS, workers=0)
    gone.rename(out)
    shard_recordings([tmp_path / "a.wav"], out, SETTINGS, workers=0)
    assert hashes(out) == hashes(tmp_path / "whole")
