"""The state of a training run: one safetensors file, replaced as a whole, from which it goes on exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from encoders.errors import WrongSetting
from encoders.weight_files import weights_from, write_weights

EMA_DECAY = 0.999


@dataclass(eq=False)
class RunState:
    """A network in training: its weights, their running mean, and what the optimizer remembers."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Mapping[str, object]
    """Everything that the run's course depends on; JSON. Another run's state is refused."""
    step: int = 0
    """Steps done."""
    averages: dict[str, Tensor] = field(default_factory=dict)
    """The running mean of every parameter."""

    def __post_init__(self) -> None:
        if not self.averages:
            self.averages = {name: value.detach().clone() for name, value in self.network.named_parameters()}

    def average(self) -> None:
        """Take the parameters into their running mean: its memory grows to 1,000 steps."""
        decay = min(EMA_DECAY, self.step / (self.step + 9))
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                self.averages[name].lerp_(value, 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state."""
        tensors = {f"averages.{name}": value for name, value in self.averages.items()}
        tensors |= {f"network.{name}": value for name, value in self.network.named_parameters()}
        remembered = self.optimizer.state_dict()["state"]
        for index, memory in remembered.items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in memory.items()}
        about = {"settings": json.dumps(dict(self.settings), sort_keys=True), "step": str(self.step)}
        write_weights(path, tensors, about)

    def load(self, path: Path) -> None:
        """Go on from a state that `save` wrote.

        Raises:
            WrongSetting: it is the state of a run with other settings; the message shows them.
        """
        stored = weights_from(path)
        settings = json.loads(stored.about.get("settings", "{}"))
        asked = json.loads(json.dumps(dict(self.settings)))
        if settings != asked:
            different = [key for key in sorted({*settings, *asked}) if settings.get(key) != asked.get(key)]
            shown = ", ".join(
                f"{key} {settings.get(key)!r} there, {asked.get(key)!r} now" for key in different
            )
            raise WrongSetting(
                f"{path} is the state of another run ({shown}): give the same settings, or another --out"
            )
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                value.copy_(stored.tensors[f"network.{name}"])
                self.averages[name].copy_(stored.tensors[f"averages.{name}"])
        memory: dict[int, dict[str, Tensor]] = {}
        for name, tensor in stored.tensors.items():
            if name.startswith("optimizer."):
                _, index, what = name.split(".")
                memory.setdefault(int(index), {})[what] = tensor
        state = self.optimizer.state_dict()
        state["state"] = memory
        self.optimizer.load_state_dict(state)
        self.step = int(stored.about["step"])


def stored_step(path: Path) -> int:
    """Return how many steps the run of a state file had done; -1 where there is none."""
    return int(weights_from(path).about.get("step", -1)) if path.is_file() else -1
