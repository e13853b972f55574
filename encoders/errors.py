"""Errors of `encoders`.

    EncodersError               anything this package raises on purpose
    ├── UnknownEncoder          no encoder has this name
    ├── WrongSetting            a setting that the encoder does not know, or a value it can't use
    ├── WrongInput              media or tokens whose shape, size or dtype does not fit
    ├── WrongSpec               a stored token spec that this version can't rebuild
    ├── ModelNotFound           no pretrained model is there, or none that can be used
    ├── NotFitted               the encoder must be fitted to samples before it can encode
    ├── NotRepeatable           tokens that depend on more than their own row, here
    ├── DeviceUnavailable       the device that was asked for is not on this machine
    └── MissingDependency       a library that only this encoder needs is not installed

Nothing here wraps a bug: a `TypeError` or `IndexError` that comes out of this package is one.
"""

from __future__ import annotations


class EncodersError(Exception):
    """Anything this package raises on purpose."""


class UnknownEncoder(EncodersError):
    """No encoder has this name. The message gives the nearest name and all of them."""


class WrongSetting(EncodersError):
    """A setting that the encoder does not know, or a value it can't use. The message says what it can."""


class WrongInput(EncodersError):
    """Media or tokens do not fit. The message gives what came, what is taken, and the nearest that fits."""


class WrongSpec(EncodersError):
    """A stored token spec can't be rebuilt exactly by this version. The message says what differs."""


class ModelNotFound(EncodersError):
    """No pretrained model is there, or one that can't be used. The message says where it was looked for."""


class NotFitted(EncodersError):
    """The encoder must be fitted to samples before it can encode."""


class NotRepeatable(EncodersError):
    """An encoder's tokens depend on their place in a launch, or on other rows, on this machine."""


class DeviceUnavailable(EncodersError):
    """The device that was asked for is not on this machine."""


class MissingDependency(EncodersError):
    """A library that only this encoder needs is not installed. The message gives the install line."""
