"""Pictures that stay on the device that decoded them: the CPU's conversion is their slow twin.

All of it but the hardware decoder itself runs on any device of torch; here on the CPU, and on a GPU where
there is one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange
from made_video import Pictures, write_video
from video_made import digest

from ingest.clips import Sampling, Wish, read_clips
from ingest.decoder_trial import decoded_by, psnr_db, why_not_exact
from ingest.decoders.av_conversion import Converter
from ingest.decoders.av_pictures import PictureDecoder
from ingest.decoders.backends import nvdec_pictures, why_missing
from ingest.decoders.backends.device_conversion import arranged, rgb_of_planes, weights
from ingest.decoders.backends.nvdec_pictures import (
    LEFT_SITED,
    DevicePicture,
    context_like,
    hardware_context,
    why_no_gpu,
    why_not_on_gpu,
)
from ingest.decoders.colour import Colour, colour_of
from ingest.errors import CannotDecode, CannotOpen
from ingest.geometry import FITS, Fit, Region, arrange, fit
from ingest.recording import Packet, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sampling.frames import Squares
from ingest.sampling.pictures import EachPictureSampler, PictureSampler
from ingest.sources.video_file import VideoFile

NEAR_DB = 45.0
"""On footage; swscale rounds to 8 bits between scaling and colours, the device does not."""


def device_like(frame: Any) -> Any:
    """Return a frame as hardware gives it: NV12, or P010 with more bits; not a level changed."""
    form = "p010le" if frame.format.components[0].bits > 8 else "nv12"
    made = frame.reformat(format=form, src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.JPEG)
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    return made


def planes_of(frame: Any) -> list[torch.Tensor]:
    return [torch.utils.dlpack.from_dlpack(plane.__dlpack__()) for plane in frame.planes]


def first_frames(path: Path, count: int) -> tuple[Track, list[Any]]:
    """Return the pictures of a file, as its decoder gives them."""
    with VideoFile(path) as source:
        track = next(t for t in source.probe().tracks if t.medium == "pictures")
        decoder = source.decoder(track)
        frames: list[Any] = []
        for packet in source.read([track], track.start_ns, track.stop_ns, lambda _: None):
            frames += [picture.frame for picture in decoder.decode(packet)]  # type: ignore[union-attr]
            if len(frames) >= count:
                break
    return track, frames[:count]


@pytest.mark.parametrize(
    "name",
    [
        *("bigbuckbunny.mp4", "bikes.mp4", "demo.mp4", "sample_av1.mp4", "frames.webm"),
        *("h265_10bits.mp4", "bt709_full_range.mp4", "sar_2x1.mp4"),
    ],
)
@pytest.mark.media
def test_real_frames_are_what_the_cpu_makes_of_them(media: Path, name: str) -> None:
    """Shrunk, grown, cut, of 8 and 10 bits, limited and full, with colours between or on the left pixels."""
    track, frames = first_frames(media / "video" / name, 3)
    for frame in frames:
        geometry = fit(frame.width, frame.height, 256, "crop", aspect=Fraction(track.sample_aspect))
        slow = Converter().rgb(frame, 256, 256, geometry.region)
        luma, chroma = planes_of(device_like(frame))
        left_sited = track.codec in LEFT_SITED
        fast = rgb_of_planes(luma, chroma, colour_of(frame), 256, 256, geometry.region, left_sited=left_sited)
        assert fast.shape == (256, 256, 3)
        assert psnr_db(fast.numpy(), slow) >= NEAR_DB


@pytest.mark.parametrize("wanted", [1, 3, 7, 16])
@pytest.mark.parametrize(("stored", "seen"), [(7, 7), (8, 7.5), (5, 3.0), (16, 16)])
@pytest.mark.parametrize("kind", ["area", "cubic"])
def test_weights_sum_to_one_and_keep_a_ramp(stored: int, seen: float, wanted: int, kind: str) -> None:
    """What is flat stays flat; in the middle of a ramp each pixel is the ramp's value at its middle."""
    rows = weights(stored, seen, wanted, kind)
    assert rows.shape == (wanted, stored)
    assert torch.allclose(rows.sum(dim=1), torch.ones(wanted))
    ramp = (rows @ (torch.arange(stored) + 0.5)).numpy()
    middles = (np.arange(wanted) + 0.5) * seen / wanted
    reach = 2 * max(1, seen / wanted)
    inside = (middles > reach) & (middles < stored - reach)
    assert np.allclose(ramp[inside], middles[inside], atol=0.06)  # swscale's cubic is no straight line


def test_an_area_average_is_the_mean_of_what_it_covers() -> None:
    """5 pixels to 2: one and a half pixels overlap in the third."""
    rows = weights(5, 5, 2, "area")
    assert torch.allclose(rows, torch.tensor([[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]]))


