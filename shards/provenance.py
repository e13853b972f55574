"""The `json` member: the same keys and types in every sample of a layout, never null.

Readers such as Hugging Face `datasets` give every column one type, and can't give an empty list or a
null any. So the writer takes the types from a shard's first sample and holds all others to them.

    {"id": "string", "start_ns": "int64", "tracks": {"video": {"valid": "int64"}}, "crop": ["int64"]}
"""

from __future__ import annotations

from typing import Any

Types = dict[str, Any]
"""The types of a JSON object: per key a name, a one-element list, or again such a dict."""

_NAMES: dict[type, str] = {str: "string", int: "int64", float: "float64", bool: "bool"}
_INT64 = range(-(2**63), 2**63)


def types_of(value: Any, where: str = "json") -> Any:
    """Return the types of a JSON value.

    Raises:
        ValueError: a null, an empty or mixed list, an empty object, or something that is not JSON.
    """
    kind = type(value)
    if kind is dict:
        if not value:
            raise ValueError(f"{where} is an empty object; leave it out or give it a key in every sample")
        return {key: types_of(item, f"{where}.{key}") for key, item in value.items()}
    if kind in _NAMES:
        if kind is int and value not in _INT64:
            raise ValueError(f"{where} is {value}, which does not fit int64")
        return _NAMES[kind]
    if kind is list:
        types = [types_of(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if not types or any(item != types[0] for item in types):
            raise ValueError(f"{where} is {value!r}; a list must hold at least one value, all of one type")
        return types[:1]
    raise ValueError(
        f"{where} is {value!r} ({kind.__name__}); use text, int, float, bool, list or dict, and never null"
    )


def differences(expected: Any, got: Any, where: str = "json") -> list[str]:
    """Return in words where two types differ; empty where they are equal."""
    if isinstance(expected, dict) and isinstance(got, dict):
        found = [f"{where}.{key} is missing" for key in sorted(expected.keys() - got.keys())]
        found += [f"{where}.{key} is not in the first sample" for key in sorted(got.keys() - expected.keys())]
        for key in sorted(expected.keys() & got.keys()):
            found += differences(expected[key], got[key], f"{where}.{key}")
        return found
    return [] if expected == got else [f"{where} is {got}, and {expected} in the first sample"]


class TypesMatcher:
    """Tells, without building anything, whether a value has given types: `types_of(value) == types`."""

    def __init__(self, types: Types) -> None:
        kinds = {name: kind for kind, name in _NAMES.items()}
        self._keys = frozenset(types)
        self._leaves = [
            (key, kinds[of]) for key, of in types.items() if isinstance(of, str) and of != "int64"
        ]
        self._ints = [key for key, of in types.items() if of == "int64"]
        self._objects = [(key, TypesMatcher(of)) for key, of in types.items() if isinstance(of, dict)]
        self._lists = [(key, of) for key, of in types.items() if isinstance(of, list)]

    def fits(self, value: Any) -> bool:
        """Tell whether a value has these types. False also where it has none (a null)."""
        if type(value) is not dict or value.keys() != self._keys:
            return False
        for key in self._ints:
            item = value[key]
            if type(item) is not int or not -(2**63) <= item < 2**63:
                return False
        for key, kind in self._leaves:
            if type(value[key]) is not kind:
                return False
        for key, types in self._lists:
            if types_of(value[key]) != types:
                return False
        return all(matcher.fits(value[key]) for key, matcher in self._objects)
