"""The skills: their format, and that all they name exists: tools, arguments, fields of reports, values and flags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Any, cast

import pytest

from opencode_mcp.catalog import Catalog
from opencode_mcp.redaction import MARKER
from opencode_mcp.settings.settings import SETTINGS
from opencode_mcp.skills import FOLDER, Skill, read_skills
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tools import ToolRegistry, select_tools

SKILLS = {skill.name: skill for skill in read_skills()}
CODE = re.compile(r"`([^`]+)`")
CALL = re.compile(r"(\w+)\((.*)\)")
OPTIONAL_MARK = "?"
"""What search_operations writes behind an optional argument."""


@pytest.fixture(params=SKILLS)
def skill(request: pytest.FixtureRequest) -> Skill:
    """One skill after another."""
    return SKILLS[request.param]


def test_there_is_a_skill_for_each_part() -> None:
    """And nothing but their files is in the folder: clients get all of it."""
    assert [*SKILLS] == ["opencode-api", "opencode-delegate", "opencode-supervise"]
    assert sorted(str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*") if file.is_file()) == [
        f"{name}/SKILL.md" for name in SKILLS
    ]


def test_a_skill_has_the_format_of_agentskills(skill: Skill) -> None:
    """Its frontmatter means the same as YAML and as lines of text, and the text is short."""
    assert skill.text.startswith("---\n")
    assert [*skill.frontmatter] == ["name", "description", "license"]
    assert skill.frontmatter["name"] == skill.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", skill.name)
    assert 200 < len(skill.frontmatter["description"]) <= 1024
    for value in skill.frontmatter.values():
        assert re.fullmatch(r"[A-Za-z0-9].*[A-Za-z0-9.]", value)
        assert not re.search(r":\s|:$|\s#", value)
    assert "\r" not in skill.text
    assert len(skill.text.splitlines()) < 100


def test_a_skill_names_only_what_exists(skill: Skill, every_catalog: Catalog) -> None:
    """With both generations of OpenCode."""
    assert find_unknown(skill.text, every_catalog) == []


@pytest.mark.parametrize(
    "text",
    ["`start_tasks`", "`run_task(promt)`", "`find_everything(query)`", '`"twice"`', '`{"price": 2}`', "`--read`"],
)
def test_what_does_not_exist_is_found(text: str, catalog: Catalog) -> None:
    """A name with a mistake is in no list."""
    assert find_unknown(text, catalog) == CODE.findall(text)


def find_unknown(text: str, catalog: Catalog) -> list[str]:
    """Return the code spans of a text that name something that does not exist."""
    tools = arguments_by_tool(catalog)
    return [code for code in CODE.findall(text) if not exists(code, tools)]


def exists(code: str, tools: Mapping[str, set[str]]) -> bool:
    """Whether a code span is a tool, a call with arguments of the tool, an argument, a field, a value or a flag."""
    names = {*tools, *field_names(), *chain.from_iterable(tools.values())}
    if code.startswith("--"):
        return code in {setting.flag for setting in SETTINGS}
    if code[0] == "{":
        return json.loads(code).keys() <= names
    if code[0] in '["' and code != MARKER:
        return isinstance(value := json.loads(code), list) or value in enum_values()
    if call := CALL.fullmatch(code):
        return call[1] in tools and {*call[2].split(", ")} <= tools[call[1]]
    return code in {*names, *enum_values(), MARKER, OPTIONAL_MARK}


def arguments_by_tool(catalog: Catalog) -> Mapping[str, set[str]]:
    """Return the arguments of every tool, those that a list leaves out included."""
    registry = ToolRegistry(catalog, select_tools(catalog), 40_000)
    listed = {tool.name: {*tool.input_schema.get("properties", {})} for tool in registry.listed}
    return listed | {name: {*tool.arguments.model_fields} for name, tool in TASK_TOOLS.items()}


@cache
def task_schemas() -> tuple[dict[str, Any], ...]:
    """Return the schemas of the arguments and of the reports of all task tools."""
    models = [model for tool in TASK_TOOLS.values() for model in (tool.arguments, tool.output)]
    return tuple(model.model_json_schema() for model in models)


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a schema."""
    if isinstance(schema, dict):
        yield cast("dict[str, Any]", schema)
        schema = [*cast("dict[str, Any]", schema).values()]
    if isinstance(schema, list):
        yield from chain.from_iterable(map(walk, cast("list[Any]", schema)))


@cache
def field_names() -> set[str]:
    """Return the names of all fields, at any depth."""
    objects = chain.from_iterable(map(walk, task_schemas()))
    return set(chain.from_iterable(schema.get("properties", {}) for schema in objects))


@cache
def enum_values() -> set[str]:
    """Return every value of a fixed set."""
    objects = chain.from_iterable(map(walk, task_schemas()))
    values = ((*schema.get("enum", ()), schema.get("const")) for schema in objects)
    return {value for value in chain.from_iterable(values) if isinstance(value, str)}