def test_colours_on_the_left_pixel_are_shifted_by_a_quarter() -> None:
    """A colour pixel stands for two of luma; its middle is then that of the left one."""
    rows = weights(4, 4, 4, "area", 0.25)
    assert torch.allclose(rows[0], torch.tensor([0.75, 0.25, 0, 0]))
    assert torch.allclose(rows[3], torch.tensor([0.0, 0, 0, 1]))


def test_sixteen_bits_are_filled_from_the_top() -> None:
    """P010 keeps ten bits in the upper ones: 940 of 1023 is white, in limited range."""
    luma = torch.full((4, 4), 940 << 6, dtype=torch.int32).to(torch.int16).view(torch.uint16)
    chroma = torch.full((2, 2, 2), 512 << 6, dtype=torch.int32).to(torch.int16).view(torch.uint16)
    rgb = rgb_of_planes(luma, chroma, Colour("bt709", False), 2, 2, Region(0, 0, 4, 4))
    assert rgb.tolist() == [[[255, 255, 255]] * 2] * 2


@pytest.mark.parametrize("how", FITS)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_arranging_is_that_of_arrays(how: Fit, rotation: int, mirrored: bool) -> None:
    """Turned, mirrored, padded: the same pixels at the same places."""
    geometry = fit(20, 12, 16, how, rotation=rotation, mirrored=mirrored)
    generator = np.random.default_rng(7)
    shape = (geometry.scaled_height, geometry.scaled_width, 3)
    scaled = generator.integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(arranged(torch.from_numpy(scaled), geometry).numpy(), arrange(scaled, geometry))


def device_pictures(path: Path) -> tuple[Track, list[DevicePicture]]:
    """Return a file's pictures as if a device had decoded them."""
    track, frames = first_frames(path, 100)
    time_base = Fraction(1, 24)
    pictures = [DevicePicture(int(k * time_base * 10**9), device_like(f), True) for k, f in enumerate(frames)]
    return track, pictures


@pytest.mark.parametrize("each", [False, True])
def test_clips_of_a_device_stay_there(card_mp4: Path, each: bool) -> None:
    """Samplers give tensors where pictures are tensors, and the frames are those of the CPU."""
    track, pictures = device_pictures(card_mp4)
    window, told = Window(0, 0, 500_000_000), list[Any]()
    sampler: PictureSampler | EachPictureSampler = (
        EachPictureSampler([window], Squares(track, 64, "pad", told.append))
        if each
        else PictureSampler(track, [window], Fraction(8), Squares(track, 64, "pad", told.append), told.append)
    )
    clips = [clip for picture in pictures for clip in sampler.push(picture)] + list(sampler.finish())
    ((_, clip),) = clips
    assert isinstance(clip.frames, torch.Tensor)
    assert clip.frames.dtype == torch.uint8
    assert not told
    with VideoFile(card_mp4) as source:
        sampling = Sampling(fps=Fraction(24 if each else 8), size=64, fit="pad")
        ((_, _, slow),) = read_clips(source, [Wish("video", track)], [window], sampling, told.append)
    assert isinstance(slow, PictureClip)
    assert clip.times_ns.tolist() == slow.times_ns.tolist()
    assert psnr_db(clip.frames.numpy(), slow.frames) > 40


def test_a_damaged_picture_of_a_device_is_lost(card_mp4: Path) -> None:
    """As on the CPU: what a decoder fills in by guessing is no picture."""

    class Damaged:
        width, height, is_corrupt = 4, 4, True

    with pytest.raises(CannotDecode, match="damaged or missing"):
        DevicePicture(0, Damaged(), False).rgb(2, 2)


def test_planes_that_cannot_be_handed_over_are_an_error_of_ours() -> None:
    """PyAV hands over 4:2:0 of 8, 10 and 16 bits only."""

    class Plane:
        def __dlpack__(self) -> None:
            raise NotImplementedError("unsupported sw_format for DLPack export")

    class Frame:
        width, height, is_corrupt, planes = 4, 4, False, (Plane(), Plane())

    with pytest.raises(CannotDecode, match=r"can't be handed over \(unsupported sw_format"):
        DevicePicture(0, Frame(), False).rgb(2, 2)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg2video"])
def test_a_context_of_its_own_decodes_the_same_stream(tmp_path: Path, codec: str) -> None:
    """What hardware would get: made from the stream's own, it gives the same frames at the same stamps."""
    path = write_video(tmp_path / "cards.mkv", Pictures(frames=24, codec=codec, fps=Fraction(25)))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        made = context_like(stream.codec_context, None)
        packets = [packet for packet in container.demux(stream) if packet.size]
        plain = [(f.pts, digest(f)) for p in [*packets, None] for f in stream.codec_context.decode(p)]
        own = [(f.pts, digest(f)) for p in [*packets, None] for f in made.decode(p)]
    assert len(own) == 24
    assert own == plain


