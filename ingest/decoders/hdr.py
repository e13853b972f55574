"""High dynamic range (PQ, HLG) to the standard range that encoders take, by one fixed rule.

1. R'G'B' to light in cd/m²: PQ by its EOTF; HLG by its inverse OETF and the OOTF of a 1000 cd/m² display
   with system gamma 1.2 (ITU-R BT.2100-2, tables 4 and 5).
2. BT.2020 primaries to BT.709 primaries (ITU-R BT.2087, M2); what is outside becomes 0.
3. The brightest of the three channels goes through the knee of ITU-R BT.2390 (section 5.4.1), which brings
   1000 cd/m² down to 203 cd/m², HDR's reference white (ITU-R BT.2408), and leaves what is darker than
   about 87 cd/m² alone; the others keep their ratio to it. Brighter than 1000 cd/m² is 1000 cd/m².
4. 203 cd/m² is white; the display's gamma of 2.4 is undone (ITU-R BT.1886).

Tables are looked up and only exactly rounded operations follow, so that every machine gives the same bytes.
"""

from __future__ import annotations

from functools import cache

import numpy as np

PEAK_NITS = 1000.0
WHITE_NITS = 203.0
_STEPS = 4095
"""Tables have one entry more; those of light are spaced by its square root."""
_TO_709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
_HLG_GAMMA = 1.2
_LUMINANCE_2020 = (0.2627, 0.6780, 0.0593)


def tone_mapped(rgb: tuple[np.ndarray, np.ndarray, np.ndarray], transfer: str) -> np.ndarray:
    """Return uint8 [H, W, 3] for a standard display.

    Args:
        rgb: R', G', B', each float32 [H, W], 0 to 1, BT.2020 primaries.
        transfer: `pq` or `hlg`.
    """
    light = [_looked_up(_light_table(transfer), _step_of(channel)) for channel in rgb]
    if transfer == "hlg":
        luminance = sum(np.float32(w) * c for w, c in zip(_LUMINANCE_2020, light, strict=True))
        system = _looked_up(_ootf_table(), _root_step(np.asarray(luminance)))
        light = [channel * system for channel in light]
    mapped = [_mixed(weights, light) for weights in _TO_709]
    brightest = np.maximum(np.maximum(mapped[0], mapped[1]), mapped[2])
    gain = _looked_up(_gain_table(), _root_step(brightest))
    shown = [_looked_up(_display_table(), _root_step(channel * gain)) for channel in mapped]
    return np.stack(shown, axis=2)


def pq_nits(signal: np.ndarray) -> np.ndarray:
    """Return light in cd/m² of PQ signals in [0, 1] (BT.2100-2, table 4)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.asarray(signal, np.float64) ** (1 / m2)
    return np.asarray(10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def pq_signal(nits: np.ndarray) -> np.ndarray:
    """Return PQ signals of light in cd/m²: the inverse of `pq_nits`."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (np.asarray(nits, np.float64) / 10000) ** m1
    return np.asarray(((c1 + c2 * power) / (1 + c3 * power)) ** m2)


def hlg_scene(signal: np.ndarray) -> np.ndarray:
    """Return scene light in [0, 1] of HLG signals in [0, 1] (BT.2100-2, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.asarray(signal, np.float64)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def knee(nits: np.ndarray) -> np.ndarray:
    """Return what BT.2390's knee makes of light up to `PEAK_NITS`, in cd/m², at most `WHITE_NITS`."""
    top = float(pq_signal(np.asarray(PEAK_NITS)))
    ceiling = float(pq_signal(np.asarray(WHITE_NITS))) / top
    start = 1.5 * ceiling - 0.5
    level = pq_signal(nits) / top
    t = np.clip((level - start) / (1 - start), 0, 1)
    bent = (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * (1 - start)
    bent += (-2 * t**3 + 3 * t**2) * ceiling
    return pq_nits(np.where(level < start, level, bent) * top)


@cache
def _light_table(transfer: str) -> np.ndarray:
    """Light by signal: as a share of `PEAK_NITS` for PQ, of the scene's for HLG."""
    signal = np.arange(_STEPS + 1) / _STEPS
    light = np.minimum(pq_nits(signal) / PEAK_NITS, 1) if transfer == "pq" else hlg_scene(signal)
    return np.asarray(light, np.float32)


@cache
def _ootf_table() -> np.ndarray:
    return np.asarray(_roots() ** (_HLG_GAMMA - 1), np.float32)


@cache
def _gain_table() -> np.ndarray:
    """What the knee does to light, as a factor that also makes `WHITE_NITS` 1."""
    nits = np.maximum(_roots(), 1e-9) * PEAK_NITS
    return np.asarray(knee(nits) / nits * (PEAK_NITS / WHITE_NITS), np.float32)


@cache
def _display_table() -> np.ndarray:
    return np.asarray(np.rint(255 * _roots() ** (1 / 2.4)), np.uint8)


def _roots() -> np.ndarray:
    return np.asarray((np.arange(_STEPS + 1) / _STEPS) ** 2)


def _mixed(weights: tuple[float, float, float], channels: list[np.ndarray]) -> np.ndarray:
    """Return the weighted sum, added in one order, and not below 0."""
    red, green, blue = (np.float32(w) * c for w, c in zip(weights, channels, strict=True))
    return np.asarray(np.maximum(red + green + blue, np.float32(0)))


def _step_of(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(np.clip(values, 0, 1) * np.float32(_STEPS)), np.int32)


def _root_step(light: np.ndarray) -> np.ndarray:
    return _step_of(np.sqrt(np.clip(light, 0, 1)))


def _looked_up(table: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.asarray(table.take(steps))
