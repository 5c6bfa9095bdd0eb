"""Two OpenCode servers behind one bridge: sessions are found on both, work is put on one, and none hides the other."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from anyio.abc import TaskStatus
from mcp import Client, MCPError

from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.opencode.process.managed import managed_server
from opencode_mcp.redaction import MARKER
from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.eventually import eventually
from tests.facts import facts

from .conftest import call, new_session, prompt, read, read_json
from .tcp_proxy import open_recording_proxy
from .test_subscriptions import UpdateRecorder, subscribe_while, wait_until_quiet

pytestmark = pytest.mark.anyio

UNUSED_URL = "http://127.0.0.1:9"
NAMES = {"main", "second"}


@pytest.fixture(scope="module")
async def second(
    module_environ: Mapping[str, str], program: Program, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Endpoint]:
    """Another running OpenCode, with a home and so with a database of its own."""
    async with managed_server(program.command, str(tmp_path_factory.mktemp("served")), module_environ) as server:
        yield await server.endpoint()


def make_settings(project: Path, urls: Mapping[str, str], *endpoints: Endpoint) -> Settings:
    """Settings for servers by name; the password of the first holds for all that have none of their own."""
    shared, *own_passwords = (endpoint.password or "" for endpoint in endpoints)
    variables = {
        f"OPENCODE_SERVER_PASSWORD_{name.upper()}": password
        for name, password in zip([*urls][1:], own_passwords, strict=False)
    }
    values = {"server": [f"{name}={url}" for name, url in urls.items()], "directory": str(project)}
    return Settings.load(values, {"OPENCODE_SERVER_PASSWORD": shared, **variables})


@pytest.fixture
def two_servers(project: Path, endpoint: Endpoint, second: Endpoint) -> Settings:
    """Settings for the two servers."""
    return make_settings(project, {"main": str(endpoint.url), "second": str(second.url)}, endpoint, second)


@pytest.fixture
async def client(connect: Connect, two_servers: Settings) -> AsyncGenerator[Client]:
    """A client of the bridge in front of both."""
    async with connect(two_servers) as client:
        yield client


async def call_failing(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that fails, and return its words."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, answer.content
    return answer.model_dump()["content"][0]["text"]


async def create_alternating_sessions(client: Client) -> list[tuple[str, str]]:
    """Create sessions on one server and the other; return each id with its server, the newest first."""
    return [(await new_session(client, server=name), name) for name in ("main", "second", "main", "second")][::-1]


def ids_and_servers(sessions: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the id and the server of every entry of a list."""
    return [(session["id"], session["server"]) for session in sessions]


async def test_sessions_of_all_servers_are_one_list(client: Client) -> None:
    """The newest first, each with its server, and no more than were asked for."""
    created = await create_alternating_sessions(client)

    assert ids_and_servers(await call(client, "session_list")) == created
    assert ids_and_servers(await call(client, "session_list", limit=3)) == created[:3]
    assert ids_and_servers((await read_json(client, "opencode://sessions"))["sessions"]) == created

    async def named() -> list[tuple[str, str]]:
        resources = (await client.list_resources()).resources
        return [
            (one.name, (one.description or "").rpartition(" ")[2]) for one in resources if one.name.startswith("ses_")
        ]

    async def all_are_named() -> bool:
        return await named() == created

    await eventually(all_are_named)  # a list waits for no server that is busy


async def test_the_list_of_one_server_is_its_own(client: Client) -> None:
    """`server` leaves the others alone."""
    created = await create_alternating_sessions(client)
    listed = await call(client, "session_list", server="second")

    assert [one["id"] for one in listed] == [id for id, name in created if name == "second"]


async def test_the_list_of_all_projects_continues_at_its_cursor(client: Client, project: Path) -> None:
    """What a page leaves out of any server is on the next."""
    created = await create_alternating_sessions(client)
    found, cursor = list[tuple[str, str]](), {}
    for _ in range(2):
        answer = await client.call_tool("experimental_session_list", {"directory": str(project), "limit": 2, **cursor})
        found += ids_and_servers(facts(answer)["result"])
        cursor = {"cursor": float(facts(answer)["next_cursor"])} if len(found) < 4 else {}

    assert found == created


