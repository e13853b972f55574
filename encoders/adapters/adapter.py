"""What all adapters share: exact surroundings, one row at a time on a CPU, and refusing surprises."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from encoders.adapters.model_files import PretrainedModel
from encoders.encoder import check_codes, check_launch
from encoders.errors import MissingDependency, ModelNotFound, WrongInput
from encoders.spec import InputSpec, TokenSpec, dtype_for
from encoders.tokens import TokenArray

LARGEST_FEATURE = float(torch.finfo(torch.float16).max)


class Adapter:
    """A pretrained model behind the contract of `encoders.Encoder`.

    A family gives `spec`, `_encode` (media of some rows to codes or features) and, where the way leads
    back, `_reconstruct`. Rows are computed one at a time on a CPU, so that none can depend on another; on
    a GPU together, in the one shape of a launch. Weights and arithmetic are float32.
    """

    revision: ClassVar[int] = 1
    takes_any_size: ClassVar[bool] = True
    """Whether pictures may have the size that a dataset usually has; else the model has one of its own."""

    device: torch.device
    spec: TokenSpec

    def __init__(self, device: torch.device, model: PretrainedModel, **settings: Any) -> None:
        raise NotImplementedError

    def fit(self, samples: Iterable[np.ndarray]) -> Adapter:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn one launch into codes, or features in float16."""
        check_launch(self, batch)
        with exact():
            made = self._by_rows(self._encode, batch)
        wanted = (len(batch), self.spec.steps_per_chunk, *self.spec.shape)
        if tuple(made.shape) != wanted:
            raise WrongInput(
                f"{self.spec.encoder} gave {list(made.shape)} for a launch, its rule says {list(wanted)}: "
                "this model is of another make than its family"
            )
        if self.spec.kind == "codes":
            return TokenArray(made.to(getattr(torch, self.spec.dtype)))
        outside = ~torch.isfinite(made) | (made.abs() > LARGEST_FEATURE)
        halves = made.nan_to_num(0.0).clamp(-LARGEST_FEATURE, LARGEST_FEATURE).to(torch.float16)
        return TokenArray(halves, saturated=outside.flatten(1).sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes or features back into media of the input's dtype."""
        if not self.spec.reconstructs:
            raise WrongInput(f"{self.spec.encoder} makes embeddings: no media come back from them")
        check_codes(self, tokens)
        dtype = torch.int64 if self.spec.kind == "codes" else torch.float32
        with exact():
            return self._by_rows(self._reconstruct, tokens.data.to(self.device).to(dtype))

    def _by_rows(self, what: Any, rows: Tensor) -> Tensor:
        if self.device.type != "cpu":
            made: Tensor = what(rows)
            return made
        return torch.cat([what(rows[row : row + 1]) for row in range(len(rows))])

    def _encode(self, media: Tensor) -> Tensor:
        raise NotImplementedError

    def _reconstruct(self, codes: Tensor) -> Tensor:
        raise NotImplementedError


@contextmanager
def exact() -> Iterator[None]:
    """Compute without gradients, in full float32, by kernels that repeat, whatever the caller has set."""
    with (
        torch.inference_mode(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield


def spec_of(
    adapter: type[Adapter],
    model: PretrainedModel,
    takes: InputSpec,
    *,
    axes: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    steps: int,
    codebook_sizes: tuple[int, ...] = (),
    reconstructs: bool = True,
    settings: Mapping[str, Any],
) -> TokenSpec:
    """Return the spec of an adapter: codes where there are codebooks, else features.

    Args:
        adapter: the family's class.
        model: whose name and weights it is.
        takes: the input.
        axes: of a clip's tokens.
        shape: of one time step.
        strides: media items per index of each axis.
        steps: time steps of one chunk.
        codebook_sizes: of codes.
        reconstructs: whether the way leads back.
        settings: what can be chosen, and, for readers, how the media are normalised.
    """
    if prod(shape) < 1 or steps < 1:
        raise WrongInput(f"{model.name}: {takes.chunk} items of size {takes.size} give no token")
    said = {"family": model.family.name, "config_sha256": model.config_sha256, **settings}
    return TokenSpec(
        encoder=f"hf:{model.name}",
        revision=adapter.revision,
        kind="codes" if codebook_sizes else "features",
        dtype=dtype_for(codebook_sizes) if codebook_sizes else "float16",
        axes=axes,
        shape=shape,
        strides=strides,
        steps_per_chunk=steps,
        codebook_sizes=codebook_sizes,
        reconstructs=reconstructs,
        weights_sha256=model.weights_sha256,
        settings=json.loads(json.dumps(said)),
        input=takes,
    )


def load_with(library: str, name: str, model: PretrainedModel, device: torch.device, **more: Any) -> Any:
    """Load a model class of transformers or diffusers from its folder, in float32, with all its weights.

    Nothing is downloaded, and no code that comes with the model is run.

    Raises:
        MissingDependency: the library is not installed, or has no such class.
        ModelNotFound: weights are missing or of another shape.
    """
    cls = class_of(library, name)
    wanted = {"dtype" if library == "transformers" else "torch_dtype": torch.float32}
    safe = all(file.suffix == ".safetensors" for file in model.files)
    try:
        loaded, told = cls.from_pretrained(
            model.path,
            local_files_only=True,
            use_safetensors=safe,
            output_loading_info=True,
            low_cpu_mem_usage=library == "transformers",
            **wanted,
            **more,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelNotFound(f"{model.name} can't be loaded by {library}: {first}") from error
    absent = sorted(str(key) for key in [*told["missing_keys"], *told.get("mismatched_keys", ())])
    if absent:
        raise ModelNotFound(
            f"{model.name} lacks {len(absent)} weights of {name} ({', '.join(absent[:3])} …): they would be "
            "made up"
        )
    return loaded.eval().requires_grad_(requires_grad=False).to(device)


def class_of(library: str, name: str) -> Any:
    """Return a class of transformers or diffusers.

    Raises:
        MissingDependency: the library is not installed, or too old.
    """
    from importlib import import_module

    try:
        found = import_module(library)
        if library == "transformers":
            found.logging.disable_progress_bar()
        return getattr(found, name)
    except ImportError as error:
        raise MissingDependency(f"{name} needs {library}: pip install 'fifth[hf]'") from error
    except AttributeError as error:
        raise MissingDependency(
            f"this version of {library} has no {name}: pip install -U 'fifth[hf]'"
        ) from error
