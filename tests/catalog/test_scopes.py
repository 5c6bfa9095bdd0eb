"""Every operation and every argument has been decided about: whether it names a place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from opencode_mcp.catalog import Catalog


def iter_id_arguments(
    schema: Any, definitions: dict[str, Any], visited: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Yield (name, pattern) for every property of a schema whose value, or one of whose items, has a pattern."""
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name in visited:
            return
        visited, schema = visited | {name}, definitions[name]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from iter_id_arguments(branch, definitions, visited)
    if isinstance(schema.get("items"), dict):
        yield from iter_id_arguments(schema["items"], definitions, visited)
    for name, value in cast("dict[str, Any]", schema.get("properties", {})).items():
        for branch in (value, *value.get("anyOf", ()), *value.get("oneOf", ())):
            if "pattern" in branch:
                yield name, branch["pattern"]
        yield from iter_id_arguments(value, definitions, visited)


def test_every_operation_has_one_scope(every_catalog: Catalog) -> None:
    """The three scopes are disjoint, and together the document; a new operation must be decided about."""
    documented = {operation.id for operation in every_catalog.values()}
    scopes = every_catalog.generation.scopes
    classes = (scopes.one_directory, scopes.all_directories, scopes.no_directory)
    exceptions = {operation for operation, _ in scopes.kind_exceptions}

    assert frozenset[str]().union(*classes) == documented
    assert sum(map(len, classes)) == len(documented)
    assert (
        scopes.filtered_lists
        | scopes.loads_nothing
        | scopes.new_sessions
        | scopes.required_argument.keys()
        | exceptions
        <= documented
    )


def test_every_argument_at_any_depth_has_a_kind(every_catalog: Catalog) -> None:
    """The names that are decided are those of the document; a new one must be decided about."""
    documented = set[str]().union(*(operation.argument_names for operation in every_catalog.values()))
    scopes = every_catalog.generation.scopes

    assert scopes.kind_by_argument.keys() | scopes.not_locations == documented
    assert not scopes.kind_by_argument.keys() & scopes.not_locations
    assert sum(map(len, scopes.arguments_by_kind.values())) == len(scopes.kind_by_argument)


def test_ids_of_resources_with_a_directory_are_authorized(every_catalog: Catalog) -> None:
    """The document itself says which arguments are ids of sessions and of workspaces."""
    wanted = {"^ses": {"session", "id"}, "^wrk": {"workspace", "id"}}
    scopes = every_catalog.generation.scopes
    for operation in every_catalog.values():
        schema = operation.input_schema
        for name, pattern in iter_id_arguments(schema, schema.get("$defs", {})):
            if pattern in wanted and (operation.id, name) not in scopes.kind_exceptions:
                assert scopes.argument_kind(operation.id, name, name) in wanted[pattern], (operation.name, name)


def test_an_operation_without_a_location_argument_has_no_directory_scope(every_catalog: Catalog) -> None:
    """What is located says where by an argument, so that there is something to check."""
    for operation in every_catalog.values():
        if operation.id in every_catalog.generation.scopes.one_directory:
            assert operation.argument_names & {"directory", "location", "sessionID", "projectID"}, operation.name


@pytest.mark.parametrize("operation", ["brand.new", "project.listAll"])
def test_an_unknown_operation_has_no_scope(every_catalog: Catalog, operation: str) -> None:
    """Whether it reaches beyond a directory is not known."""
    assert every_catalog.generation.scopes.scope_of(operation) is None
    assert not every_catalog.generation.scopes.is_known_argument("somewhereNew")


def test_argument_names_include_every_level(catalog: Catalog) -> None:
    """Properties within lists, within alternatives and within references count; their names are no keywords."""
    assert {"sessionID", "parts", "url", "source", "path", "uri"} <= catalog["session_prompt"].argument_names
    assert {"body", "mcp", "cwd", "external_directory", "instructions"} <= catalog["config_update"].argument_names
    assert "properties" in catalog["tui_publish"].argument_names
    assert not {"anyOf", "items", "type"} & catalog["path_get"].argument_names
