"""What an inflow of media needs, stage by stage, from measured rates: machines, GPUs, storage, cost.

The file of rates is JSON; our benchmarks write it (`--measured FILE`), each its own share of it, and people
add what nobody can measure for them. Nothing is assumed: what is neither measured nor given is an error that
names it.

    {"format": "fifth-measured-1",
     "rates": {"read":   {"per": "core", "unit": "bytes", "per_second": 9e8, "from": "..."},
               "decode": {"per": "core", "unit": "media_seconds", "per_second": 6.1, "from": "..."},
               "encode": {"per": "core" or "gpu", "unit": "media_seconds", "per_second": 11.4, "from": "..."},
               "write":  {"per": "core", "unit": "bytes", "per_second": 2.4e8, "from": "..."},
               "stream": {"per": "core", "unit": "bytes", "per_second": 1.1e9, "from": "..."}},
     "media":   {"input_bytes_per_second": 625000, "output_bytes_per_second": 40000},
     "scaling": 0.95,
     "machine": {"cores": 64, "gpus": 8, "network_bytes_per_second": 3e9, "price_per_hour": 20},
     "storage": {"price_per_terabyte_month": 20, "keep_days": 365, "keep_input": false},
     "read_back": 1}

`read`, `write` and `stream` are bytes that one core moves; `decode` and `encode` seconds of media per second.
`media`: bytes per second of media, before and after. `scaling`: what share of its rate alone a core has
beside all others. `read_back`: how often every token is streamed to training while as many are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from ingest.errors import WrongUse

FORMAT = "fifth-measured-1"
UNITS = {"read": "bytes", "write": "bytes", "stream": "bytes"}
"""`media_seconds` for the others."""
TERABYTE = 10**12
DAY_SECONDS = 24 * 3600

Number = int | float | Fraction


@dataclass(frozen=True)
class Stage:
    """What one stage needs."""

    name: str
    amount: Fraction
    """What flows through it: bytes, or seconds of media, per second."""
    unit: str
    per: str
    """`core`, `gpu` or `machine` (its network)."""
    each: Fraction
    """What one of them does per second."""
    machines: Fraction
    """Machines that this stage alone would fill."""

    @property
    def count(self) -> Fraction:
        """How many cores, GPUs or machines it needs."""
        return self.amount / self.each


@dataclass(frozen=True)
class Capacity:
    """What an inflow needs."""

    inflow: Fraction
    """Seconds of media per second."""
    stages: tuple[Stage, ...]
    shares: Mapping[str, Fraction]
    """Machines by what they are needed for: `cores` (all stages that share them), `gpus`, `network`."""
    machines: int
    bottleneck: str
    """The stage that needs the most of what there is too little of."""
    stored_bytes: Fraction
    """After `keep_days`."""
    stored_bytes_per_day: Fraction
    machine_cost_per_hour: Fraction
    storage_cost_per_month: Fraction
    """When `keep_days` are full."""

    @property
    def cost_per_media_hour(self) -> Fraction:
        """What the machines cost for an hour of media."""
        return self.machine_cost_per_hour / self.inflow


def inflow_of(hours_per_minute: Number) -> Fraction:
    """Return an inflow in seconds of media per second.

    >>> inflow_of(500)
    Fraction(30000, 1)
    """
    return Fraction(hours_per_minute) * 60


def read_measured(path: Path) -> dict[str, Any]:
    """Read a file of rates.

    Raises:
        WrongUse: it is not of this format.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise WrongUse(f"{path}: not JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise WrongUse(f"{path}: no file of rates (its format must be {FORMAT!r})")
    return data


def capacity(hours_per_minute: Number, measured: Mapping[str, Any]) -> Capacity:
    """Work out what an inflow needs.

    Args:
        hours_per_minute: hours of media that arrive every minute.
        measured: as the format above.

    Raises:
        WrongUse: something is neither measured nor given, or makes no sense; the message names it.
    """
    inflow = inflow_of(hours_per_minute)
    if inflow <= 0:
        raise WrongUse(f"--hours-per-minute must be more than 0, got {hours_per_minute}")
    into = inflow * _number(measured, "media.input_bytes_per_second")
    out = inflow * _number(measured, "media.output_bytes_per_second")
    back = out * _number(measured, "read_back", zero=True)
    flows = {"read": into, "decode": inflow, "encode": inflow, "write": out, "stream": back}
    stages = [_stage(name, amount, measured) for name, amount in flows.items()]
    network = _number(measured, "machine.network_bytes_per_second")
    moved = into + out + back
    stages.append(Stage("network", moved, "bytes", "machine", network, moved / network))
    shares = {
        "cores": sum((s.machines for s in stages if s.per == "core"), Fraction(0)),
        "gpus": sum((s.machines for s in stages if s.per == "gpu"), Fraction(0)),
        "network": stages[-1].machines,
    }
    scarce = max(shares, key=lambda name: shares[name])
    filling = [stage for stage in stages if f"{stage.per}s" == scarce or stage.name == scarce]
    machines = max(1, ceil(shares[scarce]))
    keep_days = _number(measured, "storage.keep_days", zero=True)
    stored_per_day = DAY_SECONDS * (out + (into if _flag(measured, "storage.keep_input") else 0))
    price = _number(measured, "storage.price_per_terabyte_month", zero=True)
    return Capacity(
        inflow=inflow,
        stages=tuple(stages),
        shares=shares,
        machines=machines,
        bottleneck=max(filling, key=lambda stage: stage.machines).name,
        stored_bytes=stored_per_day * keep_days,
        stored_bytes_per_day=stored_per_day,
        machine_cost_per_hour=machines * _number(measured, "machine.price_per_hour", zero=True),
        storage_cost_per_month=stored_per_day * keep_days / TERABYTE * price,
    )


def _stage(name: str, amount: Fraction, measured: Mapping[str, Any]) -> Stage:
    per, unit = _text(measured, f"rates.{name}.per"), UNITS.get(name, "media_seconds")
    allowed = ("core", "gpu") if name == "encode" else ("core",)
    if per not in allowed:
        raise WrongUse(f"rates.{name}.per must be {' or '.join(allowed)}, got {per!r}")
    if _text(measured, f"rates.{name}.unit") != unit:
        raise WrongUse(f"rates.{name}.unit must be {unit!r}")
    each = _number(measured, f"rates.{name}.per_second")
    if per == "core":
        scaling = _number(measured, "scaling")
        if scaling > 1:
            raise WrongUse(f"scaling is a share of a core's rate alone, at most 1, got {float(scaling):g}")
        each *= scaling
    machine_has = _number(measured, f"machine.{per}s")
    return Stage(name, amount, unit, per, each, amount / each / machine_has)


def _value(measured: Mapping[str, Any], path: str) -> Any:
    value: Any = measured
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        raise WrongUse(f"{path} is neither measured nor given: {WHERE_FROM.get(path.split('.')[0], '')}")
    return value


def _number(measured: Mapping[str, Any], path: str, zero: bool = False) -> Fraction:
    value = _value(measured, path)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise WrongUse(f"{path} must be a number, got {value!r}")
    if value < 0 or (value == 0 and not zero):
        raise WrongUse(f"{path} must be {'at least' if zero else 'more than'} 0, got {value:g}")
    return Fraction(str(value))


def _flag(measured: Mapping[str, Any], path: str) -> bool:
    value = _value(measured, path)
    if not isinstance(value, bool):
        raise WrongUse(f"{path} must be true or false, got {value!r}")
    return value


def _text(measured: Mapping[str, Any], path: str) -> str:
    value = _value(measured, path)
    if not isinstance(value, str):
        raise WrongUse(f"{path} must be a text, got {value!r}")
    return value


WHERE_FROM = {
    "rates": "tests/benchmarks/encode.py and scale.py write it with --measured FILE",
    "media": "tests/benchmarks/scale.py writes it with --measured FILE, or give --set",
    "scaling": "tests/benchmarks/scale.py writes it with --measured FILE, or give --set",
    "machine": "say what your machines have and cost, in the file or with --set",
    "storage": "say what your storage costs and how long you keep things, in the file or with --set",
    "read_back": "say how often tokens are read while as many are made, in the file or with --set",
}


def with_given(measured: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the rates with values that were given by hand, by path: `machine.cores` to `64`.

    Raises:
        WrongUse: a value is no JSON, or a path leads nowhere.
    """
    data: dict[str, Any] = json.loads(json.dumps(measured))
    for path, text in given.items():
        *folders, name = path.split(".")
        if folders[:1] not in ([], *([known] for known in ("rates", "media", "machine", "storage"))):
            raise WrongUse(f"--set {path}: there is no such field; see `fifth capacity --help`")
        place = data
        for folder in folders:
            place = place.setdefault(folder, {})
        try:
            place[name] = json.loads(text)
        except ValueError:
            place[name] = text
    return data


def capacity_json(found: Capacity) -> dict[str, Any]:
    """Return the result as JSON."""
    return {
        "inflow_media_seconds_per_second": float(found.inflow),
        "stages": [
            {
                "stage": stage.name, "per_second": float(stage.amount), "unit": stage.unit, "per": stage.per,
                "each_per_second": float(stage.each), "count": float(stage.count),
                "machines": float(stage.machines),
            }
            for stage in found.stages
        ],
        "machines_for": {name: float(share) for name, share in found.shares.items()},
        "machines": found.machines,
        "bottleneck": found.bottleneck,
        "stored_bytes": float(found.stored_bytes),
        "stored_bytes_per_day": float(found.stored_bytes_per_day),
        "machine_cost_per_hour": float(found.machine_cost_per_hour),
        "storage_cost_per_month": float(found.storage_cost_per_month),
        "cost_per_media_hour": float(found.cost_per_media_hour),
    }  # fmt: skip