def test_av1_is_decoded_by_ffmpegs_own_decoder(media: Path) -> None:
    """libdav1d, which decodes it on the CPU, knows no hardware."""
    with av.open(str(media / "video" / "sample_av1.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.name == "libdav1d"
        assert context_like(context, None).name == "av1"


def test_without_a_gpu_there_is_a_reason(card_mp4: Path) -> None:
    """Never a fallback without a word, neither to software nor to another device."""
    if not why_no_gpu():
        pytest.skip("there is a GPU")
    with (
        av.open(str(card_mp4)) as container,
        pytest.raises(CannotOpen, match="the GPU does not decode h264"),
    ):
        hardware_context(container.streams.video[0].codec_context)


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        (Pictures(), ""),
        (Pictures(pixel_format="yuv420p10le"), ""),
        (Pictures(pixel_format="yuv444p"), "it does not give yuv444p"),
        (
            Pictures(codec="ffv1", width=321, height=193),
            r"the last pixels of odd sizes \(321 x 193\)",
        ),
    ],
)
def test_what_a_gpu_must_refuse(tmp_path: Path, pictures: Pictures, reason: str) -> None:
    """Formats that can't be handed over, and sizes of which PyAV's planes leave out a line."""
    path = write_video(tmp_path / "cards.mkv", Pictures(**{**vars(pictures), "frames": 2}))
    with VideoFile(path) as source:
        said = why_not_on_gpu(source.probe().track("video"))
    assert bool(said) == bool(reason)
    assert re.search(reason, said)


def test_high_dynamic_range_stays_on_the_cpu(media: Path) -> None:
    """Its tone mapping is not written for devices."""
    with VideoFile(media / "video" / "hlg10-color-test.mp4") as source:
        track = source.probe().track("video")
    assert why_not_on_gpu(track) == "hlg is tone-mapped on the CPU only"


def test_the_gpus_decoder_is_tried_like_the_others(card_mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a device that decodes on the CPU: exact. With one that gives other pictures: refused."""

    def fake_decoder(shift: int) -> Callable[..., Any]:
        class Fake(nvdec_pictures.NvdecDecoder):
            def _picture(self, frame: Any) -> Any:
                time_ns = PictureDecoder._picture(self, frame).time_ns
                return DevicePicture(time_ns + shift, device_like(frame), True)

        return Fake

    monkeypatch.setattr(nvdec_pictures, "hardware_context", lambda context: context_like(context, None))
    with VideoFile(card_mp4) as source:
        track = source.probe().track("video")
    with monkeypatch.context() as patch:
        patch.setattr(nvdec_pictures, "NvdecDecoder", fake_decoder(0))
        assert why_not_exact(card_mp4, track, "nvdec", 1) == ""
        patch.setattr(nvdec_pictures, "NvdecDecoder", fake_decoder(1))
        assert why_not_exact(card_mp4, track, "nvdec", 1) == "it gives no picture for 0.000 s"


@pytest.mark.gpu
def test_a_gpu_decodes_and_keeps_the_frames(card_mp4: Path) -> None:
    """Tensors on the device, near to the reference, nothing copied through the host."""
    missing = why_missing("nvdec")
    if missing:
        (pytest.fail if os.environ.get("FIFTH_GPU") else pytest.skip)(missing)
    with VideoFile(card_mp4) as source:
        track = decoded_by(source.probe().track("video"), "nvdec")
        sampling, told = Sampling(fps=Fraction(8), size=64), list[Any]()
        window = Window(0, 0, 2_000_000_000)
        ((_, _, clip),) = read_clips(source, [Wish("video", track)], [window], sampling, told.append)
    assert isinstance(clip, PictureClip)
    assert clip.frames.device.type == "cuda"
    assert clip.valid == 16
    assert not told
    assert why_not_exact(card_mp4, track, "nvdec", 1) == ""


def test_a_packet_reaches_the_decoder_as_it_is(card_mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder of a track that a GPU reads is the GPU's; its packets are the reference's."""
    monkeypatch.setattr(nvdec_pictures, "hardware_context", lambda context: context_like(context, None))
    with VideoFile(card_mp4) as source:
        track = decoded_by(source.probe().track("video"), "nvdec")
        decoder = source.decoder(track)
        assert isinstance(decoder, nvdec_pictures.NvdecDecoder)
        packets: list[Packet] = list(source.read([track], 0, 100_000_000, lambda _: None))
        pictures = [p for packet in packets for p in decoder.decode(packet)] + list(decoder.flush())
    assert all(isinstance(picture, DevicePicture) for picture in pictures)
    assert [picture.time_ns for picture in pictures][:3] == [0, 41_666_666, 83_333_333]
