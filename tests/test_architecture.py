"""Imports between the packages: downwards only, and without a cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import opencode_mcp

PACKAGE = Path(opencode_mcp.__file__).parent
LAYERS: tuple[str, ...] = (
    "exceptions",
    "importing",
    "suggestions",
    "skills",
    "board",
    "redaction",
    "openapi",
    "catalog",
    "opencode",
    "tasks",
    "operations",
    "operations2",
    "connect",
    "library",
    "tools",
    "server",
    "cli",
)
"""Packages and top-level modules, lowest first: each imports only from itself and from those before it."""

READ_SETTINGS = {"connect", "library", "server", "cli"}
ABOVE: dict[str, set[str]] = {layer: set(LAYERS[LAYERS.index(layer) + 1 :]) for layer in LAYERS}
FORBIDDEN: dict[str, set[str]] = {
    # The lower layers get settings as arguments.
    **{layer: above | (set[str]() if layer in READ_SETTINGS else {"settings"}) for layer, above in ABOVE.items()},
    "settings": {*LAYERS} - {"exceptions", "suggestions"},
    "__init__": {*LAYERS, "settings"} - {"exceptions", "library"},
    "__main__": {*LAYERS, "settings"} - {"cli", "importing"},
}


@cache
def modules() -> tuple[tuple[str, Path, ast.Module], ...]:
    """Return every module of the package as (layer, path below the package, syntax tree)."""
    relatives = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    return tuple(
        (relative.parts[0].removesuffix(".py"), relative, ast.parse((PACKAGE / relative).read_text(encoding="utf-8")))
        for relative in relatives
    )


def module_name(relative: Path) -> str:
    """Return the dotted name of a module from its path below the package."""
    return ".".join(("opencode_mcp", *relative.with_suffix("").parts)).removesuffix(".__init__")


def imported_names(relative: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the dotted name of each import of a module: at its top, within functions, and for types only."""
    package = ("opencode_mcp", *relative.parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_layers(relative: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the layer of each import from the package."""
    for name in imported_names(relative, tree):
        top, _, rest = name.partition(".")
        if top == "opencode_mcp" and rest:
            yield rest.partition(".")[0]


def imports() -> dict[str, set[str]]:
    """Map each module of the package to the modules of the package that it imports."""
    trees = {module_name(relative): (relative, tree) for _, relative, tree in modules()}
    graph: dict[str, set[str]] = {}
    for name, (relative, tree) in trees.items():
        found = (
            next((module for module in (imported, imported.rpartition(".")[0]) if module in trees), None)
            for imported in imported_names(relative, tree)
        )
        graph[name] = {module for module in found if module is not None}
    return graph


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of a cycle, none when there is no cycle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_module_is_in_a_layer() -> None:
    """A new package or top-level module needs a place in the order."""
    assert {layer for layer, _, _ in modules()} - FORBIDDEN.keys() == set()


def test_layers_import_only_downwards() -> None:
    """A lower layer does not depend on a higher one, and only the highest read settings."""
    upwards = [
        f"{relative} imports {imported}"
        for layer, relative, tree in modules()
        for imported in imported_layers(relative, tree)
        if imported in FORBIDDEN[layer]
    ]

    assert upwards == []


def test_no_import_cycle() -> None:
    """Imports within functions and imports for types count: a cycle of either is one for a reader."""
    assert cycle_in(imports()) == []


def test_the_cycle_check_finds_a_cycle() -> None:
    """A module may be imported by many; only a way back to itself is a cycle."""
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert set(cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_settings_are_read_as_attributes() -> None:
    """Only the settings package looks one up by a string, which no type checker sees."""
    lookups = {
        str(relative)
        for layer, relative, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and list(map(ast.unparse, [node.func, *node.args[:1]])) == ["getattr", "settings"]
        if layer != "settings"
    }

    assert lookups == set()


def test_the_import_check_sees_relative_and_absolute_imports() -> None:
    """Each way to write an import is recognized."""
    source = "from ..server import x\nfrom . import y\nimport opencode_mcp.cli\nfrom opencode_mcp.tools import z"

    found = list(imported_layers(Path("opencode/module.py"), ast.parse(source)))

    assert found == ["server", "opencode", "cli", "tools"]


def test_only_the_settings_read_the_environment() -> None:
    """Other modules get values as arguments; the supervisor is a program of its own, which has only its environment."""
    readers = {
        str(relative)
        for _, relative, tree in modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"} and is_os(node.value))
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
    }

    supervisors = {str(Path("opencode", "process", name)) for name in ("supervisor.py", "shared_supervisor.py")}
    assert readers == {str(Path("settings", "settings.py")), *supervisors}


def is_os(node: ast.expr) -> bool:
    """Whether an expression is the module `os`."""
    return isinstance(node, ast.Name) and node.id == "os"
