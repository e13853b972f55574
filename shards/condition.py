"""Conditions on samples, as `fifth reshard --where` takes them. Parsed by the grammar below, never run.

    condition   = conjunction { "or" conjunction }
    conjunction = term { "and" term }
    term        = "not" term | "(" condition ")" | value operator value
    operator    = "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"
    value       = a field, a number (2, 0.5, -1e3), or a text in ' or " ('videos/*.mp4')

`~` matches a text with a glob, capitals as they are. Fields:

    recording       name of the recording              layout      name of the sample's layout
    id              content id of the recording        start       seconds after the recording's origin
    seconds         length of the clip                 tokens      codes of all tracks
    tokens.TRACK    codes of one track, 0 without it   valid.TRACK its valid length, 0 without it
    json.PATH       a value of the sample's provenance, such as json.tracks.video.source_width

A provenance value that is not there, or of another kind than what it is compared with, fits no comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from shards.errors import WrongCondition

Value = str | float | int
LookUp = Callable[[str], Any]
"""From a field's name to its value; None where it has none."""

_TEXTS = {"recording", "layout", "id"}
_NUMBERS = {"seconds", "start", "tokens"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge, "~": fnmatchcase,
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
          |(?P<text>'[^']*'|"[^"]*")
          |(?P<word>[A-Za-z_][\w.\-]*)
          |(?P<sign>==|!=|<=|>=|<|>|~|\(|\)))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Field:
    name: str

    @property
    def kind(self) -> str:
        if self.name in _TEXTS:
            return "text"
        return "" if self.name.startswith("json.") else "number"


@dataclass(frozen=True)
class _Comparison:
    left: _Field | Value
    sign: str
    right: _Field | Value

    def holds(self, look_up: LookUp) -> bool:
        left, right = (look_up(v.name) if isinstance(v, _Field) else v for v in (self.left, self.right))
        kind = _kind(left)
        return bool(kind) and kind == _kind(right) and _OPERATORS[self.sign](left, right)


@dataclass(frozen=True)
class _Not:
    term: _Term

    def holds(self, look_up: LookUp) -> bool:
        return not self.term.holds(look_up)


@dataclass(frozen=True)
class _Joined:
    terms: tuple[_Term, ...]
    all_of_them: bool

    def holds(self, look_up: LookUp) -> bool:
        found = (term.holds(look_up) for term in self.terms)
        return all(found) if self.all_of_them else any(found)


_Term = _Comparison | _Not | _Joined


class Condition:
    """A parsed condition."""

    def __init__(self, text: str) -> None:
        """Parse a condition.

        Raises:
            WrongCondition: it does not follow the grammar; the message shows where.
        """
        self.text = text
        parser = _Parser(text)
        self._root = parser.whole()
        self.fields: frozenset[str] = frozenset(parser.fields)
        """The names of the fields that it asks for."""

    def holds(self, look_up: LookUp) -> bool:
        """Tell whether a sample fits. Only fields whose value matters are looked up."""
        return self._root.holds(look_up)


class _Parser:
    """Recursive descent, one method per rule."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields: set[str] = set()
        self._tokens = list(self._split())
        self._at = 0

    def whole(self) -> _Term:
        term = self._condition()
        if self._peek()[0]:
            raise self._wrong("expected 'and', 'or' or the end")
        return term

    def _split(self) -> Iterator[tuple[str, str, int]]:
        at = 0
        while self.text[at:].strip():
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise WrongCondition(f"condition {self.text!r}: can't read {self.text[at:].strip()!r}")
            kind = match.lastgroup or ""
            yield kind, match[kind], match.start(kind)
            at = match.end()
        yield "", "", len(self.text)

    def _condition(self) -> _Term:
        return self._joined("or", lambda: self._joined("and", self._term))

    def _joined(self, word: str, part: Callable[[], _Term]) -> _Term:
        terms = [part()]
        while self._peek()[:2] == ("word", word):
            self._at += 1
            terms.append(part())
        return terms[0] if len(terms) == 1 else _Joined(tuple(terms), all_of_them=word == "and")

    def _term(self) -> _Term:
        kind, text, _ = self._peek()
        if (kind, text) == ("word", "not"):
            self._at += 1
            return _Not(self._term())
        if (kind, text) == ("sign", "("):
            self._at += 1
            term = self._condition()
            if self._peek()[1] != ")":
                raise self._wrong("expected )")
            self._at += 1
            return term
        return self._comparison()

    def _comparison(self) -> _Comparison:
        left = self._value()
        kind, sign, _ = self._peek()
        if kind != "sign" or sign not in _OPERATORS:
            raise self._wrong(f"expected one of {' '.join(_OPERATORS)}")
        self._at += 1
        right = self._value()
        kinds = [v.kind if isinstance(v, _Field) else _kind(v) for v in (left, right)]
        if sign == "~" and "number" in kinds:
            raise WrongCondition(f"condition {self.text!r}: ~ compares texts, not numbers")
        if "" not in kinds and kinds[0] != kinds[1]:
            raise WrongCondition(
                f"condition {self.text!r}: {_shown(left)} {sign} {_shown(right)} compares a {kinds[0]} "
                f"with a {kinds[1]}"
            )
        return _Comparison(left, sign, right)

    def _value(self) -> _Field | Value:
        kind, text, _ = self._peek()
        if kind == "number":
            self._at += 1
            return float(text) if set(text) & set(".eE") else int(text)
        if kind == "text":
            self._at += 1
            return text[1:-1]
        if kind == "word" and text not in ("and", "or", "not"):
            head, dot, rest = text.partition(".")
            known = text in _TEXTS | _NUMBERS or (head in ("tokens", "valid", "json") and dot and rest)
            if not known:
                raise self._wrong(
                    "expected recording, layout, id, seconds, start, tokens, tokens.TRACK, valid.TRACK or "
                    "json.PATH (a text stands in quotes)"
                )
            self._at += 1
            self.fields.add(text)
            return _Field(text)
        raise self._wrong("expected a field, a number or a text in quotes")

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at]

    def _wrong(self, what: str) -> WrongCondition:
        _, text, at = self._peek()
        where = f"at {text!r} (character {at})" if text else "at the end"
        return WrongCondition(f"condition {self.text!r}: {what}, {where}")


def _kind(value: Any) -> str:
    """Return `text` or `number`; empty for anything else."""
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) else ""


def _shown(value: _Field | Value) -> str:
    return value.name if isinstance(value, _Field) else repr(value)
