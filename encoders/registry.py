"""Encoders by name. Only the one that is asked for is imported.

Names with `:` are those of pretrained models: `hf:FOLDER_OR_NAME` (`encoders.adapters`).
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import DeviceUnavailable, UnknownEncoder, WrongInput, WrongSetting, WrongSpec
from encoders.spec import MEDIA, Medium, TokenSpec

if TYPE_CHECKING:
    import torch

    from encoders.adapters.families import Family
    from encoders.encoder import Encoder


@dataclass(frozen=True)
class Entry:
    """Where one encoder is found."""

    name: str
    medium: Medium
    module: str
    factory: str
    """A class of that module: called with the device, the settings, and `fitted` where it must be fitted."""


ENTRIES = (
    Entry("fifth-video", "pictures", "encoders.fifth_video", "FifthVideo"),
    Entry("frames-dct", "pictures", "encoders.frames_fsq", "FramesDct"),
    Entry("jpeg", "pictures", "encoders.jpeg", "Jpeg"),
    Entry("h264", "pictures", "encoders.h264", "H264"),
    Entry("depth-log", "depth", "encoders.depth_log", "DepthLog"),
    Entry("sound-mdct", "sound", "encoders.sound_transform", "SoundMdct"),
    Entry("fifth-audio", "sound", "encoders.fifth_audio", "FifthAudio"),
    Entry("opus", "sound", "encoders.opus", "Opus"),
    Entry("mulaw-256", "sound", "encoders.mulaw", "SoundMulaw"),
    Entry("logmel", "sound", "encoders.logmel", "LogMel"),
    Entry("bins-255", "signal", "encoders.bins", "Bins"),
    Entry("mulaw-1024", "signal", "encoders.mulaw", "SignalMulaw"),
    Entry("fast-1024", "signal", "encoders.fast", "Fast"),
)
"""All encoders; the first of a medium is its default."""


MODEL_PREFIX = "hf:"
"""What the names of pretrained models begin with."""
MODELS_VARIABLE = "FIFTH_MODELS"
"""The environment variable with folders where pretrained models are looked for by their weights."""


def is_model_name(name: str) -> bool:
    """Tell whether a name is that of a pretrained model, which is somewhere else."""
    return name.startswith(MODEL_PREFIX)


def encoder_names(medium: Medium | None = None) -> list[str]:
    """Return the names of all encoders, or of one medium's, its default first."""
    _check_medium(medium)
    return [entry.name for entry in ENTRIES if medium in (None, entry.medium)]


def default_encoder(medium: Medium) -> str:
    """Return the name of the medium's default: it needs no download and works offline on a CPU."""
    return encoder_names(medium)[0]


def medium_of(name: str) -> Medium:
    """Return what an encoder takes, without importing it.

    Raises:
        UnknownEncoder: no encoder has this name.
    """
    if is_model_name(name):
        from encoders.adapters.loading import medium_of_model

        return medium_of_model(name)
    return _entry(name).medium


def model_families() -> tuple[Family, ...]:
    """Return the families of pretrained models that `hf:...` takes."""
    from encoders.adapters.families import FAMILIES

    return FAMILIES


def model_place(name: str, revision: str = "") -> Path | None:
    """Return the folder or file of the pretrained model that a name means; None: it is in the box."""
    if not is_model_name(name):
        return None
    from encoders.adapters.model_files import find_model

    return find_model(name, revision).path


def load_encoder(
    name: str, device: str | torch.device = "cpu", usual_size: int | None = None, **settings: Any
) -> Encoder:
    """Build an encoder by name.

    Args:
        name: one of `encoder_names()`, or `hf:FOLDER_OR_NAME` for a pretrained model.
        device: `cpu`, `cuda`, `cuda:1` …; never changed silently.
        usual_size: edge of pictures, for encoders that take any, where the settings give none.
        settings: what the encoder lets you choose, as `spec.settings` names it.

    Raises:
        UnknownEncoder: no encoder has this name; the message gives the nearest.
        WrongSetting: the encoder has no such setting, or can't use this value.
        ModelNotFound: no pretrained model is there, or none that is known.
        DeviceUnavailable: the device is not on this machine.
        MissingDependency: a library that only this encoder needs is not installed.
    """
    if is_model_name(name):
        from encoders.adapters.loading import load_model

        return load_model(name, _device(device), usual_size, settings)
    entry = _entry(name)
    factory = getattr(import_module(entry.module), entry.factory)
    known = [key for key in inspect.signature(factory).parameters if key not in ("device", "fitted")]
    check_settings(name, settings, known)
    if usual_size is not None and "size" in known:
        settings.setdefault("size", usual_size)
    encoder: Encoder = factory(device=_device(device), **settings)
    return encoder


