"""Several encoders on one track, features, pretrained models, and the probe, through the main job."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from click.testing import CliRunner
from made_bags import Ramp
from made_sound import tone
from made_video import Pictures, SoundTrack, write_video

from encoders import ModelNotFound
from encoders.registry import forget_encoders
from ingest.cli import main
from ingest.configuration import Settings
from ingest.encoder_choice import EncoderChoice, name_for, parse_choices
from ingest.errors import ProbeDiffers, WrongUse
from ingest.pipeline import Run, shard_recordings
from ingest.reconstruction import reconstruct_sample
from shards import TokenStream, dataset_info, open_dataset, verify_dataset

COMMON: dict[str, Any] = {"clip_seconds": Fraction(1), "fps": Fraction(4), "size": 64, "device": "cpu"}


def shard(folder: Path, out: Path, **settings: Any) -> Run:
    run = shard_recordings([folder], out, Settings(**{**COMMON, **settings}), workers=0)
    assert run.unfinished == []
    return run


@pytest.fixture
def videos(tmp_path: Path, card_mp4: Path, tone_wav: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(card_mp4, folder / "a.mp4")
    shutil.copy(tone_wav, folder / "b.wav")
    return folder


def test_lists_of_encoders_are_read() -> None:
    """Commas part encoders, unless what follows is a setting; rates and slugs are not the encoder's."""
    first, second = parse_choices("jpeg@quality=90,size=128,hf:some/model@output=patches,fps=1/2,as=eyes")
    assert (first.name, first.settings) == ("jpeg", {"quality": 90, "size": 128})
    assert (second.name, second.rate, second.slug) == ("hf:some/model", Fraction(1, 2), "eyes")
    assert second.settings == {"output": "patches"}
    assert parse_choices("none") == ()
    with pytest.raises(WrongUse, match="names no encoder"):
        parse_choices("jpeg,")
    with pytest.raises(WrongUse, match="is no rate"):
        EncoderChoice.parse("jpeg@fps=often")
    with pytest.raises(WrongUse, match="must be lower-case letters"):
        EncoderChoice.parse("jpeg@as=My Eyes")


def test_names_of_further_tracks_stay_short_and_their_own() -> None:
    """A further encoder's track is called by its slug; a mark keeps long or taken names apart."""
    assert name_for("video", "jpeg", set()) == "video_jpeg"
    marked = name_for("video", "jpeg", {"video_jpeg"})
    assert marked.startswith("video_jpeg_")
    assert marked != "video_jpeg"
    assert len(name_for("a" * 40, "jpeg", set())) == 40


def test_one_track_is_encoded_by_all_of_them(videos: Path, tmp_path: Path) -> None:
    """The first encoder's members are those of a dataset with it alone; the second's stand beside them."""
    shard(videos, tmp_path / "one")
    shard(videos, tmp_path / "two", video="auto,jpeg@quality=50,size=32,fps=2", audio="mulaw-256,logmel")
    assert verify_dataset(tmp_path / "two") == []
    one, two = (open_dataset(tmp_path / name) for name in ("one", "two"))
    compared = 0
    for sample in one.samples("video"):
        both = two.sample(sample.key)
        assert np.array_equal(both.arrays["video.tokens"], sample.arrays["video.tokens"])
        assert np.array_equal(both.arrays["video.times"], sample.arrays["video.times"])
        assert both.valid == {"video": 4, "video_jpeg": 2}
        assert np.array_equal(both.arrays["video_jpeg.times"], sample.arrays["video.times"][::2])
        back = reconstruct_sample(tmp_path / "two", sample.key)
        assert (back["video"].media.shape, back["video_jpeg"].media.shape) == ((4, 3, 64, 64), (2, 3, 32, 32))
        compared += 1
    assert compared == 2
    info = dataset_info(tmp_path / "two")
    tracks = {track["name"]: track for layout in info["layouts"] for track in layout["tracks"]}
    assert (tracks["audio_logmel"]["kind"], tracks["audio_logmel"]["of"]) == ("features", "audio")
    assert info["tokens"]["audio_logmel"] == 0


def test_features_are_stored_streamed_and_told(videos: Path, tmp_path: Path) -> None:
    """Continuous outputs lie as float16, time first; batches, the card and `info` know them."""
    out = tmp_path / "out"
    shard(videos, out, video="none", audio="logmel")
    sample = next(open_dataset(out).samples())
    assert sample.arrays["audio.features"].dtype == np.float16
    assert sample.arrays["audio.features"].shape == (100, 80)
    assert sample.tokens == {"audio": 0}
    batch = next(iter(TokenStream(out, global_batch=1, epochs=1).batches(("features",))))
    assert batch["audio.features"].shape[1:] == (100, 80)
    assert "| audio | sound | `logmel` r1 | TD | features |" in (out / "README.md").read_text()
    said = CliRunner().invoke(main, ["info", str(out)])
    assert "logmel: 80 a step" in said.output
    assert reconstruct_sample(out, sample.key) == {}


