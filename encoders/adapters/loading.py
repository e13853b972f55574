"""`hf:...` to an encoder, and a stored spec back to the same one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.adapters.model_files import PretrainedModel, find_by_weights, find_model
from encoders.errors import WrongSpec
from encoders.spec import Medium, TokenSpec

if TYPE_CHECKING:
    import torch

    from encoders.adapters.adapter import Adapter


def medium_of_model(name: str) -> Medium:
    """Return what a model takes, by its config alone."""
    return _found(name, "").family.medium


def load_model(
    name: str, device: torch.device, usual_size: int | None, settings: Mapping[str, Any]
) -> Adapter:
    """Load the model that `hf:...` names.

    Args:
        name: see `encoders.adapters.model_files`.
        device: where it works.
        usual_size: edge of pictures, for models that take any.
        settings: what its family lets you choose; `revision` says which one of the hub's.
    """
    from encoders.registry import check_settings

    chosen = dict(settings)
    model = _found(name, str(chosen.pop("revision", "")))
    adapter = _adapter_of(model)
    known = settings_of(adapter)
    check_settings(name, chosen, [*known, "revision"])
    if usual_size is not None and "size" in known and adapter.takes_any_size:
        chosen.setdefault("size", usual_size)
    return adapter(device, model, **chosen)


def rebuild_model(stored: TokenSpec, device: torch.device, places: Sequence[Path] = ()) -> Adapter:
    """Load the model that made some tokens, found by its weights; see `find_by_weights`."""
    model = find_by_weights(stored.encoder, stored.weights_sha256, places)
    adapter = _adapter_of(model)
    if stored.settings.get("family") != model.family.name:
        raise WrongSpec(
            f"{stored.encoder}: the tokens are of family {stored.settings.get('family')!r}, the model of "
            f"{model.family.name!r}"
        )
    known = settings_of(adapter)
    return adapter(device, model, **{key: value for key, value in stored.settings.items() if key in known})


def settings_of(adapter: type[Adapter]) -> list[str]:
    """Return the settings that a family has."""
    return [key for key in inspect.signature(adapter).parameters if key not in ("device", "model")]


@lru_cache(maxsize=8)
def _found(name: str, revision: str) -> PretrainedModel:
    return find_model(name, revision)


def _adapter_of(model: PretrainedModel) -> type[Adapter]:
    module, name = model.family.place
    adapter: type[Adapter] = getattr(import_module(module), name)
    return adapter
