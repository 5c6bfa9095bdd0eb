"""The rooms of the package depend on one another in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import opencode_mcp

PACKAGE = Path(opencode_mcp.__file__).parent
PACKAGES: tuple[str, ...] = (
    "suggestions",
    "exceptions",
    "redaction",
    "openapi",
    "catalog",
    "opencode",
    "tasks",
    "operations",
    "connect",
    "library",
    "tools",
    "server",
    "cli",
)
"""From the bottom to the top: a room imports from itself and from those before it."""

USE_SETTINGS = {"connect", "library", "server", "cli"}
HIGHER_PACKAGES: dict[str, set[str]] = {room: set(PACKAGES[PACKAGES.index(room) + 1 :]) for room in PACKAGES}
FORBIDDEN: dict[str, set[str]] = {
    # Settings reach the lower rooms as arguments.
    **{room: above | (set[str]() if room in USE_SETTINGS else {"settings"}) for room, above in HIGHER_PACKAGES.items()},
    "settings": {*PACKAGES[2:]},
    "__init__": {*PACKAGES, "settings"} - {"exceptions", "opencode", "library"},
    "__main__": {*PACKAGES[:-1], "settings"},
}


def iter_modules() -> Iterator[tuple[str, Path, ast.Module]]:
    """Every module of the package as (room, path below the package, syntax tree)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inner = path.relative_to(PACKAGE)
        yield inner.parts[0].removesuffix(".py"), inner, ast.parse(path.read_text(encoding="utf-8"))


def imported_packages(inner: Path, tree: ast.Module) -> Iterator[str]:
    """Every room that a module imports from, at its top or within a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ("opencode_mcp", *inner.parts[:-1])
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "opencode_mcp" and rest:
                yield rest.partition(".")[0]


def test_every_module_is_in_a_known_package() -> None:
    """A new room has to be given its place in the order."""
    assert {room for room, _, _ in iter_modules()} - FORBIDDEN.keys() == set()


def test_packages_import_only_downwards() -> None:
    """No room knows what is built upon it, and only the top ones know the settings."""
    upwards = [
        f"{inner} imports {imported}"
        for room, inner, tree in iter_modules()
        for imported in imported_packages(inner, tree)
        if imported in FORBIDDEN[room]
    ]

    assert upwards == []


def test_settings_are_read_as_attributes() -> None:
    """No module outside of the settings looks one up by a string, which no type checker sees."""
    lookups = {
        str(inner)
        for room, inner, tree in iter_modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and list(map(ast.unparse, [node.func, *node.args[:1]])) == ["getattr", "settings"]
        if room != "settings"
    }

    assert lookups == set()


def test_the_check_sees_relative_and_absolute_imports() -> None:
    """Each way to write an import is understood, so that none can slip through."""
    source = "from ..server import x\nfrom . import y\nimport opencode_mcp.cli\nfrom opencode_mcp.tools import z"

    assert list(imported_packages(Path("opencode/module.py"), ast.parse(source))) == [
        "server",
        "opencode",
        "cli",
        "tools",
    ]


def test_only_the_settings_read_the_environment() -> None:
    """Everything else is given its values; the keeper is a program of its own, which has only its environment."""
    readers = {
        str(inner)
        for _, inner, tree in iter_modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"} and is_os(node.value))
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
    }

    assert readers == {str(Path("settings", "settings.py")), str(Path("opencode", "process", "supervisor.py"))}


def is_os(node: ast.expr) -> bool:
    """Whether an expression is the module `os`."""
    return isinstance(node, ast.Name) and node.id == "os"
