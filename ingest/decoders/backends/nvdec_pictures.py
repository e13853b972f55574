"""Pictures decoded by NVIDIA's hardware decoder (NVDEC), scaled and converted where they lie.

PyAV's own FFmpeg drives it, so demuxing, stamps, edit lists and what reaches the decoder are the
reference's: only the decoding moves to the GPU. Decoded planes become torch tensors through DLPack, without
a copy through the host; resizing and colours are done there (see `device_conversion`).

Needed: an NVIDIA GPU, the driver's `libnvcuvid` (in a container: the driver capability `video`), and a
CUDA build of torch. Written against PyAV 18 and FFmpeg 8; it has not been run on a GPU yet.
"""

from __future__ import annotations

import ctypes
from fractions import Fraction
from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel, hwdevices_available

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.av_pictures import PictureDecoder
from ingest.decoders.colour import colour_of
from ingest.errors import CannotDecode, CannotOpen
from ingest.geometry import Region
from ingest.recording import Track

DRIVER_LIBRARY = "libnvcuvid.so.1"
LEFT_SITED = {"h264", "hevc", "mpeg2video", "mpeg4", "vp9"}
"""Codecs whose colours FFmpeg takes to lie on the left one of two pixels; PyAV does not say it by frame."""
FORMATS = {"yuv420p", "yuvj420p", "yuv420p10le"}
"""What NVDEC gives as planes that can be handed over: 4:2:0 of 8 and 10 bits."""


def why_no_gpu() -> str:
    """Say what is missing on this machine; "" if nothing is."""
    import torch

    if "cuda" not in hwdevices_available():
        return "this build of PyAV has no CUDA decoding"
    if torch.version.cuda is None:
        return "this build of torch has no CUDA"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return f"the driver's {DRIVER_LIBRARY} is missing (in a container: the driver capability 'video')"
    return ""


def why_not_on_gpu(track: Track) -> str:
    """Say why a track can't be decoded here as the reference does; "" if nothing speaks against it."""
    if track.pixel_format not in FORMATS:
        return f"it does not give {track.pixel_format}"
    if track.details["colour"]["transfer"] != "sdr":
        return f"{track.details['colour']['transfer']} is tone-mapped on the CPU only"
    if track.width % 2 or track.height % 2:
        return f"its planes leave out the last pixels of odd sizes ({track.width} x {track.height})"
    if track.details["interlaced"]:
        return "interlaced pictures are weaved on the CPU only"
    return ""


class NvdecDecoder(PictureDecoder):
    """Decodes one video stream on the GPU.

    Args:
        track: the track being decoded.
        context: the stream's codec context, which says how the stream is coded.
        time_base: the unit of the packets' stamps.

    Raises:
        CannotOpen: this GPU does not decode the codec.
    """

    def __init__(self, track: Track, context: Any, time_base: Fraction) -> None:
        super().__init__(track, hardware_context(context), time_base)

    def _picture(self, frame: Any) -> Any:
        return DevicePicture(super()._picture(frame).time_ns, frame, self._track.codec in LEFT_SITED)


def hardware_context(context: Any) -> Any:
    """Return a codec context that decodes the same stream on the GPU and leaves the frames there.

    Raises:
        CannotOpen: this GPU does not decode the codec.
    """
    accelerator = HWAccel("cuda", allow_software_fallback=False, is_hw_owned=True)
    try:
        made = context_like(context, accelerator)
    except DECODING_ERRORS as error:
        name = context.codec.canonical_name
        raise CannotOpen(f"the GPU does not decode {name} ({words_of(error)})") from error
    if not made.is_hwaccel:
        raise CannotOpen(f"FFmpeg has no hardware decoder for {context.codec.canonical_name}")
    return made


def context_like(context: Any, accelerator: HWAccel | None) -> Any:
    """Return a new context for the same stream, by FFmpeg's own decoder of its codec: others (`libdav1d`)
    know no hardware.
    """
    made = av.CodecContext.create(context.codec.canonical_name, "r", hwaccel=accelerator)
    made.extradata = context.extradata
    return made


class DevicePicture:
    """A frame in the GPU's memory; see `ingest.recording.Picture`. Its RGB is a tensor there."""

    def __init__(self, time_ns: int, frame: Any, left_sited: bool) -> None:
        self.time_ns = time_ns
        self.stop_ns = 0
        self.width: int = frame.width
        self.height: int = frame.height
        self.frame = frame
        self._left_sited = left_sited

    def rgb(self, width: int, height: int, region: Region | None = None) -> Any:
        """Return a torch tensor, uint8 [height, width, 3], on the device of the frame.

        Raises:
            CannotDecode: parts of the picture are missing, or its format can't be handed over.
        """
        from torch.utils.dlpack import from_dlpack

        from ingest.decoders.backends.device_conversion import rgb_of_planes

        if self.frame.is_corrupt:
            raise CannotDecode("parts of this picture are damaged or missing")
        try:
            # as capsules: given the planes, torch would ask for its stream, which PyAV can't wait for. Both
            # work on the default stream of one context, so that nothing is read before it is written.
            luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in self.frame.planes)
        except (NotImplementedError, ValueError, BufferError) as error:
            raise CannotDecode(f"the GPU's picture can't be handed over ({error})") from error
        seen = region or Region(0, 0, self.width, self.height)
        colour, left_sited = colour_of(self.frame), self._left_sited
        return rgb_of_planes(luma, chroma, colour, width, height, seen, left_sited=left_sited)


__all__ = ["DevicePicture", "NvdecDecoder", "hardware_context", "why_no_gpu", "why_not_on_gpu"]
