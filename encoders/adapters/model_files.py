"""Where a pretrained model is, and what its files say of it: by folder, by file, by name on a hub.

    hf:FOLDER                  a folder that transformers or diffusers saved (`config.json`), or one with
                               `encoder.jit` and `decoder.jit`
    hf:FILE                    weights without a config: TAESD, TAEHV (`.pth`, `.safetensors`), Silero VAD
    hf:OWNER/NAME[/SUBFOLDER]  a repository of the Hugging Face hub; what is missing is downloaded

The folder itself is never stored: a dataset knows a model by its name (the last part of what was given)
and its weights. To find it again, `find_by_weights` looks in the folders of the environment variable
FIFTH_MODELS and in the hub's local cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from encoders.adapters.families import FAMILIES, Family, family_of
from encoders.adapters.weights import weights_sha256
from encoders.errors import MissingDependency, ModelNotFound
from encoders.registry import MODEL_PREFIX, MODELS_VARIABLE

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")
_CACHED = re.compile(r"models--(?:.+--)?(.+)")
_OF_THE_LIBRARY = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")
"""What a config says of how it was written, and not of the model."""
_WEIGHTS = (
    "model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)  # fmt: skip


@dataclass(frozen=True)
class PretrainedModel:
    """One model on this machine."""

    name: str
    """The last part of what it was called, never a folder of this machine."""
    path: Path
    """Its folder, or its (first) file."""
    family: Family
    files: tuple[Path, ...]
    """The files with its weights."""
    config: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def weights_sha256(self) -> str:
        """The hash of its weights (`encoders.adapters.weights`)."""
        return weights_sha256(self.files)

    @cached_property
    def config_sha256(self) -> str:
        """The hash of its config, without what the library adds; empty where there is none."""
        said = {key: value for key, value in self.config.items() if key not in _OF_THE_LIBRARY}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest() if said else ""


def find_model(name: str, revision: str = "") -> PretrainedModel:
    """Return the model that `hf:...` names, downloaded from the hub if it is not a path.

    Args:
        name: as above; `hf:` may be left out.
        revision: branch, tag or commit on the hub; empty: the default one.

    Raises:
        ModelNotFound: nothing is there, or nothing that this version knows.
        MissingDependency: for names on a hub, where its library is not installed.
    """
    text = name.removeprefix(MODEL_PREFIX)
    path = Path(text).expanduser()
    if path.exists():
        return model_at(path)
    if not _HUB_NAME.fullmatch(text):
        raise ModelNotFound(f"{name}: no such folder or file, and no OWNER/NAME on a hub")
    owner, repository, *below = text.split("/")
    folder = _downloaded(f"{owner}/{repository}", "/".join(below), revision)
    return model_at(folder, below[-1] if below and below[-1] != "vae" else repository)


def model_at(path: Path, name: str = "") -> PretrainedModel:
    """Return the model in a folder or file.

    Raises:
        ModelNotFound: none that this version knows; the message says what was found instead.
    """
    if path.is_file():
        return _lone_file(path)
    if (path / "encoder.jit").is_file():
        files = tuple(file for file in (path / "encoder.jit", path / "decoder.jit") if file.is_file())
        return PretrainedModel(name or path.resolve().name, path, _family("cosmos-jit", path), files)
    if not (path / "config.json").is_file() and (path / "vae" / "config.json").is_file():
        return model_at(path / "vae", name or path.resolve().name)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
        kind = config.get("model_type") or config.get("_class_name") or ""
    except FileNotFoundError:
        raise ModelNotFound(
            f"{path}: no pretrained model: it has neither config.json nor encoder.jit"
        ) from None
    except (ValueError, AttributeError) as error:
        raise ModelNotFound(f"{path / 'config.json'}: not a JSON object: {error}") from error
    return PretrainedModel(name or _base_name(path), path, _family(kind, path), _weight_files(path), config)


def find_by_weights(name: str, wanted_sha256: str, places: Sequence[Path] = ()) -> PretrainedModel:
    """Return the model with these weights, from these places, FIFTH_MODELS or the hub's cache.

    Args:
        name: as a stored spec has it; models of this name are looked at first.
        wanted_sha256: of the weights.
        places: models, or folders of models.

    Raises:
        ModelNotFound: there is none; the message says where it was looked for, and what was found.
    """
    other = ""
    for path in _candidates(name.removeprefix(MODEL_PREFIX), places):
        try:
            model = model_at(path)
            if model.weights_sha256 == wanted_sha256:
                return PretrainedModel(
                    name.removeprefix(MODEL_PREFIX), path, model.family, model.files, model.config
                )
            other = other or f"; {model.name} is there with other weights ({model.weights_sha256[:16]})"
        except (ModelNotFound, OSError):
            continue
    raise ModelNotFound(
        f"the model {name} with weights {wanted_sha256[:16]} is not on this machine{other}: give its folder, "
        f"or one that holds it, in the environment variable {MODELS_VARIABLE} (several joined by "
        f"{os.pathsep!r})"
    )


def _candidates(name: str, places: Sequence[Path]) -> Iterator[Path]:
    """Yield models that could be it: those of its name first, then all others of the places given."""
    given = os.environ.get(MODELS_VARIABLE, "").split(os.pathsep)
    roots = [*places, *(Path(text).expanduser() for text in given if text)]
    yield from (root for root in roots if root.is_file() or (root.is_dir() and _base_name(root) == name))
    yield from (root / name for root in roots if (root / name).exists())
    yield from _in_hub_cache(name)
    for root in roots:
        if root.is_dir():
            yield root
            yield from sorted(path.parent for path in root.glob("*/config.json"))
            yield from sorted(path.parent for path in root.glob("*/vae/config.json"))
            yield from sorted(path.parent for path in root.glob("*/encoder.jit"))
            yield from sorted(
                path for path in root.glob("*") if path.suffix in (".pth", ".safetensors", ".jit")
            )


def _in_hub_cache(name: str) -> Iterator[Path]:
    """Yield the snapshots of repositories of this name in the cache of the hub's library."""
    home = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface", "hub")
    for snapshot in sorted(Path(home).expanduser().glob(f"models--*{name}/snapshots/*")):
        yield snapshot
        if (snapshot / "vae").is_dir():
            yield snapshot / "vae"


