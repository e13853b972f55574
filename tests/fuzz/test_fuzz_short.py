"""A short run of the fuzz harness on made media, in a process of its own: it forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("fuzz.py")


@pytest.mark.slow
def test_damaged_inputs_are_used_or_reported(tmp_path: Path) -> None:
    """Of some hundred damaged inputs of every kind all are used or reported."""
    command = [sys.executable, str(HARNESS), "all", "--inputs", "20", "--first", "100", "--made"]
    environment = {name: value for name, value in os.environ.items() if name != "FIFTH_MEDIA"}
    run = subprocess.run(
        [*command, "--without-hostile", "--seed", "7", "--cpu-seconds", "60", "--out", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert run.stdout.count(" inputs: ") >= 12
