"""Media to tokens and back: `load_encoder("frames-dct")`, `ClipEncoder`, `reconstruct_clip`.

Tensors come in, arrays and a plain JSON spec go out; this package has never heard of files or clocks.
Importing it is light: torch is imported with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.determinism import kept_probe, probe
    from encoders.encoder import Encoder
    from encoders.errors import (
        DeviceUnavailable,
        EncodersError,
        MissingDependency,
        ModelNotFound,
        NotFitted,
        NotRepeatable,
        UnknownEncoder,
        WrongInput,
        WrongSetting,
        WrongSpec,
    )
    from encoders.launch import ClipEncoder, encode_clip, reconstruct_clip
    from encoders.quality import Quality, measure
    from encoders.registry import (
        default_encoder,
        encoder_for,
        encoder_names,
        kept_encoder_for,
        load_encoder,
        medium_of,
        model_families,
        model_place,
    )
    from encoders.spec import InputSpec, Medium, TokenSpec
    from encoders.tokens import ClipTokens, TokenArray

__all__ = [
    "ClipEncoder",
    "ClipTokens",
    "DeviceUnavailable",
    "Encoder",
    "EncodersError",
    "InputSpec",
    "Medium",
    "MissingDependency",
    "ModelNotFound",
    "NotFitted",
    "NotRepeatable",
    "Quality",
    "TokenArray",
    "TokenSpec",
    "UnknownEncoder",
    "WrongInput",
    "WrongSetting",
    "WrongSpec",
    "default_encoder",
    "encode_clip",
    "encoder_for",
    "encoder_names",
    "kept_encoder_for",
    "kept_probe",
    "load_encoder",
    "measure",
    "medium_of",
    "model_families",
    "model_place",
    "probe",
    "reconstruct_clip",
]

_HOMES = {
    "Encoder": "encoder",
    "ClipEncoder": "launch",
    "encode_clip": "launch",
    "reconstruct_clip": "launch",
    "kept_probe": "determinism",
    "probe": "determinism",
    "Quality": "quality",
    "measure": "quality",
    "InputSpec": "spec",
    "Medium": "spec",
    "TokenSpec": "spec",
    "ClipTokens": "tokens",
    "TokenArray": "tokens",
    **dict.fromkeys(
        (
            "default_encoder",
            "encoder_for",
            "encoder_names",
            "kept_encoder_for",
            "load_encoder",
            "medium_of",
            "model_families",
            "model_place",
        ),
        "registry",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'encoders' has no attribute {name!r}")
    value = getattr(import_module(f"encoders.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
