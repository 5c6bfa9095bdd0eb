"""The tree of exceptions: it holds every class of the package, and its drawing is right."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import opencode_mcp
from opencode_mcp import exceptions

TREE_LINE = re.compile(r"^((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)(?:  .*)?$", re.MULTILINE)
"""A line of the tree: four characters for each level, then the name of a class."""


def iter_defined_errors() -> set[type[BaseException]]:
    """Every exception class that a module of the package defines."""
    # First, as it puts its folder on the path: its modules import each other from there.
    importlib.import_module("opencode_mcp.opencode.process.shared_supervisor")
    names = [found.name for found in pkgutil.walk_packages(opencode_mcp.__path__, "opencode_mcp.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, BaseException) and member.__module__.startswith("opencode_mcp.")
    }


def parse_drawn_tree() -> dict[str, str]:
    """Every class in the drawing, with the class above it; one at the top is an `Exception`."""
    above = ["Exception"]
    parents: dict[str, str] = {}
    for indent, name in TREE_LINE.findall(inspect.getdoc(exceptions) or ""):
        level = len(indent) // 4
        parents[name] = above[level]
        above[level + 1 :] = [name]
    return parents


def test_every_exception_class_is_in_the_tree() -> None:
    """No module keeps one to itself."""
    assert {found.__module__ for found in iter_defined_errors()} == {"opencode_mcp.exceptions"}


def test_the_drawing_shows_every_class_below_its_base() -> None:
    """Names and bases are those of the classes."""
    assert parse_drawn_tree() == {
        found.__name__: found.__base__.__name__ for found in iter_defined_errors() if found.__base__
    }
