"""Who may import whom, what is light to import, and what must not stand in the code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ingest", "encoders", "shards")
BRIDGE = {
    "adding", "cli", "cli_datasets", "cli_errors", "encoder_choice", "encoder_client", "encoder_server",
    "encoder_slots", "evaluating", "evaluating_pictures", "evaluating_signals", "evaluating_sound",
    "fitting", "jobs", "layouts", "lerobot_export", "measuring", "parts", "pipeline", "reconstruction",
    "remote_files", "repairing", "task", "training_signals", "training_sound", "training_video",
}  # fmt: skip
"""The modules of ingest that bring all three packages together: `pipeline` and `cli`, and what they are
split into. A new name in this list is a decision about the architecture."""
HEAVY = ("torch", "av", "cv2", "rosbags", "decord", "torchcodec", "webdataset", "datasets", "transformers")
TOP_LEVEL = {
    "ingest", "encoders", "shards", "tests", "examples", "pyproject.toml",
    "README.md", "CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", ".ci", ".gitignore",
    ".gitattributes", ".dockerignore", "Dockerfile", ".github", ".pre-commit-config.yaml", "CITATION.cff",
}  # fmt: skip


def source_files(*folders: str) -> list[Path]:
    """Return the Python files below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Return a file's module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, wherever in the file it does."""
    module = name_of(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def ours(imported: str) -> bool:
    return imported.split(".")[0] in PACKAGES


def fresh_python(code: str, cwd: Path) -> str:
    """Run code in a new interpreter, away from the repository, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_reader_of_imports_sees_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, relative and nested imports are all found: the tests below can fail."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "ingest" / "engine" / "local.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import shards.tar\nfrom encoders import spec\nfrom . import tasks\nfrom ..errors import X\n"
        "def later():\n    from shards import y\n"
    )
    assert sorted(imports_of(path)) == [
        "encoders.spec", "ingest.engine.tasks", "ingest.errors.X", "shards.tar", "shards.y",
    ]  # fmt: skip


@pytest.mark.parametrize("package", ["shards", "encoders"])
def test_islands_import_nothing_of_ours(package: str) -> None:
    """`shards` and `encoders` know only themselves."""
    wrong = [
        f"{name_of(path)} imports {imported}"
        for path in source_files(package)
        for imported in imports_of(path)
        if ours(imported) and imported.split(".")[0] != package
    ]
    assert not wrong


def test_only_the_bridge_brings_all_three_together() -> None:
    """Within ingest, nothing but the listed modules imports `encoders` or `shards`, and all of them do."""
    crossing = {
        name_of(path).removeprefix("ingest.")
        for path in source_files("ingest")
        for imported in imports_of(path)
        if imported.split(".")[0] in ("encoders", "shards")
    }
    assert crossing == BRIDGE


def test_nothing_below_the_bridge_imports_it() -> None:
    """Sources, decoders, sampling and engines stand on their own: imports go in one direction."""
    bridge = {f"ingest.{name}" for name in BRIDGE}
    wrong = [
        f"{name_of(path)} imports {imported}"
        for folder in ("sources", "decoders", "sampling", "engine")
        for path in source_files(f"ingest/{folder}")
        for imported in imports_of(path)
        if imported in bridge or imported.rpartition(".")[0] in bridge
    ]
    assert not wrong


def test_engines_are_blind_to_what_they_run() -> None:
    """An engine imports nothing of ours but its own folder and the errors."""
    wrong = [
        f"{name_of(path)} imports {imported}"
        for path in source_files("ingest/engine")
        for imported in imports_of(path)
        if ours(imported) and not imported.startswith(("ingest.engine", "ingest.errors"))
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["shards", "encoders", "ingest", "ingest.cli"])
def test_importing_is_light(module: str, tmp_path: Path) -> None:
    """What a training node imports, and what `fifth --help` loads, pulls in nothing heavy."""
    code = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert fresh_python(code, tmp_path).strip() == "[]"


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """`fifth --help` answers without any of the large libraries."""
    code = f"""
import sys
from ingest.cli import main
sys.argv = ["fifth", "--help"]
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert fresh_python(code, tmp_path).splitlines()[-1] == "[]"


def tracked_files() -> list[str]:
    """Return the paths of the repository's files, tracked or about to be."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if listing.returncode != 0:
        pytest.skip("not in a git checkout")
    return [line for line in listing.stdout.splitlines() if (ROOT / line).exists()]


def test_the_top_level_stays_as_drawn() -> None:
    """Beside the packages, tests and examples there are only the agreed files."""
    assert {Path(path).parts[0] for path in tracked_files()} <= TOP_LEVEL


def test_only_the_packages_are_installed(tmp_path: Path) -> None:
    """Tests and examples stay in the repository."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{name}*" for name in PACKAGES]
    installed = (distribution("fifth").read_text("top_level.txt") or "").split()
    assert sorted(installed) == sorted(PACKAGES)
    code = "import importlib.util as u, json; print(json.dumps([bool(u.find_spec(n)) for n in %r]))"
    assert json.loads(fresh_python(code % (("tests", "examples", *PACKAGES),), tmp_path)) == [
        False, False, True, True, True,
    ]  # fmt: skip


UNWANTED = {
    "a pickle is loaded": r"\bpickle\.loads?\b|allow_pickle\s*=\s*True|weights_only\s*=\s*False|\bjoblib\b",
    "a path of one machine": r"(?<![\w.])/(?:work|tmp|root|home|Users)/",
    "a folder beside the clone": r"\.\./shared",
    "something left for later": r"\b(?:TODO|FIXME|XXX)\b",
    "code from a string": r"(?<![\w.])(?:eval|exec)\(",
}


@pytest.mark.parametrize("what", UNWANTED)
def test_unwanted_things_do_not_stand_in_the_code(what: str) -> None:
    """Nothing unsafe is loaded, and no file speaks of the machine that it was written on."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in source_files(*PACKAGES, "examples")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(UNWANTED[what], line)
    ]
    assert not found


def test_test_files_have_names_of_their_own() -> None:
    """No two test files share a name, which pytest and mypy would confuse."""
    names = [path.name for path in source_files("tests") if path.name not in ("conftest.py", "__init__.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
