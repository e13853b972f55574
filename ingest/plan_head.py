"""How a plan part begins: the configuration, and the versions that made the plan."""

from __future__ import annotations

from importlib import metadata

from ingest.configuration import MEDIA, Configuration
from ingest.decoders.backends import versions_behind
from ingest.plan_state import Line

VERSIONED = ("av", "numpy", "opencv-python-headless", "rosbags", "torch")
OF_MODELS = ("diffusers", "transformers")
"""Versions that tokens of pretrained models depend on."""


def plan_head(part: int, configuration: Configuration) -> Line:
    """Return the first line of a plan part."""
    return {
        "kind": "part",
        "part": part,
        "format": 1,
        "fifth": metadata.version("fifth"),
        "configuration": dict(configuration.data),
        "configuration_digest": configuration.digest,
        "versions": versions_of(configuration),
    }


def versions_of(configuration: Configuration) -> dict[str, str]:
    """Return the versions of the libraries that bytes depend on."""
    return {
        **{name: _version(name) for name in _versioned(configuration)},
        **versions_behind(configuration.data["decoder"]),
    }


def _versioned(configuration: Configuration) -> tuple[str, ...]:
    chosen = [entry for medium in MEDIA for entry in configuration.encoders_of(medium)]
    pretrained = any(entry["spec"]["encoder"].startswith("hf:") for entry in chosen)
    return VERSIONED + (OF_MODELS if pretrained else ())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "another build"