@pytest.mark.unchanged_project
async def test_a_session_is_found_on_any_server(client: Client) -> None:
    """Operations and workflows that name it need nothing else, and the other server does not know it."""
    id = await new_session(client, server="second", title="over there")
    await prompt(client, id, "script:text hello")

    assert (await call(client, "session_get", sessionID=id))["title"] == "over there"
    assert (await call(client, "report_task", session_id=id))["server"] == "second"
    assert "hello" in (await call(client, "read_transcript", session_id=id))["text"]
    assert (await call(client, "session_create", parentID=id))["parentID"] == id
    assert "HTTP 404" in await call_failing(client, "run_task", prompt="script:text", session_id=id, server="main")


async def test_a_task_runs_on_the_named_server(client: Client) -> None:
    """Without a word it is the first server; going on with a session needs no word either."""
    there = await call(client, "run_task", prompt="script:text there", server="second")
    here = await call(client, "run_task", prompt="script:text here")
    again = await call(client, "run_task", prompt="script:text again", session_id=there["session_id"])
    several = await call(client, "run_tasks", tasks=[{"prompt": "script:text", "worktree": True}], server="second")

    reports = [there, here, again, *several["tasks"]]
    assert [one["state"] for one in reports] == ["completed"] * 4
    assert [one["server"] for one in reports] == ["second", "main", "second", "second"]
    assert again["session_id"] == there["session_id"]


@pytest.mark.unchanged_project
async def test_tasks_continue_sessions_of_several_servers(client: Client) -> None:
    """Each is sent to where its session is."""
    ids = [await new_session(client, server=name) for name in ("second", "main")]
    tasks = [{"prompt": "script:text", "session_id": id} for id in ids]
    reports = (await call(client, "run_tasks", tasks=tasks))["tasks"]

    assert [(one["session_id"], one["server"], one["state"]) for one in reports] == [
        (ids[0], "second", "completed"),
        (ids[1], "main", "completed"),
    ]


@pytest.mark.unchanged_project
async def test_a_wait_can_be_for_tasks_of_several_servers(client: Client) -> None:
    """Their reports come in the order in which they were asked for."""
    started = [await call(client, "start_task", prompt="script:slow 4 0.3", server=name) for name in ("second", "main")]
    ids = [one["session_id"] for one in started]
    waited = await call(client, "wait_for_tasks", session_ids=ids, until="all", timeout_seconds=120)

    assert [one["server"] for one in started] == ["second", "main"]
    assert [(one["session_id"], one["server"], one["state"]) for one in waited["tasks"]] == [
        (ids[0], "second", "completed"),
        (ids[1], "main", "completed"),
    ]


async def test_a_permission_is_found_by_its_id_alone(client: Client, project: Path) -> None:
    """Whichever server it waits on."""
    (project / "opencode.json").write_text(json.dumps({"permission": {"bash": "ask"}}))
    asking = await call(client, "run_task", prompt="script:bash", server="second", permissions="report")
    request_id = asking["pending"][0]["id"]
    answered = await call(client, "answer_permission", request_id=request_id, reply="once", timeout_seconds=120)

    assert (asking["state"], asking["server"]) == ("waiting_permission", "second")
    assert (answered["session_id"], answered["server"]) == (asking["session_id"], "second")
    assert answered["state"] == "completed"
    assert "there is no pending request per_missing" in await call_failing(
        client, "answer_permission", request_id="per_missing", reply="once"
    )


@pytest.mark.unchanged_project
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_subscription_follows_the_session_s_server(
    connect: Connect, project: Path, endpoint: Endpoint, second: Endpoint, mode: str
) -> None:
    """Its server's events are heard, and those of the other are not asked for."""
    updates = UpdateRecorder()
    async with open_recording_proxy(endpoint) as one, open_recording_proxy(second) as other:
        given = make_settings(project, {"main": one.url, "second": other.url}, endpoint, second)
        async with connect(given, mode=mode, message_handler=updates.record) as client:
            id = await new_session(client, server="second")
            uri = f"opencode://session/{id}"
            async with subscribe_while(client, uri):
                await updates.wait_for_update(uri)  # the stream of events is open
                updates.uris.clear()
                await prompt(client, id, "script:text hello")
                await updates.wait_for_update(uri)

            assert (await read_json(client, uri))["answer"].endswith("hello")
            assert "hello" in await read(client, f"{uri}/transcript")
    assert (one.streams_opened, other.streams_opened) == (0, 1)


