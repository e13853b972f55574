"""What the packages say that users may rely on is there, and nothing else is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

PACKAGES = ("ingest", "encoders", "shards")


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_every_listed_name_is_there(package: ModuleType) -> None:
    """Whatever `__all__` lists can be imported; every name once, in order."""
    names = list(package.__all__)
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(package, name)] == []


def test_every_public_name_is_listed(package: ModuleType) -> None:
    """A name that the package's own file brings in is listed, or is private."""
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    brought_in = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and name not in modules and not inspect.ismodule(value)
    }
    from_elsewhere = {"annotations", "import_module", "TYPE_CHECKING", "Any"}
    assert brought_in - from_elsewhere <= set(package.__all__)


def test_every_public_name_says_what_it_is(package: ModuleType) -> None:
    """Public classes and functions have a docstring of their own."""
    silent = [
        name
        for name in package.__all__
        if (inspect.isclass(value := getattr(package, name)) or inspect.isfunction(value))
        and not (value.__doc__ or "").strip()
    ]
    assert silent == []


def test_public_names_live_in_our_packages(package: ModuleType) -> None:
    """Nothing of another library is offered as ours."""
    foreign = [
        name
        for name in package.__all__
        if (module := getattr(getattr(package, name), "__module__", package.__name__))
        and module.split(".")[0] not in (package.__name__, "typing")
    ]
    assert foreign == []


def test_packages_know_their_version() -> None:
    """The distribution is called fifth and gives the command of that name."""
    from importlib.metadata import distribution

    found = distribution("fifth")
    assert {entry.name: entry.value for entry in found.entry_points}.get("fifth") == "ingest.cli:main"
