"""The types of a stub, read from its source: independent of the script that wrote it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import opencode_mcp
from opencode_mcp.catalog import Operation
from opencode_mcp.operations import attribute_names

FOLDER = Path(opencode_mcp.__file__).parent
STUBS = {1: FOLDER / "operations.pyi", 2: FOLDER / "operations2.pyi"}
SCALARS = {"str": str, "int": int, "float": (int, float), "bool": bool, "bytes": bytes}


@dataclass(frozen=True)
class Record:
    """A TypedDict: the type of each field, and which must be there."""

    fields: Mapping[str, ast.expr]
    required: frozenset[str]


class Stub:
    """The stub of a generation: its classes, and by name its TypedDicts and its aliases."""

    def __init__(self, number: int) -> None:
        tree = ast.parse(STUBS[number].read_text(encoding="utf-8"))
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.aliases: dict[str, ast.expr] = {}
        self.records: dict[str, Record] = {}
        for node in tree.body:
            match node:
                case ast.ClassDef(name=name, bases=[ast.Name(id="TypedDict")]):
                    self.records[name] = read_record(annotated_fields(node))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.aliases[name] = value
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[_, ast.Dict() as fields])):
                    pairs = zip(fields.keys, fields.values, strict=True)
                    named = {ast.literal_eval(key): kind for key, kind in pairs if key is not None}
                    self.records[name] = read_record(named)
                case _:
                    pass

    def method(self, operation: Operation) -> ast.AsyncFunctionDef:
        """Return the method of an operation."""
        *groups, last = attribute_names(operation.id)
        group = self.classes["Operations"]
        for name in groups:
            group = self.classes[ast.unparse(annotated_fields(group)[name])]
        if last in (fields := annotated_fields(group)):
            group, last = self.classes[ast.unparse(fields[last])], "__call__"
        [method] = [node for node in group.body if isinstance(node, ast.AsyncFunctionDef) and node.name == last]
        return method

    def fits(self, value: Any, kind: ast.expr) -> bool:
        """Whether a value is of a type. An object has no field that its type does not declare."""
        match kind:
            case ast.BinOp(left=left, right=right):
                return self.fits(value, left) or self.fits(value, right)
            case ast.Constant(value=None):
                return value is None
            case ast.Name(id="Any"):
                return True
            case ast.Name(id=name) if name in self.records:
                record, fields = self.records[name], cast("dict[str, Any]", value)
                return (
                    isinstance(value, dict)
                    and record.required <= fields.keys() <= record.fields.keys()
                    and all(self.fits(item, record.fields[field]) for field, item in fields.items())
                )
            case ast.Name(id=name) if name in self.aliases:
                return self.fits(value, self.aliases[name])
            case ast.Name(id=name):
                return isinstance(value, SCALARS[name]) and (name == "bool" or not isinstance(value, bool))
            case ast.Subscript(value=ast.Name(id="Literal"), slice=allowed):
                return value in [ast.literal_eval(item) for item in getattr(allowed, "elts", [allowed])]
            case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, inner])):
                items = cast("dict[str, Any]", value).values() if isinstance(value, dict) else [value]
                return isinstance(value, dict) and all(self.fits(item, inner) for item in items)
            case ast.Subscript(slice=inner):  # `list`, or `builtins.list`
                return isinstance(value, list) and all(self.fits(item, inner) for item in cast("list[Any]", value))
            case _:
                raise NotImplementedError(ast.unparse(kind))


def read_record(fields: Mapping[str, ast.expr]) -> Record:
    """Return the fields of a TypedDict."""
    required = frozenset(name for name, kind in fields.items() if not is_not_required(kind))
    types = {name: kind if name in required else getattr(kind, "slice", kind) for name, kind in fields.items()}
    return Record(types, required)


def is_not_required(kind: ast.expr) -> bool:
    """Whether the field of a type may be absent."""
    return isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name) and kind.value.id == "NotRequired"


def annotated_fields(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return the attributes of a class, with their types."""
    return {ast.unparse(field.target): field.annotation for field in node.body if isinstance(field, ast.AnnAssign)}
