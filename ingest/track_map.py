"""`--map`: which tracks a training run wants, by the names, rates and policies it shall have them.

    action=/cmd_vel                                        a topic under a name
    state=/joint_states:position,velocity                  only these columns
    state=/joint_states:position+/gripper:data@rate=20     several topics in one track, on a grid of its own
    wrist=/wrist/image_raw@rate=4                          pictures at a rate of their own
    cmd=/cmd_vel@policy=hold                               how values get onto the grid

The same in a TOML file, a table per track:

    [state]
    topics = ["/joint_states:position", "/gripper:data"]
    rate = 20
    policy = "nearest"
    max_age = 0.5

Policies: `auto` (by column: linear, slerp for quaternions, last for discrete ones), `linear`, `nearest`,
`asof` (the last value), `hold` (the last value, however old).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

from ingest.errors import WrongUse
from ingest.recording import Track
from ingest.timing import FASTEST_HZ, NS, fraction_of

Policy = Literal["auto", "linear", "nearest", "asof", "hold"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
LONGEST_AGE_SECONDS = 10**9
NATIVE = "native"
"""A rate: the track's own stamps."""

_OPTIONS = re.compile(r"@(\w+=[^,@]*(?:,\w+=[^,@]*)*)$")
_KEYS = ("topics", "rate", "policy", "max_age")


@dataclass(frozen=True)
class MapPart:
    """One topic of a track."""

    topic: str
    """A topic or track name; globs are allowed."""
    columns: tuple[str, ...] = ()
    """Column paths, or their beginnings (`position` takes `position[wrist]`); empty: all."""

    def __str__(self) -> str:
        return self.topic + (f":{','.join(self.columns)}" if self.columns else "")


@dataclass(frozen=True)
class TrackMap:
    """One entry of `--map`. Checked when made.

    Raises:
        WrongUse: a value that cannot work.
    """

    name: str
    parts: tuple[MapPart, ...]
    rate: str = ""
    """A fraction, `native`, or empty: as the dataset's."""
    policy: Policy = "auto"
    max_age: str = ""
    """Seconds, a fraction; empty: the track's own."""

    def __post_init__(self) -> None:
        name = self.name
        if not name.replace("_", "").isalnum() or name != name.lower() or len(name) > 40:
            raise WrongUse(
                f"--map: a track name has lower-case letters, digits and underscores, got {name!r}"
            )
        if not self.parts or not all(part.topic for part in self.parts):
            raise WrongUse(f"--map takes NAME=TOPIC or NAME=TOPIC:COLUMN,COLUMN, got {str(self)!r}")
        if self.policy not in POLICIES:
            raise WrongUse(f"--map {name}: policy {self.policy!r} is none of {', '.join(POLICIES)}")
        for key, text in (("rate", self.rate), ("max_age", self.max_age)):
            most = FASTEST_HZ if key == "rate" else LONGEST_AGE_SECONDS
            if text and not (key == "rate" and text == NATIVE) and not 0 < _fraction(name, key, text) <= most:
                raise WrongUse(f"--map {name}: {key} must be more than 0 and at most {most}, got {text}")
        if self.policy == "hold" and self.max_age:
            raise WrongUse(f"--map {name}: policy hold has no max_age; asof has")
        if self.rate == NATIVE and len(self.parts) > 1:
            raise WrongUse(f"--map {name}: several topics share a grid; their rate can't be native")

    @classmethod
    def parse(cls, text: str) -> TrackMap:
        """Read `state=/joint_states:position+/gripper:data@rate=20,policy=nearest`."""
        name, equals, rest = text.partition("=")
        if not (name and equals and rest):
            raise WrongUse(f"--map takes NAME=TOPIC or NAME=TOPIC:COLUMN,COLUMN, got {text!r}")
        options: dict[str, Any] = {}
        if match := _OPTIONS.search(rest):
            rest = rest[: match.start()]
            options = dict(item.split("=", 1) for item in match[1].split(","))
        return cls._of(name, rest.split("+"), options)

    @classmethod
    def _of(cls, name: str, topics: list[str], options: dict[str, Any]) -> TrackMap:
        unknown = options.keys() - {*_KEYS[1:]}
        if unknown:
            raise WrongUse(f"--map {name}: {', '.join(sorted(unknown))}: known are {', '.join(_KEYS[1:])}")
        parts = []
        for topic in topics:
            topic, _, columns = topic.partition(":")
            parts.append(MapPart(topic, tuple(column for column in columns.split(",") if column)))
        rate, max_age = str(options.get("rate", "")), str(options.get("max_age", ""))
        if rate and rate != NATIVE:
            rate = str(_fraction(name, "rate", rate))
        if max_age:
            max_age = str(_fraction(name, "max_age", max_age))
        return cls(name, tuple(parts), rate, options.get("policy", "auto"), max_age)

    @property
    def grid_rate(self) -> Fraction | Literal["", "native"]:
        """The rate as a number; `native`, or empty: as the dataset's."""
        if self.rate == NATIVE:
            return "native"
        return Fraction(self.rate) if self.rate else ""

    @property
    def max_age_ns(self) -> int | None:
        """The maximum age in nanoseconds; None: the track's own."""
        return int(Fraction(self.max_age) * NS) if self.max_age else None

    def __str__(self) -> str:
        options = {"rate": self.rate, "policy": self.policy, "max_age": self.max_age}
        given = [f"{key}={value}" for key, value in options.items() if value not in ("", "auto")]
        parts = "+".join(str(part) for part in self.parts)
        return f"{self.name}={parts}" + (f"@{','.join(given)}" if given else "")


def _fraction(name: str, key: str, text: str) -> Fraction:
    try:
        return fraction_of(text)
    except ValueError as error:
        raise WrongUse(f"--map {name}: {key} is no number: {text!r}") from error


def read_map(given: str) -> list[TrackMap]:
    """Return what one `--map` says: an entry, or all those of a TOML file.

    Raises:
        WrongUse: it can't be read; says why.
        FileNotFoundError: there is no such file.
    """
    if not given.endswith(".toml") or "=" in given:
        return [TrackMap.parse(given)]
    try:
        tables = tomllib.loads(Path(given).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongUse(f"--map {given}: {error}") from error
    found = []
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("topics"), (str, list)):
            raise WrongUse(f"--map {given}: [{name}] needs `topics`, a topic or a list of topics")
        topics = table["topics"]
        listed = [topics] if isinstance(topics, str) else [str(topic) for topic in topics]
        found.append(TrackMap._of(name, listed, {k: v for k, v in table.items() if k != "topics"}))
    return found


def sampled_by(track: Track, policy: Policy, max_age_ns: int | None = None) -> Track:
    """Return a signal track as a policy has it sampled.

    A held topic (no maximum age) that shall be interpolated gets one: 3 median periods.
    """
    if track.medium != "signal":
        return track if max_age_ns is None else replace(track, max_age_ns=max_age_ns)
    own_ns = track.max_age_ns if max_age_ns is None else max_age_ns
    if policy == "auto":
        return replace(track, max_age_ns=own_ns)
    if policy == "linear":
        kinds = tuple("slerp" if kind == "slerp" else "linear" for kind in track.kinds)
        return replace(track, kinds=kinds, max_age_ns=own_ns or max(1, 3 * track.period_ns))
    kind = "nearest" if policy == "nearest" else "last"
    age_ns = {"nearest": own_ns or max(1, 3 * track.period_ns), "asof": own_ns, "hold": 0}[policy]
    return replace(track, kinds=(kind,) * len(track.kinds), quaternions=(), max_age_ns=age_ns)
