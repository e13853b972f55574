"""A stream goes on exactly where it was stopped, on any number of ranks and workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_dataset import VIDEO, Task
from made_streams import add_recordings, as_worker, mixed_dataset, rows_of, taken_from, video_dataset

from shards import NothingToStream, TokenStream, UnknownName, WrongState

FIELDS = ("video.tokens",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven recordings in as many shards; 29 clips, the third of which are empty."""
    return video_dataset(tmp_path_factory.mktemp("exact") / "data", [5, 1, 9, 4, 0, 7, 3])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another dataset with the same track, in two layouts."""
    return mixed_dataset(tmp_path_factory.mktemp("exact") / "other")


def single(data: Path, other: Path, **options: Any) -> TokenStream:
    return TokenStream(data, global_batch=8, seed=3, shuffle_window=8, **{"epochs": 2} | options)


def mix(data: Path, other: Path, **options: Any) -> TokenStream:
    return TokenStream(
        {"web": 2, "robots": 1},
        datasets={"web": data, "robots": other},
        tracks=["video"],
        global_batch=8,
        schedule=[(5, {"web": 1, "robots": 4})],
        **{"steps": 12} | options,
    )


def packed(data: Path, other: Path, **options: Any) -> TokenStream:
    return single(data, other, **options).packed(37, slot_ns=300_000_000)


def packed_mix(data: Path, other: Path, **options: Any) -> TokenStream:
    return mix(data, other, **options).packed(29)


KINDS: dict[str, Callable[..., TokenStream]] = {
    "single": single,
    "mix": mix,
    "packed": packed,
    "packed mix": packed_mix,
}
WORLDS = [(1, 0), (2, 0), (4, 1), (8, 0), (1, 1), (1, 3), (2, 2), (4, 3)]


def comparable(stream: TokenStream, batch: Any) -> list[Any]:
    """Return a batch as rows that don't depend on who made it."""
    if "cu_seqlens" in batch:
        return [
            (int(d), row[: int(n)].tolist(), positions[: int(n)].tolist())
            for d, row, n, positions in zip(
                batch["dataset"], batch["tokens"], batch["length"], batch["position_ids"], strict=True
            )
        ]
    return rows_of(batch, FIELDS)


def global_batches(
    make: Callable[..., TokenStream], data: Path, other: Path, ranks: int, workers: int, state: Any = None
) -> list[list[Any]]:
    """Return all global batches from a state on, put together from what the ranks get."""
    per_rank = []
    for rank in range(ranks):
        stream = make(data, other, rank=rank, world_size=ranks)
        if state is not None:
            stream.load_state_dict(json.loads(json.dumps(state)))
        per_rank.append([comparable(stream, batch) for batch in taken_from(stream, workers, 10**6)])
    assert len({len(batches) for batches in per_rank}) == 1, "all ranks have as many batches"
    return [[row for part in parts for row in part] for parts in zip(*per_rank, strict=True)]


@pytest.fixture(scope="module")
def whole(data: Path, other: Path) -> dict[str, list[list[Any]]]:
    """The global batches of each kind, made by one process."""
    return {kind: global_batches(make, data, other, 1, 0) for kind, make in KINDS.items()}


