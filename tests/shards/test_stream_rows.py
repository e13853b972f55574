"""What stands in samples, batches and packed rows is what the shards hold, beside a slow, obvious twin."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_dataset import VIDEO, Task
from made_streams import interleaved, mixed_dataset, samples_in_order, video_dataset, write_recordings

from shards import (
    DamagedDataset,
    NothingToStream,
    TokenDataset,
    TokenStream,
    UnknownName,
    Vocabulary,
    WrongLayout,
    open_dataset,
)
from shards.layout import Layout
from shards.streaming.padding import fields_of
from shards.streaming.selection import windows_of_runs

CODED = ("audio", "jpegs", "joints", "video")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layouts; every kind of member; every third clip empty."""
    return mixed_dataset(tmp_path_factory.mktemp("rows") / "data")


def padded(arrays: list[Any], trailing: tuple[int, ...], dtype: Any) -> Any:
    """Pad by hand."""
    out = np.zeros((len(arrays), max(map(len, arrays)), *trailing), dtype)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batches_hold_what_the_shards_hold(data: Path, batch_size: int) -> None:
    """Every array of every batch is the samples' own, padded; rows without a track have length 0."""
    samples = samples_in_order(data)
    members = ("tokens", "times", "values", "features", "offsets")
    stream = TokenStream(data, global_batch=batch_size, epochs=1).batches(members)
    seen = []
    for batch in stream:
        rows = [samples[item] if item >= 0 else None for item in batch["item"].tolist()]
        seen += [row.key for row in rows if row is not None]
        for name in [name for name in batch if f"{name}.length" in batch]:
            arrays = [row.arrays.get(name) if row is not None else None for row in rows]
            shape = batch[name].shape[2:]
            mine = [np.empty((0, *shape)) if array is None else array for array in arrays]
            assert batch[f"{name}.length"].tolist() == [len(array) for array in mine]
            np.testing.assert_array_equal(batch[name], padded(mine, shape, batch[name].dtype))
    assert sorted(seen) == sorted(sample.key for sample in samples)


def test_many_equal_rows_are_gathered_alike(tmp_path: Path) -> None:
    """Rows read with one call per shard are the rows read one by one; among them shorter ones."""
    path = video_dataset(tmp_path / "data", [40, 40, 3])
    samples = samples_in_order(path)
    for batch in TokenStream(path, global_batch=4, epochs=1, shuffle_window=5).batches(dtype=np.int64):
        rows = [
            samples[item].arrays["video.tokens"] if item >= 0 else np.empty((0, 4, 4))
            for item in batch["item"]
        ]
        np.testing.assert_array_equal(batch["video.tokens"], padded(rows, (4, 4), np.int64))


def test_samples_are_views_with_their_provenance(data: Path) -> None:
    """Arrays of single clips are read-only views; text, key and provenance are the clip's."""
    known = {sample.key: sample for sample in samples_in_order(data)}
    for sample in TokenStream(data, tracks=["subs", "audio"], epochs=1).samples():
        twin = known.pop(sample.key)
        assert set(sample.arrays) == {"subs.times", "audio.tokens"}
        assert all(np.array_equal(array, twin.arrays[name]) for name, array in sample.arrays.items())
        assert not any(array.flags.owndata or array.flags.writeable for array in sample.arrays.values())
        assert sample.text == {"subs": twin.text["subs"]}
        assert sample.provenance == [twin.provenance]
        assert (sample.start_ns, sample.stop_ns) == (twin.start_ns, twin.stop_ns)
        assert sample.tokens == {"audio": twin.tokens["audio"], "subs": 0}
    assert {sample.layout for sample in known.values()} == {"video"}


