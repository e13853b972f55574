"""`fifth-audio` with small weights made on the spot: causal, the same however a clip is cut, in range."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import ClipEncoder, Encoder, WrongInput, WrongSetting, encoder_for, load_encoder
from encoders.fifth_audio import CHUNK, FifthAudio
from encoders.launch import encode_clip, reconstruct_clip
from encoders.sound_metrics import log_spectral_distance_db, mel_distance
from encoders.sound_network import HOP, RATE, SoundNetwork, SoundShape, overlap
from encoders.training.sound_start import start_from
from encoders.weight_files import write_weights

SHAPE = SoundShape(
    width=24, blocks=2, decoder_width=24, decoder_blocks=2, expansion=2, kernel=3, latent=8, stages=5
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small products on a machine that others use, too, are many times faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed: int = 0) -> SoundNetwork:
    """A network whose every part does something: started as for training, with blocks that add a little."""
    torch.manual_seed(seed)
    made = SoundNetwork(SHAPE)
    start_from(made, [noise(2 * CHUNK, 7)])
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "narrow.weight" in name:
                value.normal_(std=0.1)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    about = {"encoder": "fifth-audio", "shape": json.dumps(SHAPE.to_json())}
    write_weights(path, network().state_dict(), about)
    return str(path)


@pytest.fixture
def encoder(weights: str) -> Encoder:
    return load_encoder("fifth-audio", weights=weights)


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    swell = 0.1 + 0.3 * np.sin(np.arange(samples) / 3000) ** 2
    return torch.from_numpy((random.standard_normal(samples) * swell).clip(-1, 1).astype(np.float32)[None])


def test_the_spec_says_what_it_is(encoder: Encoder) -> None:
    """50 steps a second of 4 codes of 1,000: 2 kbit/s; half the codes are half the bits."""
    spec = encoder.spec
    assert (spec.shape, spec.codebook_sizes, spec.dtype) == ((4,), (1000,), "uint16")
    assert spec.tokens_per_second() == 200
    assert spec.input.context == SHAPE.context_hops * HOP
    assert spec.bits_per_step * 50 == pytest.approx(1993, abs=1)


def test_tokens_do_not_depend_on_how_a_clip_is_cut(encoder: Encoder) -> None:
    """A step's codes follow from its sound and the context before it, wherever the chunk began."""
    clip = noise(3 * CHUNK)
    whole = encode_clip(encoder, clip).tokens
    steps = SHAPE.context_hops
    later = encode_clip(encoder, clip[:, CHUNK // 2 :]).tokens
    assert np.array_equal(later[steps:100], whole[25 + steps : 125])
    assert np.array_equal(encode_clip(encoder, clip[:, : 2 * CHUNK]).tokens, whole[:100])
    assert len({tuple(codes) for codes in whole.tolist()}) > 100


def test_no_step_sees_what_comes_after_it(encoder: Encoder) -> None:
    """Sound after the end of step i changes no code up to i, and the sound of step i changes its own."""
    clip = noise(2 * CHUNK)
    changed = clip.clone()
    changed[:, 60 * HOP :] = noise(2 * CHUNK, seed=1)[:, 60 * HOP :]
    one, other = (encode_clip(encoder, sound).tokens for sound in (clip, changed))
    assert np.array_equal(one[:60], other[:60])
    assert not np.array_equal(one[60], other[60])


def test_fewer_codebooks_are_the_first_ones(weights: str) -> None:
    """The codes of `codebooks=2` are the first two of `codebooks=5`, and both can be heard again."""
    clip = noise(CHUNK + 100)
    few, many = (load_encoder("fifth-audio", weights=weights, codebooks=count) for count in (2, 5))
    assert np.array_equal(encode_clip(few, clip).tokens, encode_clip(many, clip).tokens[:, :2])
    for encoder in (few, many):
        tokens = encode_clip(encoder, clip)
        back = reconstruct_clip(encoder, tokens.tokens, tokens.valid)
        assert back.shape == clip.shape
        assert float(back.abs().max()) <= 1


def test_rows_and_launches_do_not_matter(encoder: Encoder) -> None:
    """Many clips in one launch get the codes that each has alone, silence included."""
    clips = [noise(CHUNK * 2, 1), torch.zeros(1, CHUNK), noise(5000, 2), noise(CHUNK * 3 + 7, 3)]
    launches: ClipEncoder[int] = ClipEncoder(encoder)
    done = [item for tag, clip in enumerate(clips) for item in launches.add(tag, clip)] + launches.flush()
    for (_, tokens), clip in zip(done, clips, strict=True):
        assert np.array_equal(tokens.tokens, encode_clip(encoder, clip).tokens)


def test_the_way_back_has_no_seams(encoder: Encoder) -> None:
    """A clip is made as one piece: the network at once, not a chunk at a time."""
    tokens = encode_clip(encoder, noise(3 * CHUNK))
    back = reconstruct_clip(encoder, tokens.tokens)
    one = network()
    codes = torch.from_numpy(tokens.tokens.astype(np.int64))[None]
    with torch.no_grad():
        assert torch.allclose(back, one.samples(one.means(codes)).clamp(-1, 1), atol=1e-5)


def test_frames_add_up_to_what_they_were_cut_from() -> None:
    """Windowed frames half a hop apart, overlapped and divided by their windows, are the sound again."""
    sound = noise(20 * HOP)
    window = torch.hann_window(2 * HOP)
    frames = sound.unfold(1, 2 * HOP, HOP // 2)
    weight = overlap((window.square()).expand(1, frames.shape[1], 2 * HOP))
    back = overlap(frames * window.square()) / weight.clamp(min=1e-3)
    assert torch.allclose(back[:, HOP : 19 * HOP], sound[:, HOP : 19 * HOP], atol=1e-5)


def test_loud_and_broken_samples_are_counted(encoder: Encoder) -> None:
    """Samples beyond 1 and NaN are counted once, not again as the next chunk's context."""
    clip = noise(2 * CHUNK)
    clip[0, CHUNK - 5], clip[0, CHUNK + 5] = float("nan"), -1.5
    assert encode_clip(encoder, clip).saturated == 2


def test_quantising_in_training_is_quantising(weights: str) -> None:
    """What training decodes is what the codes of as many stages stand for."""
    made = network()
    latents = torch.randn(3, 10, SHAPE.latent, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        trained = made.quantised(latents, torch.tensor([1, 3, 5]))
        for row, stages in enumerate((1, 3, 5)):
            codes = made.codes(latents[row : row + 1], stages)
            assert torch.allclose(made.means(codes)[0], trained[row], atol=1e-5)


def test_a_stored_spec_rebuilds_it(encoder: Encoder) -> None:
    """Spec to JSON and back gives the same encoder and codes."""
    stored = json.loads(json.dumps(encoder.spec.to_json()))
    again = encoder_for(stored)
    assert again.spec == encoder.spec
    assert np.array_equal(encode_clip(again, noise(9000)).tokens, encode_clip(encoder, noise(9000)).tokens)


def test_what_it_can_not_do_is_said(weights: str, tmp_path: Path) -> None:
    """More codebooks than trained, weights of something else, and codes of another shape are refused."""
    with pytest.raises(WrongSetting, match="makes 1 to 5 codes a step, got codebooks=6"):
        load_encoder("fifth-audio", weights=weights, codebooks=6)
    other = tmp_path / "other.safetensors"
    write_weights(other, {"a": torch.zeros(1)}, {"encoder": "fifth-video"})
    with pytest.raises(WrongSetting, match="these weights are of fifth-video, not of fifth-audio"):
        FifthAudio(torch.device("cpu"), weights=str(other))
    encoder = load_encoder("fifth-audio", weights=weights)
    with pytest.raises(WrongInput, match=r"reconstructs codes \[B, n \* 50, 4\], got \[1, 50, 3\]"):
        reconstruct_clip(encoder, np.zeros((50, 3), np.uint16))
    with pytest.raises(ValueError, match="every size must be at least 1"):
        SoundShape(width=0)
    assert encoder.spec.input.rate == RATE


GOLDEN = [
    [749, 138, 377, 214], [789, 178, 771, 614], [789, 178, 931, 615], [789, 178, 931, 831],
    [789, 146, 900, 830], [789, 186, 860, 838], [589, 155, 812, 836], [549, 155, 852, 635],
    [749, 154, 843, 833], [749, 154, 690, 873], [749, 194, 650, 672], [709, 154, 490, 753],
    [709, 154, 530, 753], [669, 194, 331, 993], [669, 186, 331, 593],
]  # fmt: skip
"""Steps 10 to 24 of a chirp, by the weights of the package."""


def test_the_weights_of_the_package() -> None:
    """The shipped weights give the codes that they gave when they were made, but for values on a border."""
    n = np.arange(12_000)
    chirp = 0.5 * np.sin(2 * np.pi * (100 * n / RATE + 500 * (n / RATE) ** 2))
    noise = np.random.default_rng(5).integers(-300, 300, 12_000) / 32768
    clip = torch.from_numpy((np.rint((chirp + noise) * 32768) / 32768).astype(np.float32)[None])
    encoder = load_encoder("fifth-audio")
    codes = encode_clip(encoder, clip).tokens[10:25]
    assert float((codes == np.array(GOLDEN)).mean()) >= 0.9
    back = reconstruct_clip(encoder, encode_clip(encoder, clip).tokens, 12_000)[0]
    assert mel_distance(back, clip[0], RATE) < 0.6 * mel_distance(torch.zeros_like(back), clip[0], RATE)
    assert log_spectral_distance_db(back, clip[0]) < 7
