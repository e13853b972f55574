"""Texts and small files that a user gives: maps, options, conditions, vocabularies, weights, positions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from mutations import damaged, damaged_json, damaged_text, json_text
from recording_targets import Outcome
from seeds import AUDIO_FORMATS, CONDITIONS, ENCODERS, MAP_TOML, MAPS, Seed
from structures import fields_of

WAYS = ("map.toml", "map", "encoders", "format", "condition", "settings")


def make_settings(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
    """Return a text of one kind, damaged; its name says which kind."""
    way = rng.choice(WAYS)
    texts = {
        "map.toml": (MAP_TOML,),
        "map": MAPS,
        "encoders": ENCODERS,
        "format": AUDIO_FORMATS,
        "condition": CONDITIONS,
        "settings": (json.dumps(SETTINGS),),
    }[way]
    text = damaged_text(rng.choice(texts), texts, rng)
    data = text.encode("utf-8", "surrogatepass")
    if way == "map.toml" and rng.random() < 0.3:
        data = damaged(data, others, (), rng)
    if way == "settings":
        data = json_text(damaged_json(SETTINGS, rng), rng)
    return {way: data}


SETTINGS: dict[str, Any] = {
    "clip_seconds": "4",
    "fps": "8",
    "size": 256,
    "fit": "auto",
    "video": "jpeg",
    "signal_hz": "50",
    "shard_mb": 64,
    "maps": [],
}


def read_settings(seed: Seed, folder: Path, number: int) -> Outcome:
    """Read one text as the command line would."""
    from encoders import EncodersError
    from ingest.configuration import Settings
    from ingest.decoders.ros_sound import sound_format
    from ingest.encoder_choice import parse_choices
    from ingest.errors import IngestError
    from ingest.track_map import TrackMap, read_map
    from shards import Condition, ShardsError

    ((way, data),) = seed.items()
    text = data.decode("utf-8", "replace")
    try:
        if way == "map.toml":
            path = folder / "map.toml"
            path.write_bytes(data)
            for entry in read_map(str(path)):
                assert TrackMap.parse(str(entry)) == entry or entry.name
        elif way == "map":
            read_map(text)
        elif way == "encoders":
            parse_choices(text)
        elif way == "format":
            sound_format(text)
        elif way == "condition":
            Condition(text).holds(lambda name: 1)
        else:
            _settings(text, Settings)
    except (IngestError, ShardsError, EncodersError, FileNotFoundError) as error:
        return "reported", "", f"{type(error).__name__}: {error}"[:300]
    return "used", "", way


def _settings(text: str, settings: Any) -> None:
    from fractions import Fraction

    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(values, dict):
        return
    taken: dict[str, Any] = {}
    for key, value in values.items():
        if key in ("clip_seconds", "fps", "signal_hz"):
            try:
                taken[key] = Fraction(str(value)[:100])
            except (ValueError, ZeroDivisionError, OverflowError):
                return
        elif key in SETTINGS and type(value) is type(SETTINGS[key]) and key != "maps":
            taken[key] = value
    settings(**taken)


# vocabularies, positions, weights


def small_files() -> list[Seed]:
    """Return a vocabulary, the state of a stream, and a file of weights."""
    import tempfile

    from recording_targets import write_seed
    from seeds import made_dataset_seed

    from shards import TokenStream

    weights = Path(__file__).parents[2] / "encoders" / "weights"
    with tempfile.TemporaryDirectory() as given:
        where = Path(given) / "d"
        write_seed(made_dataset_seed(), where)
        stream = TokenStream(where, global_batch=2, tracks=["video"], seed=3)
        packed = stream.packed(64)
        vocabulary = packed.vocabulary
        state = packed.state_dict()
    assert vocabulary is not None
    seeds: list[Seed] = [
        {"vocabulary.json": json.dumps(vocabulary.to_json()).encode()},
        {"state.json": json.dumps(state).encode()},
        {"tiny.safetensors": _tiny_weights()},
    ]
    files = [file for file in sorted(weights.glob("*.safetensors")) if file.stat().st_size < 4 << 20]
    return [*seeds, *({"network.safetensors": file.read_bytes()} for file in files)]


def _tiny_weights() -> bytes:
    import torch
    from safetensors.torch import save

    return bytes(save({"a": torch.zeros(4, 4), "b": torch.ones(3)}, {"about": "made"}))


def make_small(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
    """Return a small file, damaged."""
    ((name, data),) = seed.items()
    if name.endswith(".json") and rng.random() < 0.8:
        return {name: json_text(damaged_json(json.loads(data), rng), rng)}
    if name.endswith(".safetensors") and rng.random() < 0.6:
        size = int.from_bytes(data[:8], "little")
        header = json_text(damaged_json(json.loads(data[8 : 8 + size]), rng), rng)
        length = len(header) if rng.random() < 0.8 else rng.choice((0, 1, 2**40, 2**63, len(data)))
        return {name: length.to_bytes(8, "little") + header + data[8 + size :]}
    fields = [(0, 8, "little")] if name.endswith(".safetensors") else fields_of(data)
    return {name: damaged(data, others, fields, rng)}


def read_small(seed: Seed, folder: Path, number: int) -> Outcome:
    """Read a small file as its owner would."""
    from encoders import EncodersError
    from shards import ShardsError

    ((name, data),) = seed.items()
    path = folder / name
    path.write_bytes(data)
    try:
        if name == "vocabulary.json":
            from shards import Vocabulary

            vocabulary = Vocabulary.load(path)
            vocabulary.clips_in(np.array([1, 5, 9, 2]))
        elif name == "state.json":
            _load_state(data)
        else:
            from encoders.weight_files import weights_from

            weights_from(path)
            if name == "network.safetensors":
                import torch

                from encoders.fifth_audio import FifthAudio
                from encoders.fifth_video import FifthVideo

                for network in (FifthAudio, FifthVideo):
                    try:
                        network(torch.device("cpu"), weights=str(path))
                    except EncodersError:
                        continue
    except (ShardsError, EncodersError) as error:
        return "reported", "", f"{type(error).__name__}: {error}"[:300]
    return "used", "", name


def _load_state(data: bytes) -> None:
    stream = _kept_stream()
    try:
        state = json.loads(data)
    except (ValueError, RecursionError):
        return
    stream.load_state_dict(state)
    for _ in zip(stream, range(2), strict=False):
        pass


_STREAMS: list[Any] = []


def keep_stream(folder: Path) -> None:
    """Make the stream that states are loaded into, before anything is forked."""
    from recording_targets import write_seed
    from seeds import made_dataset_seed

    from shards import TokenStream

    write_seed(made_dataset_seed(), folder / "d")
    _STREAMS[:] = [TokenStream(folder / "d", global_batch=2, tracks=["video"], seed=3).packed(64)]


def _kept_stream() -> Any:
    return _STREAMS[0]