def check_settings(name: str, settings: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `WrongSetting` where an encoder has no such setting."""
    for key in settings:
        if key not in known:
            raise WrongSetting(
                f"{name} has no setting {key!r}{_nearest(key, list(known))} "
                f"(it has: {', '.join(known) or 'none'})"
            )


def encoder_for(spec: TokenSpec | Mapping[str, Any], device: str | torch.device = "cpu") -> Encoder:
    """Rebuild exactly the encoder that a stored token spec describes, with what was fitted.

    A pretrained model is looked for by its weights in the folders of `FIFTH_MODELS`, and in the cache of
    the hub's libraries; nothing is downloaded.

    Raises:
        UnknownEncoder: this version has no such encoder.
        WrongSpec: it has another revision of it, or the spec is damaged.
        ModelNotFound: no model with these weights is on this machine.
        DeviceUnavailable: the device is not on this machine.
    """
    stored = spec if isinstance(spec, TokenSpec) else TokenSpec.from_json(spec)
    try:
        encoder = _rebuilt(stored, _device(device))
    except (KeyError, TypeError, ValueError, WrongInput, WrongSetting) as error:
        raise WrongSpec(f"the stored settings of {stored.encoder} can't be used: {error}") from error
    if encoder.spec != stored:
        raise WrongSpec(f"{stored.encoder}: {_difference(stored, encoder.spec)}")
    return encoder


def _rebuilt(stored: TokenSpec, device: torch.device) -> Encoder:
    if is_model_name(stored.encoder):
        from encoders.adapters.loading import rebuild_model

        return rebuild_model(stored, device)
    entry = _entry(stored.encoder)
    factory = getattr(import_module(entry.module), entry.factory)
    fitted = {"fitted": stored.fitted} if stored.fitted else {}
    encoder: Encoder = factory(device=device, **stored.settings, **fitted)
    return encoder


@lru_cache(maxsize=8)
def _kept(spec: str, device: str) -> Encoder:
    return encoder_for(json.loads(spec), device)


def kept_encoder_for(spec: TokenSpec | Mapping[str, Any], device: str | torch.device = "cpu") -> Encoder:
    """Return what `encoder_for` does, and keep the last few of this process: weights are read once."""
    data = spec.to_json() if isinstance(spec, TokenSpec) else dict(spec)
    return _kept(json.dumps(data, sort_keys=True), str(device))


def forget_encoders() -> None:
    """Let go of the encoders that this process keeps."""
    _kept.cache_clear()


def _difference(stored: TokenSpec, ours: TokenSpec) -> str:
    for name in ("revision", "weights_sha256", *ours.__dataclass_fields__):
        was, now = getattr(stored, name), getattr(ours, name)
        if was != now:
            return f"the tokens were made with {name} {was!r}, this version has {now!r}"
    raise AssertionError("equal specs")


def _entry(name: str) -> Entry:
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    names = encoder_names()
    raise UnknownEncoder(
        f"no encoder is called {name!r}{_nearest(name, names)} (there are: {', '.join(names)})"
    )


def _nearest(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else ""


def _device(device: str | torch.device) -> torch.device:
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise DeviceUnavailable(f"{str(device)!r} is no device that torch knows; give cpu or cuda") from error
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise DeviceUnavailable(
            f"{wanted} is not on this machine (GPUs found: {torch.cuda.device_count()}); give cpu"
        )
    return wanted


def _check_medium(medium: Medium | None) -> None:
    if medium is not None and medium not in MEDIA:
        raise WrongSetting(f"no medium is called {medium!r}; there are: {', '.join(MEDIA)}")