def test_damaged_features_are_found(videos: Path, tmp_path: Path) -> None:
    """Numbers that are none are a problem that `verify` names."""
    from shards.verify_sample import wrong_features

    assert list(wrong_features(np.array([[1.0, np.nan], [np.inf, 0]], np.float16))) == [
        "has 2 values that are no finite numbers"
    ]


def test_signals_keep_their_values_once(ramp_bag: Ramp, tmp_path: Path) -> None:
    """Two encoders of signals share one member of values; both have codes."""
    out = tmp_path / "out"
    shard(ramp_bag.path, out, signals="bins-255,mulaw-1024")
    assert verify_dataset(out) == []
    sample = next(open_dataset(out).samples())
    names = [name for name in sample.arrays if name.endswith(".values")]
    assert names
    assert not [name for name in names if "mulaw" in name]
    track = names[0].removesuffix(".values")
    assert sample.arrays[f"{track}_mulaw_1024.tokens"].dtype == np.uint16


def test_a_pretrained_model_in_a_dataset(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder with the same model gives the same dataset; without the model, its tokens stay readable
    and the message says how to find it again.
    """
    first = tiny_models.made("taesd_file", tmp_path / "here")
    shutil.copytree(first.parent, tmp_path / "there")
    for place in ("here", "there"):
        video = f"jpeg@size=32,hf:{tmp_path / place / first.name}@size=32"
        shard(videos, tmp_path / f"out_{place}", video=video, audio="none")
    assert verify_dataset(tmp_path / "out_here") == []
    manifests = [(tmp_path / f"out_{place}" / "fifth.json").read_bytes() for place in ("here", "there")]
    assert manifests[0] == manifests[1]
    assert str(tmp_path).encode() not in manifests[0]
    key = next(open_dataset(tmp_path / "out_here").samples()).key
    forget_encoders()
    with pytest.raises(ModelNotFound, match="FIFTH_MODELS"):
        reconstruct_sample(tmp_path / "out_here", key)
    said: list[str] = []
    assert list(reconstruct_sample(tmp_path / "out_here", key, left_out=said.append)) == ["video"]
    assert "video_taesd_file is left out: the model hf:taetest" in said[0]
    monkeypatch.setenv("FIFTH_MODELS", str(tmp_path / "there"))
    back = reconstruct_sample(tmp_path / "out_here", key)
    assert back["video_taesd_file"].media.shape == (4, 3, 32, 32)


def test_another_machines_tokens_are_refused(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose encoder's probe is not the plan's writes nothing, and says what to do."""
    out = tmp_path / "out"
    shard(videos, out, audio="none")
    layout = open_dataset(out).manifest["layouts"][0]
    assert len(layout["tracks"][0]["details"]["probe"]) == 64
    monkeypatch.setattr("ingest.task.kept_probe", lambda spec, device: "0" * 64)
    shutil.copy(videos / "a.mp4", videos / "renamed.mp4")
    with (videos / "renamed.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")
    run = shard_recordings([videos], out, Settings(**COMMON, audio="none"), workers=0)
    assert len(run.unfinished) == 1
    assert "gives other tokens (probe 000000000000)" in run.unfinished[0]
    assert "make another dataset here" in run.unfinished[0]
    assert len(json.loads((out / "fifth.json").read_text())["layouts"]) == 1


def test_a_dataset_does_not_grow_on_another_machine(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new layout whose encoder's probe is not that of the layouts before is not even planned."""
    out = tmp_path / "out"
    (videos / "b.wav").rename(tmp_path / "b.wav")
    shard(videos, out, audio="mulaw-256")
    with_sound = videos / "with_sound.mkv"
    write_video(with_sound, Pictures(), SoundTrack(tone(440, 1.0), codec="pcm_s16le"))
    monkeypatch.setattr("ingest.fitting.kept_probe", lambda spec, device: "0" * 64)
    with pytest.raises(ProbeDiffers, match="track video: fifth-video on this machine gives other tokens"):
        shard(videos, out, audio="mulaw-256")
    assert len(list((out / "plan").iterdir())) == 1


@pytest.mark.slow
def test_features_come_through_the_encoder_process(videos: Path, tmp_path: Path) -> None:
    """Features, and a model that only this run knows the place of, are the same from another process."""
    model = tiny_models.made("taesd_file", tmp_path / "models")
    settings = Settings(**COMMON, video=f"hf:{model}@size=32", audio="logmel")
    shard_recordings([videos], tmp_path / "here", settings, workers=0)
    run = shard_recordings([videos], tmp_path / "there", settings, workers=1, encode_in="process")
    assert run.unfinished == []
    tars = sorted(path.name for path in (tmp_path / "here" / "shards").glob("*.tar"))
    assert len(tars) == 2
    for name in tars:
        here, there = ((tmp_path / place / "shards" / name).read_bytes() for place in ("here", "there"))
        assert here == there
