"""What a stream was told, checked; and as the plain JSON that its state carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from shards.streaming.selection import Choice

WeightsBy = Literal["samples", "tokens", "seconds"]
Weights = tuple[float, ...]


@dataclass(frozen=True)
class Output:
    """What a stream yields."""

    kind: Literal["samples", "batches", "packed"] = "batches"
    members: tuple[str, ...] = ("tokens",)
    """Of batches: the kinds of arrays."""
    dtype: str | None = None
    """Of batches: of the tokens; None as stored."""
    tensors: bool = False
    """Of batches and packed rows: as torch tensors."""
    length: int = 0
    """Of packed rows."""
    slot_ns: int = 0
    """Of packed rows: how long a track speaks before the next one does."""
    vocabulary: str = ""
    """Of packed rows: sha256 of the vocabulary."""

    def to_json(self) -> dict[str, Any]:
        """Return what matters for this kind."""
        if self.kind == "packed":
            return {
                "kind": self.kind,
                "length": self.length,
                "slot_ns": self.slot_ns,
                "vocabulary": self.vocabulary,
            }
        return {"kind": self.kind}  # how a batch is filled does not change what is in it


@dataclass(frozen=True)
class Settings:
    """All settings of a stream but its output, its place among the ranks, and its end."""

    names: tuple[str, ...]
    paths: tuple[Path | str, ...]
    choices: tuple[Choice, ...]
    changes: tuple[tuple[int, Weights], ...]
    """From which step on which weights hold, one per dataset; empty for a single dataset."""
    weights_by: WeightsBy
    global_batch: int
    seed: int
    shuffle_window: int
    by_epoch: bool
    drop_last: bool

    def __post_init__(self) -> None:
        if self.global_batch < 1:
            raise ValueError(f"global_batch must be at least 1, got {self.global_batch}")
        if self.shuffle_window < 0 or self.seed < 0:
            raise ValueError(
                f"seed and shuffle_window must not be negative, got {self.seed} and {self.shuffle_window}"
            )
        if self.weights_by not in ("samples", "tokens", "seconds"):
            raise ValueError(f"weights_by must be 'samples', 'tokens' or 'seconds', got {self.weights_by!r}")
        steps = [step for step, _ in self.changes]
        if steps and (steps[0] != 0 or steps != sorted(set(steps))):
            raise ValueError(f"the steps of a schedule must be above 0 and ascending, got {steps[1:]}")
        for step, weights in self.changes:
            if not all(isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
                raise ValueError(
                    f"weights from step {step} on must be finite, not negative, and not all 0; got "
                    f"{dict(zip(self.names, weights, strict=True))}"
                )

    @property
    def is_mix(self) -> bool:
        """Whether datasets are drawn by weight."""
        return bool(self.changes)

    def fractions(self, amounts: Sequence[Fraction]) -> list[tuple[int, list[Fraction]]]:
        """Return the weights per unit drawn.

        Args:
            amounts: how many samples, tokens or seconds a unit of each dataset has, on average.
        """
        return [
            (step, [Fraction(weight) / amount for weight, amount in zip(weights, amounts, strict=True)])
            for step, weights in self.changes
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what decides on the order; not where the datasets lie."""
        return {
            "global_batch": self.global_batch,
            "seed": self.seed,
            "shuffle_window": self.shuffle_window,
            "by_epoch": self.by_epoch,
            "drop_last": self.drop_last,
            "weights_by": self.weights_by,
            "weights": [
                [step, dict(zip(self.names, map(float, weights), strict=True))]
                for step, weights in self.changes
            ],
            "choices": {
                name: {
                    "tracks": None if choice.tracks is None else list(choice.tracks),
                    "split": choice.split,
                    "validation_share": choice.validation_share,
                    "window": choice.window,
                    "stride": choice.stride,
                }
                for name, choice in zip(self.names, self.choices, strict=True)
            },
        }


def named_weights(
    data: str | Path | Mapping[str, float], datasets: Mapping[str, str | Path] | None
) -> tuple[tuple[str, ...], tuple[str | Path, ...], Weights]:
    """Return the names, paths and weights of what a stream was given; no weights for a single dataset.

    Raises:
        ValueError: nothing is given, or `datasets` names what has no weight.
    """
    if not isinstance(data, Mapping):
        if datasets:
            raise ValueError(
                f"datasets={dict(datasets)} belongs to a mix; give weights, as in {{'web': 0.5}}"
            )
        return ("data",), (data,), ()
    if not data:
        raise ValueError("an empty mix; give at least one dataset and its weight, as in {'web': 0.5}")
    datasets = datasets or {}
    if not datasets.keys() <= data.keys():
        raise ValueError(f"datasets names {sorted(datasets.keys() - data.keys())}, which have no weight")
    return tuple(data), tuple(datasets.get(name, name) for name in data), tuple(data.values())


def scheduled(
    names: Sequence[str], first: Weights, schedule: Sequence[tuple[int, Mapping[str, float]]]
) -> Any:
    """Return all changes of weights, the first from step 0.

    Raises:
        ValueError: the schedule names a dataset that is not in the mix.
    """
    changes = [(0, first)]
    for step, weights in schedule:
        if not weights.keys() <= set(names):
            raise ValueError(
                f"the schedule names {sorted(weights.keys() - set(names))} from step {step} on; "
                f"the mix has {list(names)}"
            )
        changes.append((int(step), tuple(weights.get(name, 0.0) for name in names)))
    return tuple(changes)
