"""Lists to choose from: minimal unless `full` is asked for, whatever way they are called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mcp import Client

from opencode_mcp import OpenCode
from opencode_mcp.catalog import Catalog
from opencode_mcp.catalog.minimal_lists import MinimalForm
from opencode_mcp.settings import Settings
from opencode_mcp.tools.minimal_lists import MINIMAL_FORMS, minimal_list
from opencode_mcp.tools.results import facts_of
from tests.conftest import Connect, RecordFigure

pytestmark = pytest.mark.anyio

SESSION = {
    "id": "ses_1",
    "slug": "quiet-river",
    "projectID": "p",
    "title": "Fix the login",
    "directory": "/project",
    "version": "1.18.33",
    "time": {"created": 1_764_000_000_000, "updated": 1_764_000_060_000},
}
AGENT = {"name": "plan", "mode": "primary", "description": "Reads only.", "permission": [{"pattern": "*"}] * 30}
FULL: dict[MinimalForm, dict[str, Any]] = {
    "agents": {"result": [AGENT, {"name": "title", "mode": "primary", "hidden": True}], "_retried": ["HTTP 503"]},
    "models": {
        "providers": [
            {"id": "openrouter", "key": "k", "models": {"a/b": {"name": "B", "variants": {"high": {}, "low": {}}}}},
            {"id": "local", "models": {"c": {"name": "C", "limit": {"context": 1}, "variants": {}}}},
        ],
        "default": {"openrouter": "a/b"},
    },
    "sessions": {"result": [{**SESSION, "parentID": "ses_0", "server": "main"}], "unreachable": "second failed"},
    "located agents": {
        "location": {"directory": "/project"},
        "data": [
            {"id": "plan", "name": "Plan", "mode": "primary", "hidden": False, "request": {}, "permissions": []},
            {"id": "title", "name": "Title", "mode": "primary", "hidden": True, "request": {}, "permissions": []},
        ],
    },
    "located models": {
        "location": {"directory": "/project"},
        "data": [
            {"id": "a/b", "providerID": "openrouter", "name": "B", "variants": [{"id": "high"}], "enabled": True},
            {"id": "c", "providerID": "local", "name": "C", "variants": [], "enabled": True},
            {"id": "d", "providerID": "local", "name": "D", "variants": [], "enabled": False},
        ],
    },
    "located sessions": {
        "data": [
            {
                "id": "ses_1",
                "parentID": "ses_0",
                "projectID": "p",
                "cost": 0.5,
                "title": "Fix the login",
                "outcome": "failed",
                "time": {"created": 1_764_000_000_000, "updated": 1_764_000_060_000},
                "location": {"directory": "/project"},
            }
        ],
        "cursor": {"next": "n"},
    },
}
MINIMAL: dict[MinimalForm, dict[str, Any]] = {
    "agents": {
        "result": [{"name": "plan", "mode": "primary", "description": "Reads only."}],
        "_retried": ["HTTP 503"],
    },
    "models": {
        "models": [
            {"model": "openrouter/a/b", "name": "B", "variants": ["high", "low"]},
            {"model": "local/c", "name": "C"},
        ],
        "provider_defaults": {"openrouter": "a/b"},
    },
    "sessions": {
        "result": [
            {
                "id": "ses_1",
                "title": "Fix the login",
                "directory": "/project",
                "server": "main",
                "updated": "2025-11-24T16:01:00+00:00",
                "parent_id": "ses_0",
            }
        ],
        "unreachable": "second failed",
    },
    "located agents": {"location": {"directory": "/project"}, "data": [{"id": "plan", "mode": "primary"}]},
    "located models": {
        "location": {"directory": "/project"},
        "data": [
            {"model": "openrouter/a/b", "name": "B", "variants": ["high"]},
            {"model": "local/c", "name": "C"},
        ],
    },
    "located sessions": {
        "data": [
            {
                "id": "ses_1",
                "title": "Fix the login",
                "outcome": "failed",
                "directory": "/project",
                "updated": "2025-11-24T16:01:00+00:00",
                "parent_id": "ses_0",
            }
        ],
        "cursor": {"next": "n"},
    },
}


@pytest.mark.parametrize("form", MINIMAL_FORMS)
def test_a_minimal_form_keeps_what_a_choice_needs(form: MinimalForm) -> None:
    """Names, what each is for, and what the bridge adds to the response."""
    assert minimal_list(form, FULL[form]) == MINIMAL[form]


@pytest.mark.parametrize("form", MINIMAL_FORMS)
@pytest.mark.parametrize("changed", [{"result": {"data": []}}, {"result": ["a"]}, {"providers": {}}, {"data": 1}])
def test_a_response_of_an_unknown_shape_stays(form: MinimalForm, changed: dict[str, Any]) -> None:
    """A newer OpenCode may answer differently; nothing is lost then."""
    assert minimal_list(form, changed) in (changed, {**changed, "result": []})


def test_every_minimal_list_takes_full(every_catalog: Catalog) -> None:
    """The argument is described, and no request has it."""
    operations = [operation for operation in every_catalog.values() if operation.minimal]

    assert {operation.id for operation in operations} == every_catalog.generation.minimal_lists.keys()
    assert all(operation.input_schema["properties"]["full"]["description"] for operation in operations)
    assert all("full" in operation.controls for operation in operations)


@pytest.mark.parametrize(
    ("tool", "most_bytes", "fields", "hidden"),
    [
        ("app_agents", 1_200, {"name", "mode", "description"}, "permission"),
        ("config_providers", 400, {"model", "name"}, "limit"),
        ("session_list", 300, {"id", "title", "directory", "updated"}, "projectID"),
    ],
)
async def test_a_list_is_minimal_unless_full_is_asked_for(
    client: Client, record_figure: RecordFigure, tool: str, most_bytes: int, fields: set[str], hidden: str
) -> None:
    """By its own tool and through the gateway, whose pointers refer to what the same arguments return."""
    await client.call_tool("session_create", {"title": "of the test"})
    texts = {full: str(await call(client, tool, full=full)) for full in (False, True)}
    facts = await call(client, tool)
    [name] = facts.keys() & {"result", "models"}
    read = {"operation": tool, "pointer": f"/{name}/0"}
    row = (await call(client, "read_operation", **read))["result"]
    wrong = await client.call_tool("read_operation", read | {"pointer": f"/{name}/0/nowhere"})

    record_figure(f"{tool}: {len(texts[True])} -> {len(texts[False])} characters")
    assert row == facts[name][0]
    assert fields <= row.keys()
    assert len(texts[False]) <= most_bytes < len(texts[True])
    assert f"'{hidden}':" in texts[True] and f"'{hidden}':" not in texts[False]
    assert "`full` returns all fields" in str(wrong.content)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed, and return its facts."""
    answer = await client.call_tool(tool, arguments)
    facts = facts_of(answer)
    assert not answer.is_error and facts is not None, answer.content
    return facts


