"""A package whose `__init__` runs when a name is first taken from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from opencode_mcp.cli.deferred_package import defer_package

LIMIT_SECONDS = 60
NAME = "package_of_a_test"

DeferTestPackage = Callable[[str], ModuleType]


@pytest.fixture
def defer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeferTestPackage:
    """What defers a package with this `__init__`; `runs` of its module `notes` is there for what that notes."""

    def make(source: str) -> ModuleType:
        folder = tmp_path / NAME
        folder.mkdir()
        (folder / "__init__.py").write_text(f"from .notes import runs\nruns.append(1)\n{source}")
        (folder / "notes.py").write_text("runs = []\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        for name in (NAME, f"{NAME}.notes"):
            monkeypatch.setitem(sys.modules, name, sys)  # removed at the end of the test
            del sys.modules[name]
        defer_package(NAME)
        return sys.modules[NAME]

    return make


def test_a_deferred_package_runs_once(defer: DeferTestPackage) -> None:
    """At the first name; its submodules are imported without it."""
    package = defer("VALUE = 1\n")
    notes = import_module(f"{NAME}.notes")
    assert notes.runs == []

    assert package.VALUE == package.VALUE == 1
    assert notes.runs == [1]
    with pytest.raises(AttributeError, match="missing"):
        _ = package.missing
    assert (notes.runs, type(package)) == ([1], ModuleType)


def test_an_error_is_the_same_at_each_access(defer: DeferTestPackage) -> None:
    """No name of a package is there before all of them are; `__init__` runs again, and may succeed."""
    package = defer("EARLY = 1\nif len(runs) < 3:\n    raise OSError('not now')\nLATE = 2\n")
    for name in ("LATE", "EARLY"):
        with pytest.raises(OSError, match="not now"):
            getattr(package, name)

    assert (package.EARLY, package.LATE) == (1, 2)
    assert package.notes.runs == [1, 1, 1]


def test_another_thread_waits_for_the_whole_package(defer: DeferTestPackage) -> None:
    """A module that asks within `__init__` does not: it gets what there is, as while any package is imported."""
    own = "import sys\ntry:\n    sys.modules[__name__].LATE\nexcept AttributeError as error:\n    EARLY = str(error)\n"
    package = defer(f"{own}from time import sleep\nsleep(0.2)\nLATE = 2\n")
    with ThreadPoolExecutor(4) as threads:
        values = [*threads.map(getattr, 4 * [package], 4 * ["LATE"], timeout=LIMIT_SECONDS)]

    assert values == [2, 2, 2, 2]
    assert package.notes.runs == [1]
    assert "LATE" in package.EARLY


@pytest.mark.usefixtures("spawns")
def test_a_deferred_package_is_complete_when_it_is_used() -> None:
    """Its names are those that it always has, whichever is asked for first, and it is the parent of its submodules."""
    program = """\
from opencode_mcp.cli.deferred_package import defer_package
defer_package("mcp")
defer_package("mcp.server")
import sys
import mcp.server.lowlevel
assert "mcp.client" not in sys.modules
assert mcp.server is sys.modules["mcp.server"]
from mcp import Client, ClientSession
from mcp.server import MCPServer, Server
assert Server is mcp.server.lowlevel.Server
assert mcp.client.Client is Client
defer_package("mcp")
assert mcp is sys.modules["mcp"]
"""
    subprocess.run((sys.executable, "-c", program), timeout=LIMIT_SECONDS, check=True)
