"""Finding encoders by name, and building them as asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import encoders
from encoders import DeviceUnavailable, Medium, MissingDependency, UnknownEncoder, WrongInput, WrongSetting


def test_every_medium_has_encoders_and_a_default() -> None:
    """The names of a medium begin with its default, and every name is of one medium."""
    media: tuple[Medium, ...] = ("pictures", "depth", "sound", "signal")
    names = [name for medium in media for name in encoders.encoder_names(medium)]
    assert sorted(names) == sorted(encoders.encoder_names())
    for medium in media:
        assert encoders.default_encoder(medium) == encoders.encoder_names(medium)[0]
        assert {encoders.medium_of(name) for name in encoders.encoder_names(medium)} == {medium}
    with pytest.raises(
        WrongSetting, match="no medium is called 'smell'; there are: pictures, depth, sound, signal"
    ):
        encoders.encoder_names("smell")  # type: ignore[arg-type]


@pytest.mark.parametrize("typo", ["frames-dtc", "frame-dct", "FRAMES-DCT"])
def test_a_typo_gets_the_nearest_name(typo: str) -> None:
    """An unknown name is answered with the nearest one and with all of them."""
    with pytest.raises(
        UnknownEncoder, match=r"did you mean 'frames-dct'\? \(there are: .*mulaw-1024"
    ) as caught:
        encoders.load_encoder(typo)
    assert repr(typo) in str(caught.value)
    with pytest.raises(UnknownEncoder, match=r"no encoder is called 'zzz' \(there are"):
        encoders.medium_of("zzz")


def test_an_unknown_setting_gets_the_nearest() -> None:
    """A setting that an encoder does not have is refused by name, not swallowed."""
    with pytest.raises(WrongSetting, match="jpeg has no setting 'qualty'; did you mean 'quality'"):
        encoders.load_encoder("jpeg", qualty=80)
    with pytest.raises(WrongSetting, match=r"bins-255 has no setting 'fitted' \(it has: none\)"):
        encoders.load_encoder("bins-255", fitted={})


@pytest.mark.parametrize(
    ("name", "setting", "value", "message"),
    [
        ("frames-dct", "tokens", 5, "4, 8 or 16 tokens per 16x16 block, got tokens=5"),
        ("sound-mdct", "tokens", 64, "8, 16 or 32 tokens per step, got tokens=64"),
        ("jpeg", "quality", 0, "from 1 to 100, got 0"),
        ("jpeg", "quality", 75.5, "whole number from 1 to 100, got 75.5"),
        ("jpeg", "subsampling", "411", "one of 420, 444, got '411'"),
    ],
)
def test_a_wrong_value_gets_the_right_ones(name: str, setting: str, value: Any, message: str) -> None:
    """A value that a setting can't have is answered with those it can."""
    with pytest.raises(WrongSetting, match=message):
        encoders.load_encoder(name, **{setting: value})


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            250,
            r"pictures of 250x250 do not fit encoder 'frames-dct': .* of 16 \(nearest: 256x256 or 240x240\)",
        ),
        ([120, 161], r"161x120 .*\(nearest: 160x112 or 176x128\)"),
        ([8, 8], r"8x8 .*\(nearest: 16x16\)"),
        (0, "one whole number or .height, width., got 0"),
        ([256], "one whole number or .height, width., got .256."),
        (True, "one whole number or .height, width., got True"),
    ],
)
def test_a_size_that_does_not_fit_gets_the_nearest(size: object, message: str) -> None:
    """Sizes that are no multiple of the block are answered with the sizes around them."""
    with pytest.raises(WrongInput, match=message):
        encoders.load_encoder("frames-dct", size=size)


def test_one_number_is_a_square() -> None:
    """`size=64` and `size=[64, 64]` are the same encoder."""
    assert encoders.load_encoder("jpeg", size=64).spec == encoders.load_encoder("jpeg", size=[64, 64]).spec


def test_a_missing_device_is_not_replaced() -> None:
    """A GPU that is not there, and a word that is no device, are refused."""
    with pytest.raises(DeviceUnavailable, match="cuda:99 is not on this machine"):
        encoders.load_encoder("mulaw-256", "cuda:99")
    with pytest.raises(DeviceUnavailable, match="'gpu' is no device that torch knows; give cpu or cuda"):
        encoders.load_encoder("mulaw-256", "gpu")
    assert encoders.load_encoder("mulaw-256", torch.device("cpu")).device == torch.device("cpu")


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenCV, `jpeg` gives the install line."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match="pip install opencv-python-headless"):
        encoders.load_encoder("jpeg")


def test_names_are_listed_without_torch(tmp_path: Path) -> None:
    """Importing the package, listing names and reading specs loads nothing heavy."""
    code = (
        "import sys, encoders; encoders.encoder_names(); encoders.TokenSpec; encoders.WrongInput\n"
        "print([name for name in ('torch', 'cv2', 'av') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == "[]"


def test_unknown_attributes_are_unknown() -> None:
    """The lazy package answers as a plain one would."""
    assert not hasattr(encoders, "no_such_name")
    assert set(encoders.__all__) <= set(dir(encoders))
