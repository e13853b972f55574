"""`TokenStream`: training batches from one dataset or a mix, exact and elastic.

    stream = TokenStream("dataset/", global_batch=32, seed=7)
    for batch in stream.batches(): ...                          padded, with lengths
    for batch in stream.packed(2048): ...                       rows of a fixed length, one vocabulary
    for sample in stream.samples(): ...                         one by one, as views

    stream = TokenStream({"web": 0.7, "robots": 0.3}, datasets={"web": "data/web", "robots": "data/robots"},
                         steps=10_000, global_batch=256)
    loader = DataLoader(stream.packed(2048), batch_size=None, num_workers=2)

What a global batch holds depends on the datasets, the settings and the number of its step: not on the
number of ranks, of workers, or on where the stream was stopped and went on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shards.errors import WrongState
from shards.remote.options import RemoteOptions
from shards.streaming.batch import Batch, as_tensors, settle_in_worker
from shards.streaming.item import StreamSample
from shards.streaming.packing import Waste
from shards.streaming.plan import Plan
from shards.streaming.position import FORMAT, Position, check_state
from shards.streaming.selection import Choice, Selection, Split
from shards.streaming.settings import Output, Settings, WeightsBy, named_weights, scheduled
from shards.streaming.source import open_source
from shards.streaming.torch_bridge import Place, rank_of_process, register_as_iterable, worker_of_process
from shards.streaming.vocabulary import Vocabulary

if TYPE_CHECKING:  # so that type checkers know what `isinstance` finds out
    from torch.utils.data import IterableDataset

    _Iterable = IterableDataset[Any]
else:
    _Iterable = object

Json = dict[str, Any]
_ROWS_PLANNED = 1024
"""Rows whose place in the order is worked out at once."""


class TokenStream(_Iterable):
    """An iterable over batches (or samples, or packed rows) of a dataset or a mix.

    Where torch is loaded it is an `IterableDataset`: `DataLoader(stream, batch_size=None, num_workers=2)`.
    Each iteration begins where `load_state_dict` or `set_epoch` put it, else at the start.
    """

    def __init__(
        self,
        data: str | Path | Mapping[str, float],
        *,
        datasets: Mapping[str, str | Path] | None = None,
        global_batch: int = 1,
        seed: int = 0,
        shuffle_window: int = 8192,
        epochs: int | None = None,
        steps: int | None = None,
        drop_last: bool = False,
        weights_by: WeightsBy = "samples",
        schedule: Sequence[tuple[int, Mapping[str, float]]] = (),
        tracks: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        split: Split | None = None,
        validation_share: float = 0.05,
        window: int = 1,
        stride: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        open_shards: int = 128,
        remote: RemoteOptions | None = None,
    ) -> None:
        """Open the datasets, and check everything.

        Args:
            data: a dataset's path or address; or a mix: weights by name.
            datasets: of a mix, the path of each name; a name that is missing here is a path itself.
            global_batch: rows of a batch over all ranks together; the number of ranks divides it.
            seed: another one gives another order.
            shuffle_window: samples that are shuffled together (shards are, too); 0: in the dataset's order.
            epochs: end after so many passes over a single dataset, each ended by a batch of its own. Where
                neither `epochs` nor `steps` is given, the stream is endless.
            steps: end after so many global batches; passes then follow each other within batches.
            drop_last: leave out the last batch of a pass where it would have empty rows (with `epochs`).
            weights_by: what the weights are shares of.
            schedule: (step, weights) from which other weights hold.
            tracks: read the layouts that have all of these, and only these; of a mix, also per dataset. None
                reads everything.
            split: `train` or `validation`, by a hash of the recording's content; no recording is in both.
            validation_share: of the recordings.
            window: clips that follow each other in a recording are joined to items of so many.
            stride: clips from one window's start to the next; `window` where left out.
            rank: of this process; where left out, as `torch.distributed` or `torchrun` say, else 0 of 1.
            world_size: number of ranks; with `rank`.
            open_shards: how many shards are mapped at a time, per process.
            remote: how addresses (`https://…`, `s3://…`) are read, and where they are cached.

        Raises:
            ValueError: settings that do not fit together.
            NotADataset, FileNotFoundError, DamagedDataset: a dataset can't be opened.
            UnknownName, NothingToStream: nothing is left to stream.
        """
        names, paths, weights = named_weights(data, datasets)
        _check_end(bool(weights), epochs, steps, drop_last)
        if schedule and not weights:
            raise ValueError("a schedule belongs to a mix; give weights by name, as in {'web': 0.5}")
        per_dataset = tracks if isinstance(tracks, Mapping) else dict.fromkeys(names, tracks)
        if not per_dataset.keys() <= set(names):
            raise ValueError(
                f"tracks names {sorted(per_dataset.keys() - set(names))}; the mix has {list(names)}"
            )
        self._settings = Settings(
            names,
            paths,
            tuple(
                Choice(_names(per_dataset.get(name)), split, validation_share, window, stride or window)
                for name in names
            ),
            scheduled(names, weights, schedule) if weights else (),
            weights_by,
            global_batch,
            seed,
            shuffle_window,
            epochs is not None,
            drop_last,
        )
        if (rank is None) != (world_size is None):
            raise ValueError(f"rank and world_size belong together, got {rank} and {world_size}")
        self._rank = None if rank is None or world_size is None else Place(rank, world_size)
        if self._rank is not None:
            self._rows_of(self._rank)
        self._epochs, self._steps = epochs, steps
        self._open_shards = open_shards
        self._remote = remote
        self._output = Output()
        self._vocabulary: Vocabulary | None = None
        self._shards_used: dict[str, int] = {}
        self._selections: list[Selection] | None = self._open({})
        self._plan: Plan | None = None
        self._first_epoch = 0
        self._start = self._now = Position(0, 0, (0,) * len(names))

    @property  # type: ignore[misc]  # `isinstance` asks for this: the one moment at which torch must know us
    def __class__(self) -> type[TokenStream]:
        register_as_iterable(TokenStream)
        return TokenStream

    def __reduce__(self) -> Any:
        rank = self._rank or rank_of_process()  # a spawned worker could not know
        mapped = {"_selections": None, "_plan": None, "_rank": rank}
        return _revive, (self.__dict__ | mapped,)

    # what comes out

    def samples(self) -> TokenStream:
        """Return this stream as one of single samples (`StreamSample`), rank by rank, without empty rows."""
        return self._yielding(Output("samples"))

    def batches(
        self, members: Sequence[str] = ("tokens",), dtype: npt.DTypeLike | None = None, tensors: bool = False
    ) -> TokenStream:
        """Return this stream as one of padded batches.

        A batch is a dict: `TRACK.tokens` [rows, longest, ...], padded with zeros; `TRACK.tokens.length`,
        int64 [rows]; `dataset` and `item`, int64 [rows]: where each row is from, -1 for an empty row; `step`;
        and, of a mix, `drawn`, int64 [datasets]: units given so far. Each rank has its rows,
        padded to the longest of them.

        Args:
            members: the kinds of arrays: `tokens`, `times`, `values`, `features`, `offsets`.
            dtype: of the tokens; None leaves each as it is stored.
            tensors: give torch tensors. A `DataLoader` makes them of arrays, too, but not as fast.

        Raises:
            UnknownName: there is no such array.
            WrongLayout: layouts disagree on an array's shape.
        """
        wanted = None if dtype is None else np.dtype(dtype).name
        return self._yielding(Output("batches", tuple(members), wanted, tensors))

    def packed(
        self,
        length: int,
        vocabulary: Vocabulary | None = None,
        slot_ns: int = 500_000_000,
        tensors: bool = False,
    ) -> TokenStream:
        """Return this stream as one of packed rows: clips one behind the other, tracks interleaved by time.

        A batch is a dict: `tokens`, int32 [rows, length]; `length`, `position_ids`, `cu_seqlens`,
        `max_seqlen` and `item` (`shards.streaming.packing`); `dataset`, `step` and `drawn` as in `batches`.

        Args:
            length: ids in a row.
            vocabulary: what the ids mean; made of the layouts where left out. See `vocabulary`.
            slot_ns: how long one track speaks before the next one does (`shards.streaming.interleaving`).
            tensors: give torch tensors, as in `batches`.

        Raises:
            UnknownName: no wanted track has codes, or one is not in the vocabulary.
            WrongLayout: a track's codes differ between layouts.
        """
        if length < 1 or slot_ns < 1:
            raise ValueError(f"length and slot_ns must be at least 1, got {length} and {slot_ns}")
        selections = self._opened()
        pairs = [(layout, s.tracks_of(layout)) for s in selections for layout in s.layouts]
        needed = Vocabulary.of_layouts(pairs)
        vocabulary = needed if vocabulary is None else vocabulary
        vocabulary.check_covers(needed)
        output = Output(
            "packed", tensors=tensors, length=length, slot_ns=slot_ns, vocabulary=vocabulary.digest
        )
        return self._yielding(output, vocabulary)

    def _yielding(self, output: Output, vocabulary: Vocabulary | None = None) -> TokenStream:
        other = _revive(dict(self.__dict__))
        other._output, other._vocabulary, other._plan = output, vocabulary, None
        other._planned()  # so that what is wrong is said here
        return other

    # what it is

    @property
    def vocabulary(self) -> Vocabulary:
        """What the ids of packed rows mean. Save it with the run."""
        if self._vocabulary is None:
            raise ValueError("only packed rows have a vocabulary; see packed()")
        return self._vocabulary

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """Per dataset, how many samples are not streamed, by the reason."""
        return {selection.name: dict(selection.left_out) for selection in self._opened()}

    @property
    def waste(self) -> dict[str, Waste]:
        """Per dataset, what of an epoch's packed rows holds no code."""
        return self._planned().waste()

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in one pass over a single dataset, with `epochs`."""
        if not self._settings.by_epoch:
            raise ValueError("only a stream with epochs= has passes of a whole number of steps")
        return self._planned().dealer.steps_per_epoch

    def __len__(self) -> int:
        """Return the batches (or samples) of one whole iteration on this rank.

        Raises:
            TypeError: the stream is endless.
        """
        stop = self._stop()
        if stop is None:
            raise TypeError("an endless stream has no length; give epochs= or steps=")
        first = self._first_epoch * self.steps_per_epoch if self._settings.by_epoch else 0
        if self._output.kind != "samples":
            return stop - first
        taken = self._planned().dealer
        if self._rank_now().count > 1:
            raise TypeError("the number of samples of one rank is not known beforehand")
        return sum(taken.taken_before(stop)) - sum(taken.taken_before(first))

    def sample(self, item: int, dataset: int = 0) -> StreamSample:
        """Return an item by its number, as `item` and `dataset` of a batch give it: any token can be traced.

        Raises:
            IndexError: there is no such item.
        """
        return self._planned().sample(dataset, item)

    # iteration

    def __iter__(self) -> Iterator[Any]:
        worker = worker_of_process() or Place(0, 1)
        if worker_of_process() is not None:
            settle_in_worker()
        rank, start = self._rank_now(), self._start
        if start.worker is not None and start.worker != worker:
            raise WrongState(
                f"the state is that of worker {start.worker.number} of {start.worker.count}, not of a whole "
                "stream; keep what state_after(batch) returns, or let the loader that made it load it"
            )
        self._now = start
        if self._output.kind == "samples":
            return self._iterate_samples(start, rank, worker)
        return self._iterate_batches(start, rank, worker)

    def _iterate_batches(self, start: Position, rank: Place, worker: Place) -> Iterator[Any]:
        plan, rows = self._planned(), self._rows_of(rank)
        step, taken = start.first_step(worker), start.taken
        taken = tuple(plan.dealer.skip(start.step, step - start.step, taken))
        mark = worker if worker.count > 1 else None
        stop = self._stop()
        steps, most = 1, max(1, _ROWS_PLANNED // (rows.stop - rows.start))
        while stop is None or step < stop:
            if stop is not None:
                steps = min(steps, -(-(stop - step) // worker.count))
            draws, after = plan.dealer.deal(step, steps, worker.count, taken)
            mine = draws.row_range(rows.start, rows.stop)
            for arrays, drawn in zip(plan.batches(mine), after, strict=True):
                batch = Batch(arrays)
                more = {"step": np.array(step)} | ({"drawn": drawn} if len(drawn) > 1 else {})
                values = list(more.values())
                batch.update(zip(more, as_tensors(values) if self._output.tensors else values, strict=True))
                step += worker.count
                self._now = Position(step - worker.count + 1, 0, tuple(drawn.tolist()), mark)
                yield batch
            taken = tuple(plan.dealer.skip(step - worker.count + 1, worker.count - 1, after[-1].tolist()))
            steps = min(2 * steps, most)  # the first batch is there soon

    def _iterate_samples(self, start: Position, rank: Place, worker: Place) -> Iterator[StreamSample]:
        plan, rows = self._planned(), self._rows_of(rank)
        step, taken, skip = start.step, start.taken, start.row
        turn = worker.number if start.worker is None else worker.count - 1
        mark = worker if worker.count > 1 else None
        stop = self._stop()
        while stop is None or step < stop:
            draws, after = plan.dealer.deal(step, 1, 1, taken)
            mine = draws.row_range(rows.start, rows.stop)
            items = plan.items(mine)[0]
            pairs = [
                pair for pair in zip(mine.dataset[0].tolist(), items.tolist(), strict=True) if pair[0] >= 0
            ]
            following = tuple(after[0].tolist())
            for number, (dataset, item) in enumerate(pairs[skip:], skip + 1):
                if turn == 0:
                    sample = plan.sample(dataset, item)
                    done = number == len(pairs)
                    self._now = Position(
                        step + done, 0 if done else number, following if done else taken, mark
                    )
                    yield sample
                turn = (turn - 1) % worker.count
            step, taken, skip = step + 1, following, 0

    # state

    def state_dict(self) -> Json:
        """Return where the latest iteration is: a small JSON object, the same on every rank.

        In a worker process it says where this worker is; to save the place of a `DataLoader` with workers,
        take `state_after(batch)`, or torchdata's `StatefulDataLoader`.
        """
        return self._state(self._now)

    def state_after(self, batch: Mapping[str, Any]) -> Json:
        """Return the state from which the stream goes on with the batch after this one.

        It works wherever the batch came from: any rank, worker or loader.
        """
        step = int(batch["step"]) + 1
        if "drawn" not in batch:
            return self.state_at(step)
        return self._state(Position(step, 0, tuple(np.asarray(batch["drawn"]).tolist())))

    def state_at(self, step: int) -> Json:
        """Return the state from which the stream goes on with a step.

        Of a mix all steps before are counted, some 20 us each; `state_after` and `state_dict` need not.
        """
        return self._state(Position(step, 0, tuple(self._planned().dealer.taken_before(step))))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iterations where a state was taken; on any number of ranks and workers.

        Shards that were added to a dataset since then stay out until a stream begins anew (`left_out` counts
        them).

        Raises:
            WrongState: it is the state of another stream; the message says what differs.
        """
        position = check_state(state, self._settings, self._output)
        shards = {name: int(found["shards"]) for name, found in state["datasets"].items()}
        if shards != {selection.name: selection.shards_in_dataset for selection in self._opened()}:
            self._shards_used, self._selections, self._plan = shards, self._open(shards), None
        for selection in self._opened():
            if state["datasets"][selection.name]["sha256"] != selection.digest:
                raise WrongState(
                    f"{selection.name}: its first {shards[selection.name]} shards are not those that the "
                    "state was taken with; a dataset may grow, but what was there must stay"
                )
        if position.row and self._rank_now().count != state["ranks"]:
            raise WrongState(
                f"the state lies within a global batch, between samples of {state['ranks']} ranks; with "
                "another number of ranks a stream goes on only after whole global batches"
            )
        self._start = self._now = position
        self._first_epoch = int(state["epoch"])

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iterations at the start of a pass (with `epochs`, of which each has as many)."""
        step = epoch * self.steps_per_epoch
        self._first_epoch = epoch
        self._start = self._now = Position(step, 0, tuple(self._planned().dealer.taken_before(step)))

    def drawn(self, state: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """Return what was drawn so far, per dataset: `samples`, `tokens`, `seconds`, `epochs`.

        Packed rows: `rows`, `ids`, `epochs`. Counted over all ranks, from the stream's first step.

        Args:
            state: at which place; where the latest iteration is, where left out.
        """
        position = self._now if state is None else check_state(state, self._settings, self._output)
        return self._planned().drawn(position.taken)

    def _state(self, position: Position) -> Json:
        state: Json = {
            "format": FORMAT,
            "step": position.step,
            "row": position.row,
            "ranks": self._rank_now().count,
            "epoch": self._first_epoch,
            "taken": list(position.taken),
            "datasets": {s.name: {"shards": s.shards_in_dataset, "sha256": s.digest} for s in self._opened()},
            "settings": self._settings.to_json(),
            "output": self._output.to_json(),
        }
        if position.worker is not None:
            state["worker"] = [position.worker.number, position.worker.count]
        return state

    # parts

    def _stop(self) -> int | None:
        """Return the step before which the iteration ends; None if it does not."""
        if self._epochs is not None:
            return (self._first_epoch + self._epochs) * self.steps_per_epoch
        return self._steps

    def _rank_now(self) -> Place:
        return self._rank or rank_of_process()

    def _rows_of(self, rank: Place) -> range:
        size, rest = divmod(self._settings.global_batch, rank.count)
        if rest:
            raise ValueError(
                f"global_batch {self._settings.global_batch} can't be dealt evenly to {rank.count} ranks; "
                f"take a multiple of {rank.count}"
            )
        return range(rank.number * size, (rank.number + 1) * size)

    def _open(self, shards: Mapping[str, int]) -> list[Selection]:
        settings = self._settings
        triples = zip(settings.names, settings.paths, settings.choices, strict=True)
        return [
            Selection(name, *open_source(path, self._remote), choice, self._open_shards, shards.get(name))
            for name, path, choice in triples
        ]

    def _opened(self) -> list[Selection]:
        if self._selections is None:
            self._selections = self._open(self._shards_used)
        return self._selections

    def _planned(self) -> Plan:
        if self._plan is None:
            self._plan = Plan(self._settings, self._output, self._opened(), self._vocabulary)
        return self._plan


def _revive(values: dict[str, Any]) -> TokenStream:
    stream = TokenStream.__new__(TokenStream)
    stream.__dict__.update(values)
    return stream


def _names(tracks: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(tracks, str):
        raise TypeError(f"tracks must be a list of names, got the text {tracks!r}; write [{tracks!r}]")
    return None if tracks is None else tuple(tracks)


def _check_end(is_mix: bool, epochs: int | None, steps: int | None, drop_last: bool) -> None:
    if epochs is not None and steps is not None:
        raise ValueError(f"epochs={epochs} and steps={steps} both say where to end; give one of them")
    if min(1 if epochs is None else epochs, 1 if steps is None else steps) < 1:
        raise ValueError(f"epochs and steps must be at least 1, got {epochs} and {steps}")
    if is_mix and epochs is not None:
        raise ValueError(
            "a mix has no epochs, as its datasets end at different steps; give steps=, or leave it endless"
        )
    if drop_last and epochs is None:
        raise ValueError("drop_last belongs to epochs=: without them no batch has empty rows")
