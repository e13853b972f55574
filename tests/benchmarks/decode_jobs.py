"""One decoding job by one library, in a process of its own: prints one line of JSON.

    python decode_jobs.py LIBRARY JOB FILE THREADS

`wall_s` and `cpu_s` are of the job alone, after the imports; `frames` is what it gave, `check` a digest of
some of it, so that a job that does less than the others shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE, RATE = 256, 16_000
RANDOM_CLIPS, RANDOM_FRAMES = 16, 16
Result = tuple[int, float]
"""Frames (or samples) given, and the mean of the pixels or samples."""


def starts(frames: int) -> list[int]:
    """Return where the random clips begin, by frame number."""
    random = np.random.default_rng(5)
    return [int(n) for n in random.integers(0, frames - RANDOM_FRAMES, RANDOM_CLIPS)]


def grid(path: Path, fps: int) -> tuple[list[int], int]:
    """Return the numbers of the frames on the grid, and how many frames there are (30 a second)."""
    import av

    with av.open(str(path)) as container:
        frames = sum(1 for packet in container.demux(video=0) if packet.size)
    return [n * 30 // fps for n in range(-(-frames * fps // 30))], frames


# ours


def planned(path: Path, source: Any) -> Any:
    """Return what planning found, as a worker gets it: read once, kept beside the file."""
    from ingest.recording import Recording

    kept = path.with_suffix(".recording.json")
    if not kept.exists():
        kept.write_text(json.dumps(source.probe().to_json()))
    return Recording.from_json(json.loads(kept.read_text()))


def ours_sampled(
    path: Path, fps: int, more: dict[str, Any], media: tuple[str, ...] = ("pictures",), plan: bool = False
) -> Result:
    from ingest import open_recording
    from ingest.clips import Sampling, Wish, read_clips, windows_of

    with open_recording(path) as source:
        recording = planned(path, source) if plan else source.probe()
        wishes = [Wish(track.name, track) for track in recording.tracks if track.medium in media]
        windows = windows_of(recording, 4 * 10**9, 0, -(-recording.stop_ns // (4 * 10**9)))
        sampling = Sampling(fps=Fraction(fps), size=SIZE, sample_rate=RATE, **more)
        means, frames = [], 0
        for _, name, clip in read_clips(source, wishes, windows, sampling, print):
            frames += clip.valid if name == wishes[0].name else 0
            values = getattr(clip, "frames", None)
            values = clip.samples if values is None else values[:, ::32, ::32]  # type: ignore[union-attr]
            means.append(float(np.mean(values)) if values.size else 0.0)
    return frames, float(np.mean(means))


def ours_everything(path: Path) -> Result:
    from ingest import open_recording

    with open_recording(path) as source:
        recording = source.probe()
        track = next(track for track in recording.tracks if track.medium == "pictures")
        decoder = source.decoder(track)
        frames, total = 0, 0.0

        def take(pictures: Any) -> None:
            nonlocal frames, total
            for picture in pictures:
                frames, total = frames + 1, total + take_mean(picture.rgb(picture.width, picture.height))

        for packet in source.read([track], recording.origin_ns, recording.stop_ns, print):
            take(decoder.decode(packet))
        take(decoder.flush())
    return frames, total / frames


def ours_random(path: Path) -> Result:
    from ingest import open_recording
    from ingest.geometry import fit
    from ingest.recording import Picture

    with open_recording(path) as source:
        recording = source.probe()
        track = next(track for track in recording.tracks if track.medium == "pictures")
        first = [start * 10**9 // 30 for start in starts(track.item_count)]
        wanted = sorted({at + -(-k * 10**9 // 30) for at in first for k in range(RANDOM_FRAMES)})
        moments = np.array(wanted, np.int64) + recording.origin_ns + 1
        decoder = source.decoder(track)
        geometry = fit(track.width, track.height, SIZE, "crop")
        size = geometry.scaled_width, geometry.scaled_height
        kept: dict[int, np.ndarray] = {}

        def take(pictures: Any) -> None:
            for picture in pictures:
                keep(picture)

        def keep(picture: Picture) -> None:
            at = int(np.searchsorted(moments, picture.time_ns))
            if at < len(moments) and moments[at] < picture.time_ns + track.period_ns:
                kept[picture.time_ns] = picture.rgb(*size, geometry.region)

        for packet in source.read(
            [track], recording.origin_ns, recording.stop_ns, print, {track.name: moments}
        ):
            take(decoder.decode(packet))
        take(decoder.flush())
        times = np.array(sorted(kept))
        clips = []
        for at in first:
            places = [
                int(np.searchsorted(times, at + k * 10**9 // 30 + 2, "right")) - 1
                for k in range(RANDOM_FRAMES)
            ]
            clips.append(np.stack([kept[int(times[max(0, place)])] for place in places]))
    return sum(len(clip) for clip in clips), float(np.mean([take_mean(c[0]) for c in clips]))


def take_mean(rgb: np.ndarray) -> float:
    return float(rgb[::16, ::16].mean())


# PyAV as people write it


def pyav_floor(path: Path, threads: int) -> Result:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = threads, "FRAME"
        return sum(1 for _ in container.decode(stream)), 0.0


def pyav_sampled(path: Path, fps: int, threads: int) -> Result:
    import av
    import cv2

    total, frames, due = 0.0, 0, Fraction(0)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = threads, "FRAME"
        for frame in container.decode(stream):
            if frame.time is not None and frame.time + 1e-6 >= due:
                small = cv2.resize(
                    square(frame.to_ndarray(format="rgb24")), (SIZE, SIZE), interpolation=cv2.INTER_AREA
                )
                total, frames, due = total + take_mean(small), frames + 1, due + Fraction(1, fps)
    return frames, total / frames


def square(rgb: np.ndarray) -> np.ndarray:
    left = (rgb.shape[1] - rgb.shape[0]) // 2
    return rgb[:, left : left + rgb.shape[0]]


def pyav_everything(path: Path, threads: int) -> Result:
    import av

    total = frames = 0.0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = threads, "FRAME"
        for frame in container.decode(stream):
            total, frames = total + take_mean(frame.to_ndarray(format="rgb24")), frames + 1
    return int(frames), total / frames


def pyav_random(path: Path, threads: int) -> Result:
    import av
    import cv2

    _, count = grid(path, 8)
    total, frames = 0.0, 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = threads, "FRAME"
        for start in starts(count):
            container.seek(int(start / 30 / float(stream.time_base or 1)), stream=stream)
            got = 0
            for frame in container.decode(stream):
                if frame.time is not None and frame.time >= start / 30 - 1e-6:
                    small = cv2.resize(
                        square(frame.to_ndarray(format="rgb24")), (SIZE, SIZE), interpolation=cv2.INTER_AREA
                    )
                    total, frames, got = total + take_mean(small), frames + 1, got + 1
                    if got == RANDOM_FRAMES:
                        break
    return frames, total / frames


def pyav_sound(path: Path) -> Result:
    import av

    parts = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            parts += [out.to_ndarray() for out in resampler.resample(frame)]
        parts += [out.to_ndarray() for out in resampler.resample(None)]
    samples = np.concatenate(parts, axis=1)
    return samples.size, float(samples.mean())


# decord, OpenCV, torchcodec, the command line


def decord_frames(path: Path, threads: int, wanted: list[int] | None, small: bool) -> Result:
    import decord

    more = {"width": SIZE, "height": SIZE} if small else {}
    reader = decord.VideoReader(str(path), num_threads=threads, **more)
    numbers = list(range(len(reader))) if wanted is None else wanted
    total, frames = 0.0, 0
    for at in range(0, len(numbers), 16):
        batch = reader.get_batch(numbers[at : at + 16]).asnumpy()
        total, frames = total + take_mean(batch[0]), frames + len(batch)
    return frames, total


def opencv_sampled(path: Path, fps: int, threads: int) -> Result:
    import cv2

    numbers = set(grid(path, fps)[0])
    capture = opencv(path, threads)
    total, frames, number = 0.0, 0, 0
    while capture.grab():
        if number in numbers:
            small = cv2.resize(square(capture.retrieve()[1]), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            total, frames = total + take_mean(small[..., ::-1]), frames + 1
        number += 1
    return frames, total / frames


def opencv(path: Path, threads: int) -> Any:
    import cv2

    cv2.setNumThreads(threads)
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])


def opencv_everything(path: Path, threads: int) -> Result:
    capture = opencv(path, threads)
    total, frames = 0.0, 0
    while (read := capture.read())[0]:
        total, frames = total + take_mean(read[1]), frames + 1
    return frames, total / frames


def torchcodec_frames(path: Path, threads: int, wanted: list[int] | None, small: bool) -> Result:
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    torch.set_num_threads(threads)
    more = {"transforms": [Resize((SIZE, SIZE))]} if small else {}
    decoder = VideoDecoder(
        str(path), num_ffmpeg_threads=threads, seek_mode="approximate", dimension_order="NHWC", **more
    )
    numbers = list(range(len(decoder))) if wanted is None else wanted
    total, frames = 0.0, 0
    if small:
        data = decoder.get_frames_at(numbers).data.numpy()
        return len(data), take_mean(data[0])
    for at in range(0, len(numbers), 16):
        data = decoder.get_frames_in_range(at, min(at + 16, len(numbers))).data.numpy()
        total, frames = total + take_mean(data[0]), frames + len(data)
    return frames, total


def torchcodec_sound(path: Path) -> Result:
    from torchcodec.decoders import AudioDecoder

    samples = AudioDecoder(str(path), sample_rate=RATE, num_channels=1).get_all_samples().data.numpy()
    return samples.size, float(samples.mean())


def command_line(words: list[str], frame_bytes: int) -> Result:
    process = subprocess.Popen(["ffmpeg", "-v", "error", "-nostdin", *words, "-"], stdout=subprocess.PIPE)
    assert process.stdout
    frames, total = 0, 0.0
    while data := process.stdout.read(frame_bytes):
        frames, total = frames + 1, total + float(np.frombuffer(data, np.uint8)[::769].mean())
    if process.wait():
        raise RuntimeError(f"ffmpeg ended with {process.returncode}")
    return frames, total / max(1, frames)


def ffmpeg_sampled(path: Path, fps: int, threads: int) -> Result:
    filters = f"fps={fps},crop=ih:ih,scale={SIZE}:{SIZE}:flags=area"
    words = ["-threads", str(threads), "-i", str(path), "-an", "-vf", filters]
    return command_line([*words, "-pix_fmt", "rgb24", "-f", "rawvideo"], SIZE * SIZE * 3)


def ffmpeg_everything(path: Path, threads: int) -> Result:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame_bytes = stream.width * stream.height * 3
    words = ["-threads", str(threads), "-i", str(path), "-an", "-pix_fmt", "rgb24", "-f", "rawvideo"]
    return command_line(words, frame_bytes)


def ffmpeg_sound(path: Path) -> Result:
    return command_line(["-i", str(path), "-vn", "-ac", "1", "-ar", str(RATE), "-f", "f32le"], 1 << 16)


def random_numbers(path: Path) -> list[int]:
    _, frames = grid(path, 8)
    return [start + k for start in starts(frames) for k in range(RANDOM_FRAMES)]


JOBS: dict[tuple[str, str], Callable[[Path, int], Result]] = {
    ("floor", "8 fps"): pyav_floor,
    ("fifth", "8 fps"): lambda path, _: ours_sampled(path, 8, {}),
    ("pyav", "8 fps"): lambda path, threads: pyav_sampled(path, 8, threads),
    ("ffmpeg", "8 fps"): lambda path, threads: ffmpeg_sampled(path, 8, threads),
    ("decord", "8 fps"): lambda path, threads: decord_frames(path, threads, grid(path, 8)[0], True),
    ("opencv", "8 fps"): lambda path, threads: opencv_sampled(path, 8, threads),
    ("torchcodec", "8 fps"): lambda path, threads: torchcodec_frames(path, threads, grid(path, 8)[0], True),
    ("floor", "low rates"): pyav_floor,
    ("fifth, 2 fps", "low rates"): lambda path, _: ours_sampled(path, 2, {}),
    ("fifth, 1 fps", "low rates"): lambda path, _: ours_sampled(path, 1, {}),
    ("fifth, keyframes", "low rates"): lambda path, _: ours_sampled(path, 8, {"pictures": "keyframes"}),
    ("floor", "everything"): pyav_floor,
    ("fifth", "everything"): lambda path, _: ours_everything(path),
    ("pyav", "everything"): pyav_everything,
    ("ffmpeg", "everything"): ffmpeg_everything,
    ("decord", "everything"): lambda path, threads: decord_frames(path, threads, None, False),
    ("opencv", "everything"): opencv_everything,
    ("torchcodec", "everything"): lambda path, threads: torchcodec_frames(path, threads, None, False),
    ("fifth", "random"): lambda path, _: ours_random(path),
    ("pyav", "random"): pyav_random,
    ("decord", "random"): lambda path, threads: decord_frames(path, threads, random_numbers(path), True),
    ("torchcodec", "random"): lambda path, threads: torchcodec_frames(
        path, threads, random_numbers(path), True
    ),
    ("torchcodec", "sound"): lambda path, _: torchcodec_sound(path),
    ("fifth, planned", "sound"): lambda path, _: ours_sampled(path, 8, {}, ("sound",), True),
    ("fifth, and planning", "sound"): lambda path, _: ours_sampled(path, 8, {}, ("sound",)),
    ("pyav", "sound"): lambda path, _: pyav_sound(path),
    ("ffmpeg", "sound"): lambda path, _: ffmpeg_sound(path),
}
"""By library and job. The first of each job is what the others are compared with."""
OURS = ("ingest.clips", "ingest.sources.video_file", "ingest.sampling.pictures", "ingest.decoders.av_sound")
IMPORTS = {
    "fifth": (*OURS, "cv2"),
    "pyav": ("av", "cv2"),
    "floor": ("av",),
    "decord": ("decord", "av"),
    "opencv": ("cv2", "av"),
    "torchcodec": ("torch", "torchcodec.decoders", "av"),
    "ffmpeg": ("av",),
}  # fmt: skip


def main() -> None:
    library, job, path, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    for name in IMPORTS[library.partition(",")[0]]:
        __import__(name)
    run = JOBS[library, job]
    before = time.perf_counter(), cpu_seconds()
    frames, check = run(path, threads)
    after = time.perf_counter(), cpu_seconds()
    result = {
        "frames": frames,
        "check": round(check, 3),
        "wall_s": after[0] - before[0],
        "cpu_s": after[1] - before[1],
    }
    print(json.dumps(result))


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has waited for."""
    import os

    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