async def test_twenty_sessions_are_listed_by_default(client: Client) -> None:
    """`limit` lists more, in either form; the gateway has the same default."""
    for number in range(21):
        await client.call_tool("session_create", {"title": f"session {number}"})

    assert [row["title"] for row in (await call(client, "session_list"))["result"]][:1] == ["session 20"]
    for arguments, count, is_full in (
        ({}, 20, False),
        ({"full": True}, 20, True),
        ({"limit": 50}, 21, False),
        ({"limit": "3", "full": "true"}, 3, True),
        ({"limit": None, "full": "false"}, 20, False),
    ):
        through = {"operation": "session_list", "arguments": arguments}
        for tool, given in (("session_list", arguments), ("read_operation", through)):
            rows = (await call(client, tool, **given))["result"]
            assert (len(rows), "projectID" in rows[0]) == (count, is_full), arguments


async def test_a_long_minimal_list_is_truncated_like_any_other(connect: Connect, attached: Settings) -> None:
    """The result names what was left out, and its pointers lead there with the same arguments."""
    async with connect(replace(attached, max_result_chars=1_000)) as client:
        for number in range(8):
            await client.call_tool("session_create", {"title": f"{number} {'x' * 100}"})
        listed = await call(client, "session_list")
        [part] = [part for part in listed["_omitted"]["parts"] if part["unit"] == "items"]
        read = {"operation": "session_list", "pointer": part["pointer"], "offset": part["kept"], "limit": 1}
        rest = await call(client, "read_operation", **read)

    assert part["of"] == 8
    assert rest["result"][0].keys() == {"id", "title", "directory", "updated"}
    assert rest["result"][0]["title"].startswith(f"{7 - part['kept']} ")


async def test_the_library_returns_whole_responses(attached: Settings) -> None:
    """Its callers choose from fields, and pay for none."""
    async with OpenCode(
        url=attached.url, username=attached.username, password=attached.password, directory=attached.directory
    ) as opencode:
        agents = await opencode.call("app_agents")
        providers = await opencode.call("config_providers")

    assert all("permission" in agent for agent in agents)
    assert providers.keys() == {"providers", "default"}