@pytest.mark.parametrize(("ranks", "workers"), WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_and_workers_do_not_change_the_batches(
    kind: str, ranks: int, workers: int, data: Path, other: Path, whole: dict[str, Any]
) -> None:
    """The global batches are the same for any number of ranks and workers."""
    assert global_batches(KINDS[kind], data, other, ranks, workers) == whole[kind]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(kind=st.sampled_from(list(KINDS)), cut=st.integers(0, 11), before=st.sampled_from(WORLDS),
       after=st.sampled_from(WORLDS))  # fmt: skip
def test_going_on_elsewhere_gives_the_same_rest(
    kind: str, cut: int, before: Any, after: Any, data: Path, other: Path, whole: dict[str, Any]
) -> None:
    """A state that any rank, with any workers, had after any batch gives the rest on any others."""
    ranks, workers = before
    cut = min(cut, len(whole[kind]) - 1)
    stream = KINDS[kind](data, other, rank=ranks - 1, world_size=ranks)
    batch = taken_from(stream, workers, cut + 1)[-1]
    state = stream.state_after(batch)
    assert global_batches(KINDS[kind], data, other, after[0], after[1], state) == whole[kind][cut + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_after_every_batch(kind: str, data: Path, other: Path, whole: dict[str, Any]) -> None:
    """One process, stopped after each batch in turn: the next batch is exactly the next one."""
    make = KINDS[kind]
    stream = make(data, other)
    iterator = iter(stream)
    for number in range(len(whole[kind])):
        state = stream.state_dict()
        assert {k: v for k, v in state.items() if k != "ranks"} == {
            k: v for k, v in stream.state_at(number).items() if k != "ranks"
        }
        again = make(data, other)
        again.load_state_dict(state)
        assert comparable(again, next(iter(again))) == whole[kind][number]
        assert comparable(stream, next(iterator)) == whole[kind][number]
    assert next(iterator, None) is None
    done = make(data, other)
    done.load_state_dict(stream.state_dict())
    assert list(done) == []


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_samples_go_on_after_every_sample(workers: int, data: Path, other: Path) -> None:
    """Single samples come in the same order for any workers, and go on within a global batch."""

    def make() -> TokenStream:
        return TokenStream(data, global_batch=4, epochs=1, seed=5).samples()

    keys = [sample.key for sample in make()]
    assert len(keys) == len(set(keys)) == len(make()) == 29
    assert [sample.key for sample in taken_from(make(), workers, 99)] == keys
    stream = make()
    for number, _ in enumerate(stream, 1):
        again = make()
        again.load_state_dict(json.loads(json.dumps(stream.state_dict())))
        assert [sample.key for sample in taken_from(again, workers, 99)] == keys[number:]


def test_a_worker_goes_on_with_its_own_next_batch(data: Path, other: Path) -> None:
    """What a worker's state says is where that worker is: loaders that keep one state per worker work."""
    stream = single(data, other)
    with as_worker(1, 3):
        first = [int(batch["step"]) for _, batch in zip(range(2), stream, strict=False)]
        state = stream.state_dict()
        again = single(data, other)
        again.load_state_dict(state)
        assert [*first, *(int(batch["step"]) for batch in again)] == [1, 4, 7]
    with pytest.raises(WrongState, match="worker 1 of 3, not of a whole stream"):
        iter(again)


def test_an_epoch_has_every_sample_once_and_empty_rows_at_its_end(data: Path, other: Path) -> None:
    """29 samples in batches of 8: three full ones, then one with three empty rows."""
    batches = list(single(data, other))
    assert len(batches) == len(single(data, other)) == 8
    for epoch in (batches[:4], batches[4:]):
        items = np.concatenate([batch["item"] for batch in epoch])
        assert sorted(items[items >= 0].tolist()) == list(range(29))
        assert [int((batch["item"] < 0).sum()) for batch in epoch] == [0, 0, 0, 3]
        assert (epoch[-1]["video.tokens.length"][epoch[-1]["item"] < 0] == 0).all()
    assert batches[0]["item"].tolist() != batches[4]["item"].tolist()


def test_drop_last_leaves_no_empty_rows(data: Path, other: Path) -> None:
    """With drop_last all rows are full, and another epoch drops other samples."""
    batches = list(single(data, other, drop_last=True))
    assert len(batches) == 6
    assert all((batch["item"] >= 0).all() for batch in batches)
    first, second = (set(np.concatenate([b["item"] for b in half])) for half in (batches[:3], batches[3:]))
    assert len(first) == len(second) == 24
    assert first != second


def test_fewer_samples_than_rows(tmp_path: Path) -> None:
    """One sample in a global batch of eight: one batch, seven empty rows, on every rank; or none at all."""
    one = video_dataset(tmp_path / "one", [0, 1])
    for rank in range(4):
        batches = list(TokenStream(one, global_batch=8, epochs=1, rank=rank, world_size=4))
        assert [batch["item"].tolist() for batch in batches] == [[0, -1] if rank == 0 else [-1, -1]]
    endless = [batch["item"].tolist() for batch in TokenStream(one, global_batch=3, steps=2)]
    assert endless == [[0, 0, 0], [0, 0, 0]]
    with pytest.raises(NothingToStream, match="do not fill one global batch of 8"):
        TokenStream(one, global_batch=8, epochs=1, drop_last=True).batches()


def test_set_epoch_gives_that_epoch(data: Path, other: Path) -> None:
    """Loops over epochs of their own get what one stream over several epochs gives."""
    both = [batch["item"].tolist() for batch in single(data, other)]
    stream = single(data, other, epochs=1)
    looped = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        looped += [batch["item"].tolist() for batch in stream]
    assert looped == both


def test_what_was_drawn_is_counted(data: Path, other: Path) -> None:
    """Counts of samples, tokens and seconds are those of the rows that came, wherever the stream is."""
    for make in (single, mix):
        stream = make(data, other, **({"drop_last": True} if make is single else {}))
        seen = {name: [0, 0] for name in stream.left_out}
        for batch in stream:
            lengths = batch["video.tokens.length"] * 16
            for number, name in enumerate(seen):
                mine = batch["dataset"] == number
                seen[name][0] += int(mine.sum())
                seen[name][1] += int(lengths[mine].sum())
            drawn = stream.drawn()
            if make is single:
                assert {name: [c["samples"], c["tokens"]] for name, c in drawn.items()} == seen
                assert drawn["data"]["seconds"] == seen["data"][0]
            assert [count["samples"] for count in drawn.values()] == [count for count, _ in seen.values()]
            assert drawn == make(data, other, **({"drop_last": True} if make is single else {})).drawn(
                stream.state_dict()
            )


def test_weights_by_tokens_and_seconds(data: Path, other: Path) -> None:
    """Weights by tokens give tokens in these shares over whole passes, not samples; so do seconds."""
    shares = {}
    for by in ("samples", "tokens", "seconds"):
        stream = TokenStream(
            {"web": 1, "robots": 1},
            datasets={"web": data, "robots": other},
            tracks=["video"],
            global_batch=16,
            steps=290,
            weights_by=by,
        )
        drawn = stream.drawn(stream.state_at(290))
        amounts = [count[by] for count in drawn.values()]
        shares[by] = amounts[0] / sum(amounts)
        assert shares[by] == pytest.approx(0.5, abs=0.005)


def test_a_grown_dataset_goes_on_with_what_was_there(tmp_path: Path) -> None:
    """Shards added since stay out until a stream begins anew; shards that changed are refused."""
    path = video_dataset(tmp_path / "growing", [5, 6])
    stream = TokenStream(path, global_batch=2, epochs=1)
    iterator = iter(stream)
    next(iterator)
    state = stream.state_dict()
    rest = [batch["item"].tolist() for batch in iterator]
    add_recordings(path, [Task(VIDEO, {"late.mp4": range(4)})], 2)
    grown = TokenStream(path, global_batch=2, epochs=1)
    assert len(grown) == 8
    grown.load_state_dict(state)
    assert len(grown) == 6
    assert [batch["item"].tolist() for batch in grown] == rest
    assert grown.left_out == {"data": {"in shards added since the stream began": 4}}
    elsewhere = video_dataset(tmp_path / "elsewhere", [6, 5])
    with pytest.raises(WrongState, match="are not those that the state was taken with"):
        TokenStream(elsewhere, global_batch=2, epochs=1).load_state_dict(state)


def test_states_of_other_streams_are_refused(data: Path, other: Path) -> None:
    """The message says what differs."""
    state = single(data, other).state_dict()
    with pytest.raises(WrongState, match="seed: 3 in the state, 4 here"):
        TokenStream(data, global_batch=8, seed=4, shuffle_window=8, epochs=2).load_state_dict(state)
    with pytest.raises(WrongState, match=r"output: .*batches.*packed"):
        packed(data, other).load_state_dict(state)
    with pytest.raises(WrongState, match="no state of a TokenStream: format is missing"):
        single(data, other).load_state_dict({"step": 4})
    with pytest.raises(WrongState, match="format 99"):
        single(data, other).load_state_dict(state | {"format": 99})


def test_the_state_is_small_and_json(data: Path, other: Path) -> None:
    """A state has under 2 KB of JSON, however far the stream is."""
    stream = mix(data, other, steps=None)
    state = stream.state_at(2000)
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 2000


WRONG = [
    ({"global_batch": 0}, "global_batch must be at least 1, got 0"),
    ({"epochs": 1, "steps": 2}, "both say where to end"),
    ({"steps": 0}, "at least 1"),
    ({"drop_last": True}, "drop_last belongs to epochs="),
    ({"rank": 1}, "rank and world_size belong together"),
    ({"rank": 2, "world_size": 2}, "must be from 0 to 1"),
    ({"rank": 0, "world_size": 3, "global_batch": 4}, "take a multiple of 3"),
    ({"seed": -1}, "must not be negative"),
    ({"weights_by": "hours"}, "must be 'samples', 'tokens' or 'seconds'"),
    ({"schedule": [(3, {"a": 1})]}, "a schedule belongs to a mix"),
    ({"datasets": {"a": "b"}}, "belongs to a mix"),
    ({"split": "test"}, "split must be 'train', 'validation' or None"),
    ({"validation_share": 1.5}, "between 0 and 1"),
    ({"window": 0}, "at least 1 clip"),
    ({"tracks": []}, "tracks is empty"),
    ({"tracks": {"web": ["video"]}}, "tracks names \\['web'\\]"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_wrong_settings_say_what_to_do(options: dict[str, Any], words: str, data: Path) -> None:
    """Settings that do not fit are refused when the stream is made."""
    with pytest.raises(ValueError, match=words):
        TokenStream(data, **options)


def test_wrong_mixes_say_what_to_do(data: Path, other: Path) -> None:
    """So are weights, schedules and tracks that make no sense."""
    sets = {"a": data, "b": other}
    with pytest.raises(ValueError, match="not negative, and not all 0"):
        TokenStream({"a": 0, "b": 0}, datasets=sets)
    with pytest.raises(ValueError, match="which have no weight"):
        TokenStream({"a": 1}, datasets=sets)
    with pytest.raises(ValueError, match="an empty mix"):
        TokenStream({})
    with pytest.raises(ValueError, match="a mix has no epochs"):
        TokenStream({"a": 1, "b": 1}, datasets=sets, epochs=1)
    with pytest.raises(ValueError, match="must be above 0 and ascending"):
        TokenStream({"a": 1, "b": 1}, datasets=sets, schedule=[(0, {"a": 1})])
    with pytest.raises(ValueError, match="the schedule names \\['c'\\] from step 3 on"):
        TokenStream({"a": 1, "b": 1}, datasets=sets, schedule=[(3, {"c": 1})])
    with pytest.raises(
        UnknownName, match="no layout has all of the tracks \\['nothing'\\]; it has video: video"
    ):
        TokenStream(data, tracks=["nothing"])
    with pytest.raises(TypeError, match=r"write \['video'\]"):
        TokenStream(data, tracks="video")
    with pytest.raises(TypeError, match="endless stream has no length"):
        len(TokenStream(data))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        TokenStream(data.parent / "missing")
