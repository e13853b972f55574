"""What the example recordings show: bouncing balls that play, a sea at sunset, a robot arm with two joints.

Everything follows from the time, so that picture, sound and sensor values of a recording belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 48_000
PENTATONIC_HZ = (220.0, 261.63, 293.66, 329.63, 392.0, 440.0, 523.25, 587.33)
BALL_COLOURS = (
    (239, 71, 111), (247, 140, 107), (255, 209, 102), (131, 212, 131),
    (6, 214, 160), (12, 176, 169), (17, 138, 178), (124, 92, 196),
)  # fmt: skip

Point = tuple[float, float]
"""x to the right and y down, in pixels."""


def paint_bar(
    picture: np.ndarray, start: Point, stop: Point, radius: float, colour: tuple[int, int, int]
) -> None:
    """Paint a bar with round ends (a ball where start is stop) into float32 [H, W, 3], smooth at its edge."""
    height, width = picture.shape[:2]
    (x0, y0), (x1, y1) = start, stop
    left, right = max(0, int(min(x0, x1) - radius - 1)), min(width, int(max(x0, x1) + radius + 2))
    top, bottom = max(0, int(min(y0, y1) - radius - 1)), min(height, int(max(y0, y1) + radius + 2))
    if left >= right or top >= bottom:
        return
    x, y = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1) if length else 0.0
    distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    round_look = (1.08 - 0.35 * np.clip(distance / radius, 0, 1) ** 2)[..., None]
    part = picture[top:bottom, left:right]
    part += cover * (np.asarray(colour, np.float32) * round_look - part)


def gradient(width: int, height: int, top: tuple[int, int, int], bottom: tuple[int, int, int]) -> np.ndarray:
    """Return float32 [H, W, 3] that goes from one colour to another, downwards."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return np.repeat(column, width, axis=1)


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Return a float picture as uint8 [H, W, 3]."""
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class BouncingBalls:
    """Eight balls; ball i touches the floor 4 + i times in the whole scene, and plays its note."""

    seconds: float = 6
    width: int = 640
    height: int = 360

    def period(self, ball: int) -> float:
        """Return the seconds between two notes of a ball."""
        return self.seconds / (4 + ball)

    def picture(self, time: float) -> np.ndarray:
        """Draw the scene at a time in seconds: uint8 [H, W, 3]."""
        picture = gradient(self.width, self.height, (24, 26, 48), (72, 52, 96))
        floor, radius, lane = self.height * 0.86, self.width / 30, self.width / len(BALL_COLOURS)
        for ball, colour in enumerate(BALL_COLOURS):
            phase = time / self.period(ball) % 1
            x = (ball + 0.5) * lane
            y = floor - radius - 4 * phase * (1 - phase) * self.height * 0.62
            glow = float(np.exp(-6 * phase))
            dim, lit = np.array((58, 54, 88)), np.array(colour)
            key = tuple(int(value) for value in dim + glow * (lit - dim))
            paint_bar(picture, (x - lane * 0.3, floor + 14), (x + lane * 0.3, floor + 14), 7, key)  # type: ignore[arg-type]
            paint_bar(picture, (x, y), (x, y), radius, colour)
        return as_bytes(picture)

    def sound(self) -> np.ndarray:
        """Return what is heard: float32 [2, N], each ball from its side."""
        heard = np.zeros((2, round(self.seconds * SAMPLE_RATE)), np.float32)
        for ball, pitch_hz in enumerate(PENTATONIC_HZ):
            side = (ball + 0.5) / len(PENTATONIC_HZ)
            note = _plucked_note(pitch_hz)
            for touch in range(4 + ball):
                first = round(touch * self.period(ball) * SAMPLE_RATE)
                part = note[: heard.shape[1] - first]
                heard[0, first : first + len(part)] += part * (1 - side)
                heard[1, first : first + len(part)] += part * side
        return heard


def _plucked_note(pitch_hz: float) -> np.ndarray:
    times = np.arange(round(0.9 * SAMPLE_RATE)) / SAMPLE_RATE
    overtones = sum(np.sin(2 * np.pi * pitch_hz * n * times) * np.exp(-4 * n * times) / n for n in (1, 2, 3))
    return np.asarray(0.16 * overtones, np.float32)


@dataclass(frozen=True)
class SunsetSea:
    """A setting sun over five rows of waves; without sound."""

    seconds: float = 5
    width: int = 480
    height: int = 270

    def picture(self, time: float) -> np.ndarray:
        """Draw the scene at a time in seconds: uint8 [H, W, 3]."""
        picture = gradient(self.width, self.height, (60, 60, 120), (250, 160, 90))
        sun = (self.width * 0.62, self.height * (0.28 + 0.05 * time))
        paint_bar(picture, sun, sun, self.height * 0.14, (255, 220, 140))
        x, y = np.arange(self.width)[None, :], np.arange(self.height)[:, None]
        for row in range(5):
            near = (row + 1) / 5
            swell = np.sin(x * 0.05 / near + time * (1 + row)) + 0.5 * np.sin(x * 0.023 - time * near * 2)
            surface = self.height * (0.52 + 0.09 * row) + 6 * near * swell
            water = np.array((20, 50, 90)) * (1.5 - near) + np.array((14, 24, 30))
            cover = np.clip(y - surface, 0, 1)[..., None]
            picture += cover * (water.astype(np.float32) - picture)
        return as_bytes(picture)


@dataclass(frozen=True)
class Arm:
    """A planar robot arm with two joints, a camera on a stand, an IMU on the forearm and a microphone."""

    seconds: float = 6
    shoulder_swing: float = 0.8
    """Radians to each side of upright."""
    elbow_swing: float = 1.1
    turns_per_second: float = 0.33
    width: int = 320
    height: int = 240

    def angles(self, time: float | np.ndarray) -> np.ndarray:
        """Return the angles of shoulder and elbow in radians, [2] or [2, N]; 0 is upright, straight."""
        turn = 2 * np.pi * self.turns_per_second * np.asarray(time)
        return np.stack([self.shoulder_swing * np.sin(turn), self.elbow_swing * np.sin(2 * turn + 0.6)])

    def speeds(self, time: float | np.ndarray) -> np.ndarray:
        """Return the joints' speeds in radians per second: the derivative of `angles`."""
        rate = 2 * np.pi * self.turns_per_second
        turn = rate * np.asarray(time)
        return np.stack(
            [rate * self.shoulder_swing * np.cos(turn), 2 * rate * self.elbow_swing * np.cos(2 * turn + 0.6)]
        )

    def points(self, time: float) -> tuple[Point, Point, Point]:
        """Return where shoulder, elbow and hand are in the picture."""
        shoulder, elbow = self.angles(time)
        base = (self.width / 2, self.height * 0.8)
        upper, fore = self.height * 0.33, self.height * 0.27
        middle = (base[0] + upper * np.sin(shoulder), base[1] - upper * np.cos(shoulder))
        hand = (middle[0] + fore * np.sin(shoulder + elbow), middle[1] - fore * np.cos(shoulder + elbow))
        return base, middle, hand

    def picture(self, time: float) -> np.ndarray:
        """Draw what the camera sees at a time in seconds: uint8 [H, W, 3]."""
        picture = gradient(self.width, self.height, (226, 232, 236), (190, 198, 206))
        picture[int(self.height * 0.86) :] = (120, 104, 92)
        for ago in range(12, 0, -1):
            trace = self.points(time - ago * 0.05)[2]
            paint_bar(picture, trace, trace, 2.5, (255, 190 + 3 * ago, 120 + 6 * ago))
        base, middle, hand = self.points(time)
        paint_bar(picture, (base[0], base[1] + 16), (base[0], base[1] + 4), 20, (70, 76, 84))
        paint_bar(picture, base, middle, 11, (232, 120, 40))
        paint_bar(picture, middle, hand, 8, (242, 160, 60))
        for joint, radius in ((base, 8), (middle, 7), (hand, 6)):
            paint_bar(picture, joint, joint, radius, (50, 54, 62))
        return as_bytes(picture)

    def motor_sound(self, sample_rate: int) -> np.ndarray:
        """Return what the microphone hears, float32 [N]: a motor's pitch and loudness follow its speed."""
        times = np.arange(round(self.seconds * sample_rate)) / sample_rate
        heard = np.zeros(len(times))
        for speed, lowest_hz in zip(np.abs(self.speeds(times)), (90, 140), strict=True):
            phase = 2 * np.pi * np.cumsum(lowest_hz + 60 * speed) / sample_rate
            heard += (
                np.minimum(speed, 4) / 4 * (np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase))
            )
        return (0.22 * heard).astype(np.float32)
