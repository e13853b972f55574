"""Other libraries that decode video, each behind the same small contract.

PyAV is the default and the reference. The others are for people who know them, or who have a GPU; none is
trusted: what a library can't give exactly it refuses, in words, and then PyAV decodes that track.

    av            packets to frames, one thread; knows every container and codec
    decord        frames by number, in RGB; its own old FFmpeg
    opencv        frames one after the other, in BGR
    torchcodec    frames by number, with their stamps, in RGB; the FFmpeg that is installed
    nvdec         packets to frames on a GPU, through PyAV; converted there
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.decoders.backends.frame_reader import FrameReader

DECODERS = ("av", "decord", "opencv", "torchcodec", "nvdec")
"""The names, the reference first."""
BY_PLACE = ("decord", "opencv", "torchcodec")
"""Those that give frames by their place in the file, converted to RGB; see `frame_reader`."""
_PACKAGES = {
    "av": ("av",),
    "decord": ("decord",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "torchcodec": ("torchcodec",),
    "nvdec": ("av",),
}
"""The distributions that hold each one; any of them will do."""
_MODULES = {"opencv": "cv2", "nvdec": "av"}
_INSTALL = {
    "decord": "pip install decord",
    "opencv": "pip install opencv-python-headless",
    "torchcodec": "pip install 'fifth[torchcodec]'",
}


def version_of(name: str) -> str:
    """Return the version of a backend's library; "" where it is not installed."""
    from importlib import metadata

    for package in _PACKAGES[name]:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ""


def versions_behind(name: str) -> dict[str, str]:
    """Return the versions that a backend's frames depend on, beside those of every dataset: by name."""
    if name not in ("decord", "torchcodec"):
        return {}
    found = {name: version_of(name)}
    if name == "torchcodec":  # it takes the machine's FFmpeg, and says which only in its core
        core = import_module("torchcodec._core")
        found["ffmpeg"] = str(core.get_ffmpeg_library_versions()["ffmpeg_version"])
    return found


def why_missing(name: str) -> str:
    """Say why a backend can't be used on this machine, and what would help; "" if it can.

    The library itself is loaded: some can be installed and still not be loaded.
    """
    from importlib.util import find_spec

    module = _MODULES.get(name, name)
    if find_spec(module) is None:
        return f"it is not installed ({_INSTALL[name]})"
    if name == "nvdec":
        from ingest.decoders.backends.nvdec_pictures import why_no_gpu

        return why_no_gpu()
    try:
        import_module(module)
    except Exception as error:  # a library that can't be loaded may raise anything
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return f"it is installed but can't be loaded ({type(error).__name__}: {line[:200]})"
    return ""


def reader_class(name: str) -> type[FrameReader]:
    """Return what opens files with one of the backends that give frames by their place."""
    found: type[FrameReader] = import_module(f"ingest.decoders.backends.{name}_frames").READER
    return found
