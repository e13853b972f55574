"""What every encoder promises, asked of every family of pretrained models, on tiny random weights.

To add a family, list it in `encoders.adapters.families` and make a tiny one in `tiny_models`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from torch import Tensor

import encoders
from encoders import ClipEncoder, Encoder, TokenSpec, WrongInput, WrongSetting
from encoders.adapters.families import FAMILIES
from encoders.launch import encode_clip, reconstruct_clip, rows_of
from encoders.registry import MODELS_VARIABLE

QUICK = ("encodec", "mimi", "silero_vad", "emu3", "vq_model", "wan", "taesd_file", "siglip", "vjepa2")
every_family = pytest.mark.parametrize(
    "family",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in tiny_models.MAKERS],
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks are fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Encoder]]:
    """Families by name, made when they are first asked for."""
    folder = tmp_path_factory.mktemp("models")

    class Models(dict[str, tuple[Path, Encoder]]):
        def __missing__(self, name: str) -> tuple[Path, Encoder]:
            path = tiny_models.made(name, folder / name)
            self[name] = path, encoders.load_encoder(f"hf:{path}", **tiny_models.MAKERS[name][1])
            return self[name]

    return Models()


def clip_of(encoder: Encoder, length: int) -> Tensor:
    """Return a made clip: noise that rises and falls, the same for the same length."""
    takes = encoder.spec.input
    random = torch.Generator().manual_seed(3)
    if takes.medium == "pictures":
        assert takes.size is not None
        coarse = torch.rand((length, 3, 4, 4), generator=random)
        pictures = torch.nn.functional.interpolate(coarse, takes.size, mode="bilinear")
        return (pictures * 255).to(torch.uint8)
    return torch.rand((takes.channels, length), generator=random) * 0.6 - 0.3


def launch_of(encoder: Encoder) -> Tensor:
    takes = encoder.spec.input
    rows = rows_of(clip_of(encoder, takes.chunk * takes.launch_batch), takes)
    return rows[: takes.launch_batch].contiguous()


def test_every_family_has_a_tiny_model() -> None:
    """No family goes untested."""
    assert {family.name for family in FAMILIES} <= set(tiny_models.MAKERS)


@every_family
def test_the_spec_is_told_and_kept(models: dict[str, tuple[Path, Encoder]], family: str) -> None:
    """The spec survives JSON, names its model and weights, and holds nothing of where the model lies."""
    path, encoder = models[family]
    data = json.loads(json.dumps(encoder.spec.to_json()))
    assert TokenSpec.from_json(data) == encoder.spec
    assert data["encoder"].startswith("hf:")
    assert len(data["weights_sha256"]) == 64
    assert str(path.parent) not in json.dumps(data)
    assert encoders.medium_of(f"hf:{path}") == encoder.spec.input.medium


@every_family
def test_what_comes_out_is_what_the_spec_says(models: dict[str, tuple[Path, Encoder]], family: str) -> None:
    """A launch gives the spec's shape and dtype, codes in range, finite features; nothing else is taken."""
    encoder = models[family][1]
    spec, launch = encoder.spec, launch_of(encoder)
    result = encoder.encode(launch)
    assert tuple(result.data.shape) == (spec.input.launch_batch, spec.steps_per_chunk, *spec.shape)
    assert str(result.data.dtype) == f"torch.{spec.dtype}"
    if spec.kind == "codes":
        assert int(result.data.to(torch.int64).max()) < max(spec.codebook_sizes)
    else:
        assert bool(torch.isfinite(result.data).all())
    for wrong in (torch.cat([launch, launch]), launch[..., :-1], launch.to(torch.float64)):
        with pytest.raises(WrongInput, match="takes launches of"):
            encoder.encode(wrong)


@every_family
def test_a_row_depends_on_itself_alone(models: dict[str, tuple[Path, Encoder]], family: str) -> None:
    """A clip has the same tokens alone, and among others that are encoded before and after it."""
    encoder = models[family][1]
    chunk = encoder.spec.input.chunk
    clip = clip_of(encoder, chunk)
    alone = encode_clip(encoder, clip).tokens
    launches: ClipEncoder[int] = ClipEncoder(encoder)
    others = [clip.flip(-1), clip, clip.flip(-1).roll(1, -1)]
    done = [made for tag, other in enumerate(others) for made in launches.add(tag, other)]
    done += launches.flush()
    assert np.array_equal(done[1][1].tokens, alone)
    assert done[0][1].tokens.shape == alone.shape


@every_family
def test_a_clip_of_any_length_comes_back(models: dict[str, tuple[Path, Encoder]], family: str) -> None:
    """Clips are padded to whole chunks; what comes back, if anything does, has the clip's own length."""
    encoder = models[family][1]
    spec = encoder.spec
    for length in (0, 1, spec.input.chunk + 1):
        clip = clip_of(encoder, length)
        tokens = encode_clip(encoder, clip)
        assert (tokens.valid, tokens.steps) == (length, -(-length // spec.input.chunk) * spec.steps_per_chunk)
        if not spec.reconstructs:
            with pytest.raises(WrongInput, match="no media come back"):
                reconstruct_clip(encoder, tokens.tokens, tokens.valid)
            continue
        back = reconstruct_clip(encoder, tokens.tokens, tokens.valid)
        assert (back.shape, back.dtype) == (clip.shape, clip.dtype)


@every_family
def test_earlier_chunks_do_not_hear_later_ones(models: dict[str, tuple[Path, Encoder]], family: str) -> None:
    """The tokens of a clip's first chunk are those of the clip cut off after it."""
    encoder = models[family][1]
    chunk = encoder.spec.input.chunk
    clip = clip_of(encoder, 2 * chunk)
    first = clip[..., :chunk] if encoder.spec.input.medium == "sound" else clip[:chunk]
    whole, part = encode_clip(encoder, clip), encode_clip(encoder, first)
    assert np.array_equal(whole.tokens[: len(part.tokens)], part.tokens)


@every_family
def test_a_stored_spec_finds_its_model_again(
    models: dict[str, tuple[Path, Encoder]], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`encoder_for` finds the model by its weights in the folders of FIFTH_MODELS, and gives its tokens."""
    path, encoder = models[family]
    monkeypatch.setenv(MODELS_VARIABLE, str(path.parent))
    again = encoders.encoder_for(json.loads(json.dumps(encoder.spec.to_json())))
    assert again.spec == encoder.spec
    clip = clip_of(encoder, encoder.spec.input.chunk)
    assert np.array_equal(encode_clip(again, clip).tokens, encode_clip(encoder, clip).tokens)


@every_family
def test_unknown_settings_are_refused(models: dict[str, tuple[Path, Encoder]], family: str) -> None:
    """A setting that the family does not have is named, with those it has."""
    with pytest.raises(WrongSetting, match="has no setting 'colour'"):
        encoders.load_encoder(f"hf:{models[family][0]}", colour="red")
