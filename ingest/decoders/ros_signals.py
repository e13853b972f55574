"""ROS messages with numbers -> rows of a signal track (which numbers: `ros_columns`)."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from ingest.decoders.bulk import Bulk
from ingest.decoders.ros_columns import (
    JOINT_STATE,
    Leaf,
    Path,
    TypeFields,
    joints_of,
    leaves_of,
    sequence_fields,
)
from ingest.decoders.ros_layout import Layout, ManyValues, Values, layout_of
from ingest.decoders.row_batches import RowBatches
from ingest.errors import CannotDecode
from ingest.recording import Packet, Rows


class SignalType(TypeFields, Protocol):
    """A message type with what reads its messages."""

    @property
    def ros1(self) -> bool:
        """Whether messages are serialised as in ROS 1; else CDR."""
        ...

    def raw(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return the serialised message in what the bag holds. Raises `CannotDecode`."""
        ...

    def deserialize(self, data: bytes | memoryview) -> Any:
        """Return the message. Raises `CannotDecode`."""
        ...


class RosSignals:
    """Decoder of one signal track.

    Args:
        columns: the track's columns, in order; those that the type alone gives come first.
        message_type: the type of its messages.
    """

    def __init__(self, columns: Sequence[str], message_type: SignalType) -> None:
        self._type = message_type
        self._width = len(columns)
        self._read: ReadValues = reader_of(message_type)
        self._layout = layout_of(message_type, ros1=message_type.ros1)
        self._ready: list[Rows] = []
        self._joints = message_type.name == JOINT_STATE
        self._at = {name: index for index, name in enumerate(columns)}
        self._places = {
            name: [index for index, column in enumerate(columns) if column.startswith(f"{name}[")]
            for name in sequence_fields(message_type.name)
        }
        self._joint_places: dict[tuple[str, tuple[str, ...], int], tuple[list[int], list[int]]] = {}
        self._batches = RowBatches()

    def decode(self, packet: Packet) -> list[Rows]:
        """See `Decoder`."""
        if isinstance(packet.data, Bulk):
            return self._decode_many(packet.data)
        values = self._read(self._type.raw(packet.data))
        row: Sequence[float] | np.ndarray = values.numbers
        if self._places:
            row = self._with_arrays(values)
        return self._batches.add(packet.time_ns, row)

    def flush(self) -> list[Rows]:
        """See `Decoder`."""
        ready, self._ready = self._ready, []
        return [*ready, *self._batches.flush()]

    def _decode_many(self, bulk: Bulk) -> list[Rows]:
        """Decode messages that came together; those that are not laid out as the first one by one.

        What was decoded before an error comes with the next call.
        """
        ready, self._ready = [*self._ready, *self._batches.flush()], []
        assert self._layout is not None
        try:
            many = self._layout.read_many(bulk.data)
        except CannotDecode:  # it is the first one that is damaged: then each by itself
            nothing = np.full((len(bulk.data), self._width), np.nan)
            many = ManyValues(np.zeros(len(bulk.data), bool), nothing, {}, ())
        values = many.numbers
        if self._places:
            values = np.full((len(values), self._width), np.nan)
            values[:, : many.numbers.shape[1]] = many.numbers
            for name, array in many.arrays.items():
                sources, targets = self._places_of(name, many.names, array.shape[1])
                values[:, targets] = array[:, sources]
        bad, cause = [], ""
        for index in np.flatnonzero(~many.alike).tolist():
            try:
                found = self._read(bulk.data[index].tobytes())
                values[index] = self._with_arrays(found) if self._places else found.numbers
            except CannotDecode as error:
                bad.append(index)
                cause = str(error)
        values[np.isinf(values)] = np.nan
        ready.append(Rows(np.delete(bulk.times_ns, bad), np.delete(values, bad, axis=0)))
        if bad:
            self._ready = ready
            raise CannotDecode(cause if len(bad) == 1 else f"{cause}, {len(bad)} times")
        return ready

    def _with_arrays(self, values: Values) -> np.ndarray:
        row = np.full(self._width, np.nan)
        row[: len(values.numbers)] = values.numbers
        for name, places in self._places.items():
            array = values.arrays.get(name)
            if array is not None and places:
                sources, targets = self._places_of(name, values.names, len(array))
                row[targets] = array[sources]
        return row

    def _places_of(self, name: str, names: tuple[str, ...], length: int) -> tuple[list[int], list[int]]:
        """Return which values of an array go to which columns."""
        if self._joints:
            return self._joint_columns(name, names, length)
        places = self._places[name]
        count = min(length, len(places))
        return list(range(count)), places[:count]

    def _joint_columns(self, name: str, names: tuple[str, ...], length: int) -> tuple[list[int], list[int]]:
        """Return which values of a JointState's field go to which columns; of two values for the same
        joint the first one counts.
        """
        key = name, names, length
        if key not in self._joint_places:
            columns = [self._at.get(f"{name}[{joint}]") for joint in joints_of(names, length)]
            first = {column: index for index, column in reversed(list(enumerate(columns)))}
            first.pop(None, None)
            if len(self._joint_places) > 1000:  # names that change all the time
                self._joint_places.clear()
            self._joint_places[key] = list(first.values()), [int(column or 0) for column in first]
        return self._joint_places[key]


ReadValues = Callable[[bytes | memoryview], Values]
"""Reads one message. Raises `CannotDecode`."""


def reader_of(message_type: SignalType) -> ReadValues:
    """Return what reads a type's messages: by its layout, or by the ordinary deserialiser."""
    layout: Layout | None = layout_of(message_type, ros1=message_type.ros1)
    return layout.read if layout else object_reader(message_type)


def object_reader(message_type: SignalType) -> ReadValues:
    """Return what reads a type's messages by making objects of them."""
    leaves = list(leaves_of(message_type))
    getters = [(_getter(leaf), leaf) for leaf in leaves if leaf.kind]
    sequences = [(leaf.name, _getter(leaf)) for leaf in leaves if leaf.known]
    has_joints = message_type.name == JOINT_STATE and any(
        leaf.name == "name" and leaf.base == "string" and leaf.many for leaf in leaves
    )

    def read(data: bytes | memoryview) -> Values:
        message = message_type.deserialize(data)
        numbers: list[float] = []
        for get, leaf in getters:
            value = get(message)
            if leaf.fixed_array:
                numbers += value.tolist()
            else:
                numbers.append(float(value.sec) + float(value.nanosec) * 1e-9 if leaf.duration else value)
        arrays = {name: np.asarray(get(message)) for name, get in sequences}
        arrays = {name: array for name, array in arrays.items() if len(array)}
        return Values(tuple(numbers), arrays, tuple(message.name) if has_joints else ())

    return read


def _getter(leaf: Leaf) -> Callable[[Any], Any]:
    """Return what gets a field, however deep, from a message."""
    # rosbags lets `from` be `from_` in its messages
    path: Path = tuple(
        f"{step}_" if isinstance(step, str) and keyword.iskeyword(step) else step for step in leaf.path
    )
    if all(isinstance(step, str) for step in path):
        return attrgetter(".".join(str(step) for step in path))

    def get(value: Any) -> Any:
        for step in path:
            value = getattr(value, step) if isinstance(step, str) else value[step]
        return value

    return get
