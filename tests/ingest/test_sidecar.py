"""Text files beside a recording: SubRip, WebVTT and plain text, as people and programs write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.recording import Cue
from ingest.sources.sidecar import parse_cues, read_sidecar
from ingest.timing import NS

MS = 1_000_000


def spoken(text: str) -> list[tuple[int, int, str]]:
    """Return start and stop in milliseconds, and the words."""
    return [(cue.start_ns // MS, cue.stop_ns // MS, cue.text) for cue in parse_cues(text, 0)]


def test_subrip_as_it_should_be() -> None:
    """Number, times with a comma, lines, an empty line."""
    text = "1\n00:00:01,000 --> 00:00:02,500\none\ntwo\n\n2\n01:02:03,004 --> 01:02:04,000\n<i>next</i>\n"
    assert spoken(text) == [(1000, 2500, "one\ntwo"), (3_723_004, 3_724_000, "next")]


def test_webvtt_as_it_should_be() -> None:
    """A header, notes and styles, hours left out, a name and settings for a cue."""
    text = (
        "WEBVTT - title\nKind: captions\n\nNOTE 00:01.000 is no cue\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:01.500 --> 00:02.000 align:start position:10%\n<v Anna>words\n\n"
        "100:00:00.000 --> 100:00:01.000\nlong\n"
    )
    assert spoken(text) == [(1500, 2000, "words"), (360_000_000, 360_001_000, "long")]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(line_end: str) -> None:
    """Also the last line without one."""
    text = "1\n00:00:01,000 --> 00:00:02,000\na\nb\n\n2\n00:00:03,000 --> 00:00:04,000\nc".replace(
        "\n", line_end
    )
    assert spoken(text) == [(1000, 2000, "a\nb"), (3000, 4000, "c")]


def test_a_missing_empty_line_ends_a_cue_all_the_same() -> None:
    """The next time line does, and takes its number with it."""
    text = "1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:03,000 --> 00:00:04,000\n1984\n\n"
    assert spoken(text) == [(1000, 2000, "a"), (3000, 4000, "1984")]


@pytest.mark.parametrize(
    ("line", "span"),
    [
        ("00:00:01,5 --> 00:00:02,25", (1500, 2250)),
        ("00:00:01.000000 --> 00:00:02.000000000", (1000, 2000)),
        ("0:00:01 --> 0:00:02", (1000, 2000)),
        ("  00:00:01,000-->00:00:02,000  X1:40", (1000, 2000)),
    ],
)
def test_times_as_programs_write_them(line: str, span: tuple[int, int]) -> None:
    """A fraction is a fraction, however many digits it has."""
    assert spoken(f"{line}\nx\n") == [(*span, "x")]


def test_a_cue_that_ends_before_it_starts_is_shown_for_a_moment() -> None:
    """One nanosecond: it has a place, and takes none."""
    assert parse_cues("00:00:02,000 --> 00:00:01,000\nx\n", 0) == [Cue(2 * NS, 2 * NS + 1, "x")]


def test_cues_without_words_are_none() -> None:
    """Empty, or nothing but tags."""
    assert spoken("00:00:01,000 --> 00:00:02,000\n\n00:00:02,000 --> 00:00:03,000\n<b></b>\n") == []


def test_words_that_speak_of_times_are_words() -> None:
    """Only a line of its own that begins with a time is a time line."""
    text = "00:00:01,000 --> 00:00:02,000\nfrom 00:00:01,000 --> 00:00:02,000 on\n"
    assert spoken(text) == [(1000, 2000, "from 00:00:01,000 --> 00:00:02,000 on")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    """UTF-8 with and without its mark, UTF-16 by its mark, and the old Windows one for everything else."""
    path = tmp_path / "x.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nünï – “so”\n".encode(encoding))
    assert [cue.text for cue in read_sidecar(path, 0, NS)] == ["ünï – “so”"]


def test_entities_mean_something_in_webvtt_only(tmp_path: Path) -> None:
    """SubRip has none."""
    for ending, words in ((".vtt", "a & b"), (".srt", "a &amp; b")):
        path = tmp_path / f"x{ending}"
        path.write_text("00:00:01.000 --> 00:00:02.000\na &amp; b\n")
        assert [cue.text for cue in read_sidecar(path, 0, NS)] == [words]


def test_plain_text_is_one_cue_for_all_of_it(tmp_path: Path) -> None:
    """From the recording's origin to its end; nothing for an empty file."""
    path = tmp_path / "x.TXT"
    path.write_text(" a cat\nsleeps \n")
    assert read_sidecar(path, 5, 9) == [Cue(5, 9, "a cat\nsleeps")]
    path.write_text(" \n")
    assert read_sidecar(path, 5, 9) == []


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    """Whatever stands in it: cues or none, never an error, each with words and a length."""
    for cue in parse_cues(text, 10):
        assert cue.text
        assert 10 <= cue.start_ns < cue.stop_ns


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**7), st.integers(1, 10**6), st.from_regex(r"[a-z]+(\n[a-z]+)?", fullmatch=True)
        ),
        max_size=6,
    )
)
def test_what_was_written_is_read(cues: list[tuple[int, int, str]]) -> None:
    """SubRip to the millisecond."""

    def stamp(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    blocks = [f"{k}\n{stamp(a)} --> {stamp(a + d)}\n{words}\n" for k, (a, d, words) in enumerate(cues)]
    assert spoken("\n".join(blocks)) == [(a, a + d, words) for a, d, words in cues]
