"""What an inflow needs: pure arithmetic, exact; what is not known is an error that names it."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ingest.capacity import capacity, capacity_json, inflow_of, read_measured, with_given
from ingest.cli import main
from ingest.errors import WrongUse

MEASURED: dict[str, Any] = {
    "format": "fifth-measured-1",
    "rates": {
        "read": {"per": "core", "unit": "bytes", "per_second": 500_000_000, "from": "scale.py"},
        "decode": {"per": "core", "unit": "media_seconds", "per_second": 10, "from": "encode.py"},
        "encode": {"per": "gpu", "unit": "media_seconds", "per_second": 1000, "from": "encode.py"},
        "write": {"per": "core", "unit": "bytes", "per_second": 100_000_000, "from": "scale.py"},
        "stream": {"per": "core", "unit": "bytes", "per_second": 1_000_000_000, "from": "scale.py"},
    },
    "media": {"input_bytes_per_second": 500_000, "output_bytes_per_second": 40_000},
    "scaling": 0.8,
    "machine": {"cores": 50, "gpus": 4, "network_bytes_per_second": 2_000_000_000, "price_per_hour": 2.5},
    "storage": {"price_per_terabyte_month": 20, "keep_days": 10, "keep_input": False},
    "read_back": 2,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the rates with one value changed; None: taken away."""
    data = copy.deepcopy(MEASURED)
    *folders, name = path.split(".")
    place = data
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return data


def test_500_hours_per_minute_by_hand() -> None:
    """30,000 seconds per second, each stage worked out on paper."""
    found = capacity(500, MEASURED)
    assert found.inflow == 30_000
    counts = {stage.name: stage.count for stage in found.stages}
    assert counts == {
        "read": Fraction(30_000 * 500_000, 400_000_000),  # 37.5 cores
        "decode": 3750,
        "encode": 30,  # GPUs: nothing is lost beside others
        "write": 15,
        "stream": 3,
        "network": Fraction(30_000 * (500_000 + 3 * 40_000), 2_000_000_000),  # 9.3 machines
    }
    assert found.shares["cores"] == (Fraction(75, 2) + 3750 + 15 + 3) / 50
    assert found.shares["gpus"] == Fraction(30, 4)
    assert (found.machines, found.bottleneck) == (77, "decode")
    assert found.stored_bytes_per_day == 30_000 * 40_000 * 86_400
    assert found.stored_bytes == 10 * found.stored_bytes_per_day
    assert found.machine_cost_per_hour == Fraction(77 * 5, 2)
    assert found.storage_cost_per_month == found.stored_bytes / 10**12 * 20
    assert found.cost_per_media_hour == Fraction(77 * 5, 2) / 30_000


@pytest.mark.parametrize(
    ("path", "value", "bottleneck", "machines"),
    [
        ("rates.decode.per_second", 1000, "network", 10),
        ("rates.encode.per_second", 10, "encode", 750),
        ("rates.encode.per", "core", "decode", 77),
        ("machine.network_bytes_per_second", 1_000_000, "network", 18_600),
    ],
)
def test_the_bottleneck_is_what_needs_most(path: str, value: Any, bottleneck: str, machines: int) -> None:
    """A faster decoder leaves the network, a slower encoder the GPUs; encoding on cores adds to decoding."""
    found = capacity(500, changed(path, value))
    assert (found.bottleneck, found.machines) == (bottleneck, machines)


def test_keeping_the_input_is_paid_for() -> None:
    """Storage then holds what came in as well."""
    kept = capacity(500, changed("storage.keep_input", value=True))
    assert kept.stored_bytes_per_day == 30_000 * 540_000 * 86_400


REQUIRED = [
    *(f"rates.{stage}.per_second" for stage in MEASURED["rates"]),
    "rates.decode.per", "rates.read.unit", "media.input_bytes_per_second", "media.output_bytes_per_second",
    "scaling", "machine.cores", "machine.gpus", "machine.network_bytes_per_second", "machine.price_per_hour",
    "storage.price_per_terabyte_month", "storage.keep_days", "storage.keep_input", "read_back",
]  # fmt: skip


@pytest.mark.parametrize("path", REQUIRED)
def test_what_is_not_known_is_named(path: str) -> None:
    """Nothing is assumed: each missing field is an error with its name."""
    with pytest.raises(WrongUse, match=rf"^{path.replace('.', '[.]')} is neither measured nor given: \w+"):
        capacity(500, changed(path, None))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("scaling", 1.2, "at most 1"),
        ("scaling", 0, "more than 0"),
        ("machine.cores", "many", "must be a number, got 'many'"),
        ("machine.price_per_hour", -1, "at least 0"),
        ("machine.price_per_hour", float("nan"), "must be a number"),
        ("storage.keep_input", 1, "true or false"),
        ("rates.decode.per", "gpu", "must be core"),
        ("rates.read.unit", "media_seconds", "must be 'bytes'"),
    ],
)
def test_what_makes_no_sense_is_refused(path: str, value: Any, words: str) -> None:
    """With the field and what is wrong with it."""
    with pytest.raises(WrongUse, match=words):
        capacity(500, changed(path, value))


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_twice_the_inflow_is_twice_of_everything(hours: int, times: int) -> None:
    """Every stage, storage and its cost grow in proportion; machines by whole ones."""
    one, many = capacity(hours, MEASURED), capacity(hours * times, MEASURED)
    assert many.inflow == times * one.inflow == inflow_of(hours * times)
    assert [s.machines for s in many.stages] == [times * s.machines for s in one.stages]
    assert many.storage_cost_per_month == times * one.storage_cost_per_month
    assert many.machines <= times * one.machines


def test_the_command_prints_stages_and_bottleneck(tmp_path: Path) -> None:
    """As text and as JSON; --set gives what is missing, and an error is one line with exit code 2."""
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(changed("machine.price_per_hour", None)))
    words = ["capacity", "--hours-per-minute", "500", "--measured", str(path)]
    missing = CliRunner().invoke(main, words)
    assert missing.exit_code == 2
    assert "machine.price_per_hour is neither measured nor given" in missing.stderr
    told = CliRunner().invoke(main, [*words, "--set", "machine.price_per_hour=2.5"])
    assert told.exit_code == 0, told.output
    assert "bottleneck: decode" in told.stdout
    assert "machines: 77" in told.stdout
    as_json = CliRunner().invoke(main, [*words, "--set", "machine.price_per_hour=2.5", "--json"])
    assert json.loads(as_json.stdout) == json.loads(json.dumps(capacity_json(capacity(500, MEASURED))))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """Only the format that is documented; a field that does not exist can't be set."""
    for text in ("{}", "[]", "{"):
        (tmp_path / "rates.json").write_text(text)
        with pytest.raises(WrongUse, match=r"rates\.json"):
            read_measured(tmp_path / "rates.json")
    with pytest.raises(WrongUse, match="no such field"):
        with_given(MEASURED, {"wishes.price": "1"})
    assert with_given(MEASURED, {"scaling": "0.5", "rates.encode.per": "core"})["scaling"] == 0.5
