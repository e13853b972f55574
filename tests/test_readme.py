"""What the README tells people to type is real: commands, options, targets, files, names, help texts.

A ```sh block is checked line by line. A ```text block that begins with `$ fifth ... --help` must be the
command's help. A ```python block must compile and import names that exist; with `<!-- run -->` on the
line above it, it is run in a folder that holds `recordings/` and the `dataset/` made of them.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ingest.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = ("ingest", "encoders", "shards")


@dataclass(frozen=True)
class Block:
    """One fenced block of the README."""

    language: str
    text: str
    line: int
    above: str
    """The line before the fence."""


def blocks(*languages: str) -> list[Block]:
    """Return the README's blocks in these languages."""
    readme = README.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(readme):
        before = readme[: match.start()].splitlines()
        if match[1] in languages:
            found.append(Block(match[1], match[2], len(before) + 1, before[-1] if before else ""))
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command in a shell block: continued lines joined, comments left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        for part in _split(words, {"&&", ";", "|"}):
            if part:
                yield part


def _split(words: list[str], separators: set[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in separators:
            yield part
            part = []
        else:
            part.append(word)
    yield part


SHELL = [(block.line, words) for block in blocks("sh", "bash", "console") for words in commands(block)]
IDS = [f"line-{line}-{' '.join(words)[:40]}" for line, words in SHELL]


def test_the_readme_has_something_to_try() -> None:
    """There are commands of ours and Python to copy; the tests below have something to check."""
    assert any(words[0] == "fifth" for _, words in SHELL)
    assert blocks("python")


@pytest.mark.parametrize(("line", "words"), SHELL, ids=IDS)
def test_commands_are_real(line: int, words: list[str]) -> None:
    """Every command, option, make target and script that is shown exists."""
    if words[0] == "fifth":
        parse(words[1:])
    elif words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        variables = re.findall(
            r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
        )
        for word in words[1:]:
            name, equals, _ = word.partition("=")
            assert name in (variables if equals else targets), f"line {line}: make has no {name}"
    elif words[0] in ("python", "python3") and len(words) > 1 and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), f"line {line}: {words[1]} is not there"


def parse(words: list[str]) -> None:
    """Parse a command line of `fifth` without running it."""
    if not words or words[0].startswith("-"):
        context: click.Context = main.make_context("fifth", list(words) or ["--help"], resilient_parsing=True)
        assert context.command is main
        return
    assert words[0] in main.commands, f"there is no command fifth {words[0]}"
    if "--help" in words:
        return
    with main.commands[words[0]].make_context(words[0], list(words[1:])):
        pass


def test_a_wrong_option_would_be_found() -> None:
    """The check above can fail."""
    with pytest.raises(click.NoSuchOption):
        parse(["shard", "videos/", "dataset/", "--no-such-option"])
    with pytest.raises(AssertionError, match="no command"):
        parse(["frobnicate"])


HELP = [block for block in blocks("text", "console", "") if re.match(r"\$ fifth .*--help\n", block.text)]


@pytest.mark.parametrize("block", HELP, ids=[f"line-{block.line}" for block in HELP])
def test_help_texts_are_current(block: Block) -> None:
    """A quoted help text is what the command prints, at 100 columns."""
    typed, _, quoted = block.text.partition("\n")
    said = CliRunner().invoke(main, shlex.split(typed)[2:], prog_name="fifth", terminal_width=100)
    assert [line.rstrip() for line in quoted.strip().splitlines()] == [
        line.rstrip() for line in said.output.strip().splitlines()
    ]


PYTHON = blocks("python")


@pytest.mark.parametrize("block", PYTHON, ids=[f"line-{block.line}" for block in PYTHON])
def test_python_blocks_compile_and_import_real_names(block: Block) -> None:
    """Names that are imported from our packages are public ones."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            module = importlib.import_module(node.module)
            offered = getattr(module, "__all__", dir(module))
            assert [alias.name for alias in node.names if alias.name not in offered] == []


RUN = [block for block in PYTHON if block.above.strip() == "<!-- run -->"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example recordings and the dataset made of them."""
    folder = tmp_path_factory.mktemp("readme")
    script = ROOT / "examples" / "make_recordings.py"
    subprocess.run([sys.executable, str(script), "recordings"], cwd=folder, check=True, timeout=120)
    shard = [str(Path(sys.executable).with_name("fifth")), "shard", "recordings", "dataset", "--quiet"]
    assert subprocess.run(shard, cwd=folder, check=False, timeout=200).returncode == 3  # one is broken
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=[f"line-{block.line}" for block in RUN])
def test_marked_python_blocks_run(block: Block, workplace: Path) -> None:
    """What is marked to run ends without an error."""
    done = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=workplace, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
