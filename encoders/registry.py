"""Encoders by name. Only the one that is asked for is imported."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from encoders.errors import DeviceUnavailable, UnknownEncoder, WrongInput, WrongSetting, WrongSpec
from encoders.spec import MEDIA, Medium, TokenSpec

if TYPE_CHECKING:
    import torch

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
    Entry("frames-dct", "pictures", "encoders.frames_fsq", "FramesDct"),
    Entry("fifth-video", "pictures", "encoders.fifth_video", "FifthVideo"),
    Entry("jpeg", "pictures", "encoders.jpeg", "Jpeg"),
    Entry("h264", "pictures", "encoders.h264", "H264"),
    Entry("depth-log", "depth", "encoders.depth_log", "DepthLog"),
    Entry("sound-mdct", "sound", "encoders.sound_transform", "SoundMdct"),
    Entry("fifth-audio", "sound", "encoders.fifth_audio", "FifthAudio"),
    Entry("opus", "sound", "encoders.opus", "Opus"),
    Entry("mulaw-256", "sound", "encoders.mulaw", "SoundMulaw"),
    Entry("bins-255", "signal", "encoders.bins", "Bins"),
    Entry("mulaw-1024", "signal", "encoders.mulaw", "SignalMulaw"),
    Entry("fast-1024", "signal", "encoders.fast", "Fast"),
)
"""All encoders; the first of a medium is its default."""


def encoder_names(medium: Medium | None = None) -> list[str]:
    """Return the names of all encoders, or of one medium's, its default first."""
    _check_medium(medium)
    return [entry.name for entry in ENTRIES if medium in (None, entry.medium)]


def default_encoder(medium: Medium) -> str:
    """Return the name of the medium's default: it needs no weights and works offline on a CPU."""
    return encoder_names(medium)[0]


def medium_of(name: str) -> Medium:
    """Return what an encoder takes, without importing it.

    Raises:
        UnknownEncoder: no encoder has this name.
    """
    return _entry(name).medium


def load_encoder(name: str, device: str | torch.device = "cpu", **settings: Any) -> Encoder:
    """Build an encoder by name.

    Args:
        name: one of `encoder_names()`.
        device: `cpu`, `cuda`, `cuda:1` …; never changed silently.
        settings: what the encoder lets you choose, as `spec.settings` names it.

    Raises:
        UnknownEncoder: no encoder has this name; the message gives the nearest.
        WrongSetting: the encoder has no such setting, or can't use this value.
        DeviceUnavailable: the device is not on this machine.
        MissingDependency: a library that only this encoder needs is not installed.
    """
    entry = _entry(name)
    factory = getattr(import_module(entry.module), entry.factory)
    known = [key for key in inspect.signature(factory).parameters if key not in ("device", "fitted")]
    for key in settings:
        if key not in known:
            raise WrongSetting(
                f"{name} has no setting {key!r}{_nearest(key, known)} (it has: {', '.join(known) or 'none'})"
            )
    encoder: Encoder = factory(device=_device(device), **settings)
    return encoder


def encoder_for(spec: TokenSpec | Mapping[str, Any], device: str | torch.device = "cpu") -> Encoder:
    """Rebuild exactly the encoder that a stored token spec describes, with what was fitted.

    Raises:
        UnknownEncoder: this version has no such encoder.
        WrongSpec: it has another revision of it, or the spec is damaged.
        DeviceUnavailable: the device is not on this machine.
    """
    try:
        stored = spec if isinstance(spec, TokenSpec) else TokenSpec.from_json(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise WrongSpec(f"this is no token spec of this version: {type(error).__name__}: {error}") from error
    entry = _entry(stored.encoder)
    factory = getattr(import_module(entry.module), entry.factory)
    fitted = {"fitted": stored.fitted} if stored.fitted else {}
    try:
        encoder: Encoder = factory(device=_device(device), **stored.settings, **fitted)
    except (KeyError, TypeError, ValueError, WrongInput, WrongSetting) as error:
        raise WrongSpec(f"the stored settings of {stored.encoder} can't be used: {error}") from error
    if encoder.spec != stored:
        raise WrongSpec(f"{stored.encoder}: {_difference(stored, encoder.spec)}")
    return encoder


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