@pytest.mark.unchanged_project
async def test_the_list_is_notified_of_the_sessions_of_every_server(
    connect: Connect, project: Path, endpoint: Endpoint, second: Endpoint
) -> None:
    """By one event stream for each server."""
    updates, uri = UpdateRecorder(), "opencode://sessions"
    async with open_recording_proxy(endpoint) as first, open_recording_proxy(second) as other:
        settings = make_settings(project, {"main": first.url, "second": other.url}, endpoint, second)
        async with connect(settings, message_handler=updates.record) as client, subscribe_while(client, uri):
            await updates.wait_for_update(uri)
            for server in ("main", "second"):
                await wait_until_quiet(updates)
                created = await new_session(client, server=server)
                await updates.wait_for_update(uri)
                assert (created, server) in ids_and_servers((await read_json(client, uri))["sessions"])
    assert (first.streams_opened, other.streams_opened) == (1, 1)


@pytest.mark.unchanged_project
async def test_an_unknown_session_is_opencode_s_404(client: Client) -> None:
    """All were asked, and all say so."""
    words = "NotFoundError: Session not found: ses_missing"
    for tool, arguments in (
        ("session_messages", {"sessionID": "ses_missing"}),
        ("stop_task", {"session_id": "ses_missing"}),
        ("wait_for_tasks", {"session_ids": ["ses_missing"]}),
    ):
        assert words in await call_failing(client, tool, **arguments)
    with pytest.raises(MCPError, match=words) as raised:
        await read(client, "opencode://session/ses_missing")
    assert raised.value.code == types.INVALID_PARAMS


@pytest.mark.unchanged_project
async def test_a_deleted_session_is_forgotten(client: Client) -> None:
    """What was remembered of it does not outlive its 404."""
    id = await new_session(client, server="second")
    await call(client, "session_delete", sessionID=id)

    for _ in range(2):
        assert f"Session not found: {id}" in await call_failing(client, "session_get", sessionID=id)


async def test_a_server_that_never_answered_is_named(connect: Connect, project: Path, endpoint: Endpoint) -> None:
    """Lists name it, the sessions of the others are found, and of no session it is said that there is none."""
    async with connect(make_settings(project, {"main": str(endpoint.url), "second": UNUSED_URL}, endpoint)) as client:
        id = await new_session(client)
        listed = facts(await client.call_tool("session_list", {}))
        resource = await read_json(client, "opencode://sessions")
        # Whichever is busy for a second counts as away, too.
        await eventually(client.list_resources, until=lambda seen: (seen.meta or {}).get("unreachable") == ["second"])
        unknown = await call_failing(client, "session_get", sessionID="ses_missing")
        unanswered = await call_failing(client, "answer_permission", request_id="per_missing", reply="once")
        there = await call_failing(client, "session_create", server="second")
        with pytest.raises(MCPError) as raised:
            await read(client, "opencode://session/ses_missing")

        assert (await call(client, "session_get", sessionID=id))["id"] == id
    where = f"OpenCode server second at {UNUSED_URL} is not reachable"
    assert listed is not None
    assert ids_and_servers(listed["result"]) == ids_and_servers(resource["sessions"]) == [(id, "main")]
    assert all(where in words for words in (listed["unreachable"], resource["unreachable"], unknown, unanswered, there))
    assert "main responded and does not have it" in unknown
    assert raised.value.code == types.INTERNAL_ERROR
    assert where in str(raised.value)