def test_layouts_without_the_tracks_are_counted(data: Path) -> None:
    """tracks= reads the layouts that have all of them, and says what it left out."""
    stream = TokenStream(data, tracks=["audio", "video"], epochs=1)
    assert stream.left_out == {"data": {"layout video has not all of these tracks": 10}}
    assert len(stream) == 15
    assert len(TokenStream(data, tracks=["video"], epochs=1)) == 25


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    length=st.integers(1, 200),
    slot_ns=st.sampled_from([1, 70_000_000, 250_000_000, 2_000_000_000]).filter(lambda ns: ns > 1),
    batch=st.integers(1, 4),
    tracks=st.sampled_from([None, ["video"], ["audio", "jpegs"], list(CODED)]),
    window=st.integers(1, 3),
)
def test_packing_loses_nothing_and_repeats_nothing(
    data: Path, length: int, slot_ns: int, batch: int, tracks: Any, window: int
) -> None:
    """Lane by lane, rows put side by side are the clips' sequences, code by code, each once."""
    stream = TokenStream(data, global_batch=batch, epochs=1, tracks=tracks, window=window, shuffle_window=4)
    stream = stream.packed(length, slot_ns=slot_ns)
    vocabulary, layouts = stream.vocabulary, open_dataset(data).layouts
    batches = list(stream)
    lanes = [[b["tokens"][lane][: int(b["length"][lane])] for b in batches] for lane in range(batch)]
    ids = np.concatenate([row for lane in lanes for row in lane]).tolist()
    wanted = []
    plan = stream._planned()
    for item in plan.orders[0].all_items(0).tolist():
        sample = stream.sample(item)
        parts = [
            interleaved(
                clip, [t for t in sample.tracks if t in CODED], vocabulary, slot_ns, layouts[clip.layout]
            )
            for clip in sample.clips
        ]
        wanted += [vocabulary.begin_clip, *(one for part in parts for one in part[1:-1]), vocabulary.end_clip]
    assert ids == wanted
    waste = stream.waste["data"]
    special = {0, *range(vocabulary.codes_of(vocabulary.tracks[0].name).start)}
    assert waste.codes == sum(one not in special for one in ids)
    assert waste.marks == len(ids) - waste.codes
    assert waste.places == -(-len(ids) // length) * length


def test_documents_of_packed_rows(data: Path) -> None:
    """cu_seqlens cut the flattened batch where clips and rows begin; positions count from there."""
    stream = TokenStream(data, global_batch=3, epochs=1).packed(50)
    for batch in stream:
        flat, bounds = batch["tokens"].reshape(-1), batch["cu_seqlens"].tolist()
        assert bounds[0] == 0
        assert bounds[-1] == flat.size
        assert len(batch["item"]) == len(bounds) - 1
        assert int(batch["max_seqlen"]) == max(np.diff(bounds))
        begins = set(np.flatnonzero(flat == stream.vocabulary.begin_clip).tolist()) | {0, 50, 100}
        begins |= {50 * row + int(n) for row, n in enumerate(batch["length"]) if n < 50}
        assert set(bounds[:-1]) == begins
        for start, stop, item in zip(bounds[:-1], bounds[1:], batch["item"].tolist(), strict=True):
            assert batch["position_ids"].reshape(-1)[start:stop].tolist() == list(range(stop - start))
            assert (item == -1) == (flat[start] == stream.vocabulary.pad)
            if item >= 0 and flat[start] == stream.vocabulary.begin_clip:
                tracks = {t for t, count in stream.sample(item).tokens.items() if count}
                held = stream.vocabulary.clips_in(flat[start:stop])
                assert not held or set(held[0]) <= tracks


def test_ids_turn_back_into_codes(data: Path) -> None:
    """Packed ids of a whole epoch give back every clip's arrays, in their own dtypes and shapes."""
    stream = TokenStream(data, epochs=1, shuffle_window=0).packed(64)
    ids = np.concatenate([batch["tokens"].reshape(-1) for batch in stream])
    clips = iter(stream.vocabulary.clips_in(ids))
    for sample in samples_in_order(data):
        wanted = {t: sample.arrays[f"{t}.tokens"] for t in CODED if sample.tokens.get(t)}
        if wanted:
            found = next(clips)
            assert found.keys() == wanted.keys()
            for track, codes in wanted.items():
                assert found[track].dtype == codes.dtype
                np.testing.assert_array_equal(found[track], codes)
    assert next(clips, None) is None


def test_a_vocabulary_survives_its_file(data: Path, tmp_path: Path) -> None:
    """What is saved with a run is loaded equal, and the same stream comes out; ids don't overlap."""
    stream = TokenStream(data, epochs=1).packed(64)
    vocabulary = stream.vocabulary
    vocabulary.save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded == vocabulary
    again = TokenStream(data, epochs=1).packed(64, loaded)
    again.load_state_dict(stream.state_dict())
    taken = [0, 1, 2]
    for track in vocabulary.tracks:
        taken += [vocabulary.begin(track.name), vocabulary.end(track.name)]
    for track in vocabulary.tracks:
        taken += vocabulary.codes_of(track.name)
    assert taken == list(range(vocabulary.size))
    assert [track.sizes for track in vocabulary.tracks] == [(200, 100), (256,), (256,), (1000,)]
    assert vocabulary.offsets("audio") == (11, 211)
    (tmp_path / "vocabulary.json").write_text(
        (tmp_path / "vocabulary.json").read_text().replace("200", "201")
    )
    with pytest.raises(DamagedDataset, match="ids are not as this version of Fifth numbers them"):
        Vocabulary.load(tmp_path / "vocabulary.json")


def test_vocabularies_that_do_not_fit_are_refused(data: Path) -> None:
    """A vocabulary must have every track with the same codes; text and features can't be packed."""
    video = TokenStream(data, tracks=["video"]).packed(64).vocabulary
    with pytest.raises(UnknownName, match="the vocabulary has no track 'audio'; it has video"):
        TokenStream(data).packed(64, video)
    changed = video.to_json()
    changed["tracks"][0]["encoder"] = "other:2:"
    with pytest.raises(WrongLayout, match="track 'video' is blocks:1: \\[1000\\] in the dataset"):
        TokenStream(data, tracks=["video"]).packed(64, Vocabulary.from_json(changed))
    with pytest.raises(UnknownName, match="text and features can't be packed"):
        TokenStream(data, tracks=["subs"]).packed(64)
    with pytest.raises(ValueError, match="ids must be in"):
        video.clips_in(np.array([5, 9999]))


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_windows_cover_each_run_and_never_cross_it(same: list[bool], window: int, stride: int) -> None:
    """Windows begin every `stride` clips of a run, reach its end, and no window lies within another."""
    starts, sizes = windows_of_runs(np.array(same, bool), window, stride)
    runs, found = [[0]], [*zip(starts.tolist(), sizes.tolist(), strict=True)]
    for clip, goes_on in enumerate(same, 1):
        runs.append([clip]) if not goes_on else runs[-1].append(clip)
    wanted = []
    for run in runs:
        for place in range(0, len(run), stride):
            wanted.append((run[place], len(run[place : place + window])))
            if place + window >= len(run):
                break
    assert found == wanted


def test_windows_join_clips_that_follow_each_other(data: Path) -> None:
    """A window's arrays are those of its clips, one behind the other; times and offsets count on."""
    known = {sample.key: sample for sample in samples_in_order(data)}
    stream = TokenStream(data, tracks=["jpegs", "video", "subs"], window=3, stride=2, epochs=1)
    begins: dict[str, list[int]] = {}
    for sample in stream.samples():
        clips = [known[clip.key] for clip in sample.clips]
        assert all(a.stop_ns == b.start_ns for a, b in pairwise(clips))
        assert len({clip.provenance["recording"] for clip in clips}) == 1
        assert (sample.start_ns, sample.stop_ns) == (clips[0].start_ns, clips[-1].stop_ns)
        shift = [clip.start_ns - sample.start_ns for clip in clips]
        joined = np.concatenate([c.arrays["video.times"] + ns for c, ns in zip(clips, shift, strict=True)])
        np.testing.assert_array_equal(sample.arrays["video.times"], joined)
        np.testing.assert_array_equal(
            sample.arrays["video.tokens"], np.concatenate([c.arrays["video.tokens"] for c in clips])
        )
        offsets, codes = sample.arrays["jpegs.offsets"], sample.arrays["jpegs.tokens"]
        pictures = [codes[a:b].tolist() for a, b in pairwise(offsets)]
        wanted = [
            c.arrays["jpegs.tokens"][a:b].tolist()
            for c in clips
            for a, b in pairwise(c.arrays["jpegs.offsets"])
        ]
        assert pictures == wanted
        assert sample.text["subs"] == "".join(c.text["subs"] for c in clips)
        begins.setdefault(clips[0].provenance["recording"], []).append(len(clips))
    assert {name: sorted(sizes) for name, sizes in begins.items()} == {
        "a.mp4": [3, 3], "b.bag": [3, 3, 3, 3], "e.bag": [1],
    }  # fmt: skip
    batch = next(
        iter(TokenStream(data, tracks=["video"], window=3, global_batch=2).batches(("tokens", "times")))
    )
    assert batch["video.times"].shape == batch["video.tokens"].shape[:2]


def test_a_split_parts_recordings(tmp_path: Path) -> None:
    """No recording is on both sides, all are on one, and the side depends on the content alone."""
    path = video_dataset(tmp_path / "data", [2] * 60)
    sides = {}
    for split in ("train", "validation"):
        stream = TokenStream(path, split=split, validation_share=0.25, epochs=1)
        sides[split] = {sample.provenance[0]["recording"] for sample in stream.samples()}
        left = stream.left_out["data"]["on the other side of the split"]
        assert left + 2 * len(sides[split]) == 120
    assert not sides["train"] & sides["validation"]
    assert len(sides["train"] | sides["validation"]) == 60
    assert 5 <= len(sides["validation"]) <= 25
    half = write_recordings(tmp_path / "half", [Task(VIDEO, {f"{n}.mp4": range(1) for n in range(30)})])
    fewer = TokenStream(half, split="validation", validation_share=0.25, epochs=1)
    mine = {sample.provenance[0]["recording"] for sample in fewer.samples()}
    assert mine == {name for name in sides["validation"] if int(name.removesuffix(".mp4")) < 30}
    with pytest.raises(NothingToStream, match="on the other side of the split"):
        TokenStream(video_dataset(tmp_path / "one", [3]), split="validation", validation_share=1e-9)


def test_a_dataset_by_number(data: Path) -> None:
    """TokenDataset gives the same items by number, with arrays that may be written to."""
    samples = samples_in_order(data)
    dataset = TokenDataset(data)
    assert len(dataset) == len(samples)
    for number, sample in enumerate(samples):
        arrays = dataset[number]
        assert arrays.keys() == sample.arrays.keys()
        assert all(
            np.array_equal(arrays[n], sample.arrays[n], equal_nan=arrays[n].dtype.kind == "f") for n in arrays
        )
        assert all(array.flags.writeable for array in arrays.values())
    assert dataset.sample(-1).key == samples[-1].key
    with pytest.raises(IndexError):
        dataset[len(samples)]


def test_layouts_that_can_not_share_a_batch(tmp_path: Path) -> None:
    """An array with other trailing sizes in another layout is refused, with what to do."""
    tokens = {"name": "video.tokens.npy", "dtype": "uint16", "shape": [None, 4, 5]}
    wide = VIDEO | {"name": "wide", "members": [{"name": "json"}, tokens, VIDEO["members"][2]]}
    tasks = [Task(VIDEO, {"a": range(2)}), Task(wide, {"b": range(0)})]
    path = write_recordings(tmp_path / "data", tasks)
    assert len(TokenStream(path, epochs=1).batches()) == 2  # a layout without samples does no harm
    layouts = [Layout.from_json(VIDEO), Layout.from_json(wide)]
    both: Any = SimpleNamespace(name="data", layouts=layouts, tracks_of=lambda layout: layout.tracks)
    with pytest.raises(
        WrongLayout, match=r"uint16 \[\?, \(4, 4\)\] in data:video, but .* in data:wide; leave"
    ):
        fields_of([both], ["tokens"], None)
    assert [field.name for field in fields_of([both], ["times"], None)] == ["video.times"]
    with pytest.raises(UnknownName, match=r"of the kinds \['latents'\]"):
        TokenStream(path).batches(("latents",))
    with pytest.raises(ValueError, match="uint16, which uint8 can't hold"):
        TokenStream(path).batches(dtype=np.uint8)


@pytest.mark.parametrize("how", ["cut", "zeros", "empty", "rows"])
def test_damage_names_shard_and_sample(tmp_path: Path, how: str) -> None:
    """A shard that was cut, overwritten or emptied is an error that says which, and what to do."""
    path = video_dataset(tmp_path / "data", [6, 2])
    tar = path / "shards" / "video-000000.tar"
    key = samples_in_order(path)[4].key
    offset = int(np.load(tar.with_suffix(".samples.npy"))["video.tokens.npy:offset"][4])
    if how == "rows":
        rows = tar.with_suffix(".samples.npy").read_bytes()
        tar.with_suffix(".samples.npy").write_bytes(rows[:-3])
    elif how == "zeros":
        data = bytearray(tar.read_bytes())
        data[offset : offset + 64] = bytes(64)
        tar.write_bytes(data)
    else:
        tar.write_bytes(tar.read_bytes()[: offset + 140 if how == "cut" else 0])
    wanted = {"cut": f"video-000000.tar: sample {key}", "zeros": f"video-000000.tar: sample {key}",
              "empty": "video-000000.tar: is empty", "rows": "video-000000.samples.npy"}[how]  # fmt: skip
    streams = [TokenStream(path, epochs=1, global_batch=n, shuffle_window=w) for n, w in ((1, 0), (8, 5))]
    for stream in [*streams, streams[0].samples()]:
        with pytest.raises(DamagedDataset, match=wanted) as caught:
            [dict(thing.arrays) if hasattr(thing, "arrays") else thing for thing in stream]
        assert "fifth verify" in str(caught.value)
    if how != "rows":
        with pytest.raises(DamagedDataset, match=wanted):
            list(streams[0].packed(16))


def test_few_shards_stay_open(tmp_path: Path) -> None:
    """No more shards are kept open than were asked for, however many there are."""
    path = video_dataset(tmp_path / "data", [2] * 30)
    stream = TokenStream(path, epochs=1, open_shards=3, global_batch=2)
    items = [item for batch in stream for item in batch["item"].tolist()]
    assert sorted(items) == list(range(60))
    assert len(stream._planned().selections[0].maps) == 3
