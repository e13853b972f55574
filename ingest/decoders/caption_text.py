"""The words of a caption, without the marks that say how they shall look."""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>")
"""`<i>`, `</font>`, `<v Anna>`, and WebVTT's time stamps for karaoke; not the `<` of `3 < 4`."""
_ASS = re.compile(r"\\\{\{\}|\\[{}]|\\\u2060|\\[Nnh]|\{[^}]*\}")
_ASS_PLAIN = {"\\{{}": "{", "\\{": "{", "\\}": "}", "\\\u2060": "\\", "\\N": "\n", "\\n": "\n", "\\h": " "}
"""Advanced SubStation's escapes, and how libavcodec writes braces and backslashes that were in a text."""
_ASS_FIELDS = 8
"""Commas before the text of an event: ReadOrder, Layer, Style, Name, three margins, Effect."""


def words_of_ass(event: bytes) -> str:
    """Return the text of an event as libavcodec's subtitle decoders give it, all of them in this form."""
    fields = event.decode("utf-8", "replace").split(",", _ASS_FIELDS)
    if len(fields) <= _ASS_FIELDS:
        return ""
    return without_tags(_ASS.sub(lambda found: _ASS_PLAIN.get(found[0], ""), fields[_ASS_FIELDS]))


def without_tags(text: str, *, entities: bool = False) -> str:
    """Return text without tags and without blanks around its lines; empty lines are left out.

    Args:
        text: lines of a caption.
        entities: whether `&amp;` means `&` (WebVTT).
    """
    plain = _TAG.sub("", text)
    if entities:
        plain = html.unescape(plain)
    lines = (line.strip() for line in plain.splitlines())
    return "\n".join(line for line in lines if line)
