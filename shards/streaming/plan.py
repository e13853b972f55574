"""A stream's parts put together: what is read, in which order, dealt to whom, and made into what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from shards.errors import NothingToStream
from shards.streaming.batch import as_tensors
from shards.streaming.dealing import Dealer, Draws, Shares, lane_position
from shards.streaming.interleaving import Interleaver
from shards.streaming.item import StreamSample
from shards.streaming.order import EpochOrder, IntArray, distinct, mix
from shards.streaming.packing import PackedRows, Packer, Waste
from shards.streaming.padding import Padder, fields_of
from shards.streaming.selection import Selection
from shards.streaming.settings import Output, Settings
from shards.streaming.vocabulary import Vocabulary


class Plan:
    """Everything that is the same in all processes of a stream."""

    def __init__(
        self,
        settings: Settings,
        output: Output,
        selections: Sequence[Selection],
        vocabulary: Vocabulary | None,
    ) -> None:
        self.selections = selections
        self.vocabulary = vocabulary
        self._settings = settings
        self._output = output
        self.orders = [
            EpochOrder(s.counts, mix(mix(settings.seed) ^ number), settings.shuffle_window)
            for number, s in enumerate(selections)
        ]
        for order, selection in zip(self.orders, selections, strict=True):
            order.upcoming = selection.expect
        self.packed: list[PackedRows] = []
        if output.kind == "packed":
            assert vocabulary is not None
            interleaver = Interleaver(vocabulary, output.slot_ns)
            self.packed = [
                PackedRows(s, order, interleaver, output.length, output.slot_ns, 2 * settings.global_batch)
                for s, order in zip(selections, self.orders, strict=True)
            ]
            self._packer = Packer(self.packed, vocabulary, output.length)
        elif output.kind == "batches":
            self._padder = Padder(selections, fields_of(selections, output.members, output.dtype))
        units = tuple(part.count for part in (self.packed or self.selections))
        shares = None
        if settings.is_mix:
            shares = Shares(settings.fractions(self._amounts(units)), settings.global_batch)
        self.dealer = Dealer(
            units, settings.global_batch, settings.seed, shares, settings.by_epoch, settings.drop_last
        )
        if settings.by_epoch and not self.dealer.steps_per_epoch:
            raise NothingToStream(
                f"{units[0]} samples or rows do not fill one global batch of {settings.global_batch}, and "
                "drop_last drops what is not full; take a smaller global_batch, or leave drop_last out"
            )

    def _amounts(self, units: Sequence[int]) -> list[Fraction]:
        """Return how many samples, tokens or seconds (ns) one unit of each dataset has, on average."""
        amounts = []
        for selection, count in zip(self.selections, units, strict=True):
            match self._settings.weights_by:
                case "samples":
                    total = selection.count
                case "tokens":
                    total = int(selection.tokens.sum())
                case "seconds":
                    total = int(selection.length_ns.sum())
            if not total:
                raise NothingToStream(
                    f"{selection.name}: its tracks have no {self._settings.weights_by}, so no weight by "
                    "them can be kept; leave it out of the mix"
                )
            amounts.append(Fraction(total, count))
        return amounts

    def items(self, draws: Draws) -> IntArray:
        """Return the number of each draw's item in its dataset, -1 in empty rows; not for packed rows."""
        items = np.full(draws.dataset.shape, -1, np.int64)
        for number, order in enumerate(self.orders):
            mine = draws.dataset == number
            for epoch in distinct(draws.epoch[mine]):
                here = mine & (draws.epoch == epoch)
                items[here] = order.items(epoch, draws.position[here])
        return items

    def batches(self, draws: Draws) -> Iterator[dict[str, Any]]:
        """Yield the arrays, or tensors, of one batch after the other."""
        tensors = self._output.tensors
        if self.packed:
            for triple in zip(draws.dataset, draws.epoch, draws.position, strict=True):
                arrays = self._packer.build(*triple)
                yield dict(zip(arrays, as_tensors(list(arrays.values())), strict=True)) if tensors else arrays
            return
        items = self.items(draws)
        located = self._padder.locate(draws.dataset.reshape(-1), items.reshape(-1))
        columns = self._padder.columns(located, items.shape[1])
        columns |= {"dataset": draws.dataset, "item": items}
        if tensors:
            columns = {name: as_tensors(column) for name, column in columns.items()}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def sample(self, dataset: int, item: int) -> StreamSample:
        """Return one item of a dataset."""
        selection = self.selections[dataset]
        clips = selection.clips(item)
        return StreamSample(selection.name, item, clips, selection.tracks_of(clips[0][0].entry.layout))

    def drawn(self, taken: Sequence[int]) -> dict[str, dict[str, Any]]:
        """Return what was drawn, per dataset, after it gave so many units."""
        return {
            selection.name: self._packed_drawn(number, count) if self.packed else self._drawn(number, count)
            for number, (selection, count) in enumerate(zip(self.selections, taken, strict=True))
        }

    def _drawn(self, number: int, count: int) -> dict[str, Any]:
        selection, order = self.selections[number], self.orders[number]
        if self.dealer.by_epoch and self.dealer.drop_last:
            dealt = self.dealer.steps_per_epoch * self.dealer.global_batch
        else:
            dealt = selection.count
        epochs, inner = divmod(count, dealt)
        times = np.zeros(selection.count, np.int64)
        if dealt == selection.count:
            times += epochs
        else:  # every epoch drops others
            for epoch in range(epochs):
                times[order.items(epoch, self._dealt_positions(dealt, dealt))] += 1
        times[order.items(epochs, self._dealt_positions(inner, dealt))] += 1
        return {
            "samples": count,
            "tokens": int(selection.tokens @ times),
            "seconds": int(selection.length_ns @ times) / 1e9,
            "epochs": count / dealt,
        }

    def _dealt_positions(self, count: int, dealt: int) -> IntArray:
        return lane_position(np.arange(count, dtype=np.int64), dealt, self.dealer.global_batch)

    def _packed_drawn(self, number: int, count: int) -> dict[str, Any]:
        return {
            "rows": count,
            "ids": count * self._output.length,
            "epochs": count / self.packed[number].count,
        }

    def waste(self) -> dict[str, Waste]:
        """Return, per dataset, what of one epoch's packed rows holds no code."""
        found = {}
        for rows in self.packed:
            places = rows.count * self._output.length
            codes = rows.codes
            found[rows.selection.name] = Waste(places, codes, rows.total - codes, places - rows.total)
        return found


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say which settings of two streams differ."""
    return [
        f"{name}: {found.get(name)!r} in the state, {wanted.get(name)!r} here"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
