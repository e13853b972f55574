"""`fifth evaluate` on sound and signals: figures of encoders side by side, on what was held out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from made_bags import Ramp

from encoders import medium_of
from ingest.cli import main
from ingest.errors import WrongUse
from ingest.evaluating_signals import evaluate_signals, signals_table
from ingest.evaluating_sound import Variant, evaluate_sound, sound_table


def test_more_bits_are_nearer(tone_wav: Path) -> None:
    """Figures of each setting are there, and better with more bits; at half its rate, half the bits."""
    found = evaluate_sound(tone_wav, ["sound-mdct", "opus"])
    rows = {entry["label"]: entry for entry in found["measured"]}
    whole, half = rows["sound-mdct, tokens=8"], rows["sound-mdct, tokens=8 at 1/2 of its rate"]
    assert whole["kbit_per_second"] == pytest.approx(6.4, abs=0.01)
    assert half["kbit_per_second"] == pytest.approx(3.2, abs=0.01)
    assert rows["opus, bit_rate=16000"]["kbit_per_second"] == pytest.approx(16.32, abs=0.01)
    assert rows["sound-mdct, tokens=32"]["si_sdr_db"] > whole["si_sdr_db"]
    assert rows["sound-mdct, tokens=32"]["mel_l1"] < half["mel_l1"]
    assert all(
        0 < entry["entropy_kbit_per_second"] <= entry["kbit_per_second"] + 1e-9 for entry in rows.values()
    )
    table = sound_table(found)
    assert table.splitlines()[2].startswith("sound-mdct, tokens=8 at 1/4 of its rate")
    assert len(table.splitlines()) == 3 + len(rows)


def test_signals_are_scored_on_other_seconds(ramp_mcap: Ramp) -> None:
    """FAST takes fewer bits than bins, and a larger scale a smaller error; the worst column is named."""
    found = evaluate_signals(ramp_mcap.path, ["bins-255", "fast-1024"])
    track = next(track for track in found["tracks"] if track["track"] == "joint_states")
    rows = {entry["label"]: entry for entry in track["measured"]}
    assert rows["bins-255"]["bits_per_value"] == 8
    assert rows["fast-1024, scale=300"]["bits_per_value"] < 4
    coarse, fine = rows["fast-1024, scale=10"], rows["fast-1024, scale=300"]
    assert max(fine["rmse"].values()) < max(coarse["rmse"].values())
    assert set(fine["largest_error"]) == set(track["columns"])
    assert all(fine["largest_error"][name] >= fine["rmse"][name] for name in track["columns"])
    assert "worst column" in signals_table(found)


def test_the_command_prints_figures(ramp_mcap: Ramp) -> None:
    """As JSON on demand; encoders of several media are judged in one go."""
    words = ["evaluate", "--data", str(ramp_mcap.path), "--encoder", "mulaw-256", "--encoder", "mulaw-1024"]
    found = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert sorted(found) == sorted({medium_of("mulaw-256"), medium_of("mulaw-1024")})
    assert np.isfinite(found["sound"]["measured"][0]["mel_l1"])
    assert "mulaw-1024" in CliRunner().invoke(main, words).stdout


def test_nothing_to_measure_is_said(tmp_path: Path) -> None:
    """A folder without the medium is refused by name."""
    with pytest.raises(WrongUse, match="no sound to measure on"):
        evaluate_sound(tmp_path)
    with pytest.raises(WrongUse, match="no signals to measure on"):
        evaluate_signals(tmp_path)
    assert Variant("opus", {"bit_rate": 6000}).label == "opus, bit_rate=6000"


def test_models_of_hearing_are_used_where_installed(
    tone_wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package `pystoi` on the path adds its figure to every encoder and a column to the table."""
    (tmp_path / "pystoi.py").write_text("def stoi(wanted, made, rate):\n    return rate / 32000\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pystoi", raising=False)
    found = evaluate_sound(tone_wav, ["mulaw-256"])
    sys.modules.pop("pystoi", None)
    assert found["measured"][0]["stoi"] == 0.5
    assert "STOI" in sound_table(found)