def _base_name(path: Path) -> str:
    """Return a folder's name; of a snapshot in the hub's cache, the repository's."""
    path = path.resolve()
    path = path.parent if path.name == "vae" else path
    if path.parent.name == "snapshots" and (found := _CACHED.fullmatch(path.parent.parent.name)):
        return found[1]
    return path.name


def _family(kind: str, path: Path) -> Family:
    family = family_of(kind)
    if family is None:
        known = ", ".join(known for family in FAMILIES for known in family.kinds)
        raise ModelNotFound(f"{path}: a model of kind {kind!r} has no adapter (known: {known})")
    return family


def _weight_files(folder: Path) -> tuple[Path, ...]:
    for index in sorted(folder.glob("*.safetensors.index.json")):
        names = json.loads(index.read_text("utf-8"))["weight_map"].values()
        inside = sorted({folder / Path(name).name for name in names})
        return tuple(inside)
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return (folder / name,)
    raise ModelNotFound(f"{folder}: no weights; it has none of {', '.join(_WEIGHTS)}")


def _lone_file(path: Path) -> PretrainedModel:
    """Return the model of a weight file, recognised by its name, together with the file of its decoder."""
    stem = path.stem.lower()
    if stem.startswith("silero_vad") and path.suffix == ".safetensors":
        return PretrainedModel("silero_vad", path, _family("silero-vad", path), (path,))
    if path.suffix in (".pth", ".safetensors") and stem.endswith(("_encoder", "_decoder")):
        pair = [path.with_name(f"{path.stem[:-8]}_{part}{path.suffix}") for part in ("encoder", "decoder")]
        files = tuple(file for file in pair if file.is_file())
        return PretrainedModel(path.stem[:-8], pair[0], _family("taesd-file", path), files)
    if path.suffix in (".pth", ".safetensors") and stem.startswith("tae"):
        return PretrainedModel(path.stem, path, _family("taehv-file", path), (path,))
    raise ModelNotFound(
        f"{path}: no weight file that is known by its name: tae*_encoder.pth or .safetensors (TAESD), "
        "tae*.pth (TAEHV), silero_vad*.safetensors, or a folder with config.json or encoder.jit"
    )


def _downloaded(repository: str, below: str, revision: str) -> Path:
    """Return the local copy of a hub's repository, without code."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependency("models of a hub need: pip install 'fifth[hf]'") from error
    inside = f"{below}/" if below else ""
    wanted = [f"{inside}{name}" for name in ("*.json", "*.safetensors", "*.jit")]
    try:
        copy = snapshot_download(repository, revision=revision or None, allow_patterns=wanted)
    except Exception as error:  # its many errors, and those of what it builds on
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelNotFound(f"{MODEL_PREFIX}{repository} can't be had from the hub: {first}") from error
    return Path(copy) / below
