"""`h264`: pictures as closed groups of H.264, one a chunk."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.codec_library import check_library, codecs, installed_library
from encoders.encoder import check_launch
from encoders.errors import WrongInput, WrongSetting
from encoders.picture_size import PictureSize, picture_size
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

LAUNCH_CHUNKS = 1
"""A codec gains nothing from company."""
MOST_FRAMES = 256
QUALITIES = (0, 51)
START_CODE = b"\x00\x00\x01"


class H264:
    """The bytes of an H.264 stream (Annex B) per chunk of `frames` frames, as x264 writes them.

    A group begins with its parameter sets and a key frame, refers to nothing outside itself, and is one step;
    a clip's groups one after the other are a stream that every player shows. `crf` is x264's constant
    quality: 0 (lossless but for the colour conversion) to 51, 6 more being about half the bytes.
    4:2:0, BT.709, limited range. x264 uses one thread, and its bytes do not depend on the processor; those of
    another version (`library`) may differ. The work is done on the CPU whatever the device.
    Variable length: the vocabulary is the 256 bytes.
    """

    def __init__(
        self,
        device: torch.device,
        size: PictureSize = 256,
        crf: int = 23,
        frames: int = 8,
        preset: str = "medium",
        library: str = "",
    ) -> None:
        if not QUALITIES[0] <= crf <= QUALITIES[1] or crf != int(crf):
            raise WrongSetting(f"h264 takes a crf from {QUALITIES[0]} to {QUALITIES[1]}, got {crf!r}")
        if frames not in range(1, MOST_FRAMES + 1):
            raise WrongSetting(f"h264 makes groups of 1 to {MOST_FRAMES} frames, got frames={frames!r}")
        if preset not in PRESETS:
            raise WrongSetting(f"h264 preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        self.device = device
        height, width = picture_size("h264", size, 2)
        self._library = library or installed_library("h264")
        # mbtree=0: x264's macroblock tree reads memory that it never wrote where a group ends, and so gives
        # other bytes now and then (seen: one group of 600 with libavcodec 62.28)
        self._options = {
            "crf": str(int(crf)),
            "preset": preset,
            "x264-params": f"keyint={frames}:min-keyint={frames}:scenecut=0:open-gop=0:repeat-headers=1:"
            "annexb=1:mbtree=0:threads=1:lookahead-threads=1:sliced-threads=0:stitchable=1:"
            "colorprim=bt709:transfer=bt709:colormatrix=bt709",
        }
        self.spec = TokenSpec(
            encoder="h264",
            revision=1,
            kind="bytes",
            dtype="uint8",
            axes="N",
            shape=(),
            strides=(0,),
            steps_per_chunk=1,
            codebook_sizes=(256,),
            exact_across_devices=True,
            settings={
                "size": [height, width],
                "crf": int(crf),
                "frames": frames,
                "preset": preset,
                "library": self._library,
            },
            input=InputSpec(
                "pictures", "uint8", (0, 255), "BTCHW", 3, LAUNCH_CHUNKS, chunk=frames, size=(height, width)
            ),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> H264:
        """Return itself: nothing is fitted."""
        return self

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, frames, 3, H, W] into the bytes of B groups."""
        check_launch(self, batch)
        check_library("h264", self._library)
        chunks = batch.permute(0, 1, 3, 4, 2).cpu().numpy()
        groups = [self._group(chunk) for chunk in chunks]
        offsets = np.cumsum([0, *(len(group) for group in groups)], dtype=np.int64)
        data = np.frombuffer(b"".join(groups), np.uint8).copy()
        return TokenArray(torch.from_numpy(data), torch.from_numpy(offsets))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn B groups into frames [B, frames, 3, H, W]."""
        if tokens.offsets is None or tokens.data.ndim != 1 or tokens.data.dtype != torch.uint8:
            raise WrongInput("h264 reconstructs uint8 [N] bytes with offsets [steps + 1]")
        data, edges = tokens.data.cpu().numpy().tobytes(), tokens.offsets.tolist()
        frames, (height, width) = self.spec.input.chunk, self.spec.input.launch_shape[-2:]
        out = np.empty((len(edges) - 1, frames, height, width, 3), np.uint8)
        for step, chunk in enumerate(out):
            made = self._frames(data[edges[step] : edges[step + 1]], step)
            if len(made) != frames or made[0].shape != chunk.shape[1:]:
                found = f"{len(made)} frames" + (f" of {made[0].shape[:2]}" if made else "")
                raise WrongInput(f"step {step} is {found}, expected {frames} of {(height, width)}")
            chunk[:] = np.stack(made)
        return torch.from_numpy(out).permute(0, 1, 4, 2, 3).contiguous().to(self.device)

    def _group(self, frames: np.ndarray) -> bytes:
        av = codecs("h264")
        context = av.CodecContext.create("libx264", "w")
        context.height, context.width = frames.shape[1:3]
        context.pix_fmt, context.framerate, context.time_base = "yuv420p", Fraction(8), Fraction(1, 8)
        context.thread_count = 1
        context.options = self._options
        packets = []
        for index, frame in enumerate(frames):
            picture = _reformatted(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24"), "yuv420p"
            )
            picture.pts, picture.time_base = index, context.time_base
            packets += [bytes(packet) for packet in context.encode(picture)]
        packets += [bytes(packet) for packet in context.encode(None)]
        return b"".join(packets)

    def _frames(self, group: bytes, step: int) -> list[np.ndarray]:
        av = codecs("h264")
        if START_CODE not in group[:4]:
            raise WrongInput(f"step {step} is no H.264 stream: it does not begin with a start code")
        context = av.CodecContext.create("h264", "r")
        context.thread_count = 1
        try:
            packets = [*context.parse(group), *context.parse(None)]
            pictures = [picture for packet in [*packets, None] for picture in context.decode(packet)]
        except av.FFmpegError as error:
            raise WrongInput(f"step {step} is no H.264 stream: {error}") from error
        return [_reformatted(picture, "rgb24").to_ndarray() for picture in pictures]


PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip


def _reformatted(frame: Any, to: str) -> Any:
    """Convert between RGB and YUV, the same on every processor."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    exact = Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
    colours = {
        "yuv420p": (Colorspace.DEFAULT, Colorspace.ITU709, ColorRange.JPEG, ColorRange.MPEG),
        "rgb24": (Colorspace.ITU709, Colorspace.DEFAULT, ColorRange.MPEG, ColorRange.JPEG),
    }
    source, target, source_range, target_range = colours[to]
    return frame.reformat(
        format=to,
        src_colorspace=source,
        dst_colorspace=target,
        src_color_range=source_range,
        dst_color_range=target_range,
        interpolation=Interpolation.BICUBIC | exact | Interpolation.FULL_CHR_H_INP,
    )