async def run_proxy_until_cancelled(
    scope: anyio.CancelScope, upstream: Endpoint, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Serve a relay until the scope is cancelled, then refuse connections."""
    with scope:
        async with open_recording_proxy(upstream) as relay:
            task_status.started(relay.url)
            await anyio.sleep_forever()


@pytest.mark.unchanged_project
async def test_a_server_that_goes_away_is_named(
    connect: Connect, project: Path, endpoint: Endpoint, second: Endpoint
) -> None:
    """Its session is remembered, and the error says where it is out of reach; the other goes on working."""
    scope = anyio.CancelScope()
    async with background_task_group() as tasks:
        url = await tasks.start(run_proxy_until_cancelled, scope, second)
        given = make_settings(project, {"main": str(endpoint.url), "second": url}, endpoint, second)
        async with connect(given) as client:
            ids = [await new_session(client, server=name) for name in ("main", "second")]
            for id in ids:
                await prompt(client, id, "script:text")
            scope.cancel()
            waited = await call(client, "wait_for_tasks", session_ids=ids, until="all")

            assert [report["session_id"] for report in waited["tasks"]] == ids[:1]
            assert list(waited["errors"]) == ids[1:]
            assert f"OpenCode server second at {url} is not reachable" in waited["errors"][ids[1]]
            assert (await call(client, "report_task", session_id=ids[0]))["server"] == "main"


@pytest.mark.unchanged_project
async def test_an_unknown_server_name_is_refused(client: Client) -> None:
    """So is `server` beside a session that says it already."""
    for tool, arguments in (("session_create", {}), ("run_task", {"prompt": "x"}), ("session_list", {})):
        words = await call_failing(client, tool, server="third", **arguments)
        assert f"Invalid arguments for {tool}; nothing was sent:\n- server: " in words
        assert all(name in words for name in NAMES)
    assert "server" in await call_failing(client, "session_get", sessionID="ses_1", server="main")
    assert 'which starts with ses; got "x"' in await call_failing(client, "session_messages", sessionID="x")


async def test_the_gateway_reaches_every_server(client: Client) -> None:
    """`server` stands among the operation's own arguments, and its description has it."""
    arguments = {"operation": "session_create", "arguments": {"server": "second"}}
    id = (await call(client, "add_operation", **arguments))["id"]
    found = await call(client, "read_operation", operation="session_get", arguments={"sessionID": id})
    listed = await call(client, "read_operation", operation="session_list")
    told = await call(client, "describe_operation", operation="session_create")

    assert found["id"] == id
    assert ids_and_servers(listed) == [(id, "second")]
    assert told["input_schema"]["properties"]["server"] == {
        "type": "string",
        "enum": ["main", "second"],
        "description": "default: main",
    }


@pytest.mark.unchanged_project
async def test_a_tool_takes_a_server_unless_its_session_implies_it(client: Client, catalog: Catalog) -> None:
    """The gateway's tools pass it on among an operation's arguments."""
    listed = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
    taking = {name for name, schema in listed.items() if "server" in schema["properties"]}
    naming = {
        name
        for name, schema in listed.items()
        if {"sessionID", "session_id", "session_ids"} & {*schema.get("required", ())}
    }
    gateway = {f"{verb}_operation" for verb in ("describe", "read", "add", "change")} | {"search_operations"}

    assert taking == listed.keys() - naming - gateway
    assert len(taking & catalog.keys()) == len(catalog) - 51
    assert listed["session_list"]["properties"]["server"]["description"] == "default: all"


async def test_a_single_named_server_behaves_like_an_unnamed_one(
    connect: Connect, attached: Settings, project: Path, endpoint: Endpoint
) -> None:
    """Nothing is to choose: the tools are the same, and so are answers and reports."""
    async with connect(attached) as client:
        tools = await client.list_tools()
    async with connect(make_settings(project, {"only": str(endpoint.url)}, endpoint)) as client:
        id = await new_session(client)
        await prompt(client, id, "script:text")

        assert await client.list_tools() == tools
        assert "server" not in (await call(client, "session_list"))[0]
        assert [one["id"] for one in await read_json(client, "opencode://sessions")] == [id]
        assert "server" not in await call(client, "report_task", session_id=id)
        assert "server" in await call_failing(client, "session_list", server="only")


@pytest.mark.unchanged_project
async def test_no_password_is_sent_to_the_client(client: Client, second: Endpoint) -> None:
    """That of a single server is as secret as the one of all."""
    made = await call(client, "session_create", title=f"it is {second.password}")

    assert made["title"] == f"it is {MARKER}"


@pytest.mark.unchanged_project
async def test_a_server_with_a_wrong_password_is_named(
    connect: Connect, project: Path, endpoint: Endpoint, second: Endpoint
) -> None:
    """It answers, and yet nobody knows what it has."""
    wrong = replace(second, password="not the right one")
    given = make_settings(project, {"main": str(endpoint.url), "second": str(second.url)}, endpoint, wrong)
    async with connect(given) as client:
        listed = facts(await client.call_tool("session_list", {}))
        unknown = await call_failing(client, "session_get", sessionID="ses_missing")

    assert listed is not None
    assert all("server second failed" in words for words in (listed["unreachable"], unknown))
    assert "HTTP 401" in unknown
