"""`from opencode_mcp import OpenCode`: the operations for a Python program, against the real OpenCode."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

import opencode_mcp
from opencode_mcp import (
    Answer,
    APIError,
    InvalidArguments,
    OpenCode,
    SettingsError,
    TransportError,
    UnexpectedResponse,
    WorkflowError,
    exceptions,
)
from opencode_mcp.catalog import Catalog
from opencode_mcp.cli.shared_servers import read_shared_servers
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.pages import iterate_pages
from opencode_mcp.operations import attribute_names
from opencode_mcp.settings import Settings
from tests.eventually import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def opencode(endpoint: Endpoint, project: Path) -> AsyncGenerator[OpenCode]:
    """The library, attached to the running OpenCode for the test's project."""
    url, password = str(endpoint.url), endpoint.password
    async with OpenCode(url=url, password=password, directory=project, environ={}) as opencode:
        yield opencode


INTERNAL = {
    # Callers catch them as WorkflowError.
    *("GitFailed", "LimitReached", "NotUndone", "SessionBusy", "SetupFailed", "StartFailed"),
    *("ContinuesAsTask", "InputRequired", "IssuerUnavailable", "NotFound"),  # only the MCP server raises them
    *("ServerEnding", "TooLong"),
}
"""The exception classes that are not public."""


def test_the_public_names_are_sorted_and_importable() -> None:
    """Nothing else is public: the client, what it answers, and every error that a caller tells from others."""
    errors = {name for name, one in vars(exceptions).items() if isinstance(one, type) and issubclass(one, Exception)}

    assert opencode_mcp.__all__ == sorted(opencode_mcp.__all__)
    assert set(opencode_mcp.__all__) == {"Answer", "OpenCode", *errors} - INTERNAL
    assert all(getattr(opencode_mcp, name).__name__ == name for name in opencode_mcp.__all__)
    assert set(opencode_mcp.__all__) <= set(dir(opencode_mcp))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy import hides no mistake."""
    with pytest.raises(AttributeError, match="OpenCoda"):
        _ = opencode_mcp.OpenCoda  # pyright: ignore[reportUnknownVariableType, reportAttributeAccessIssue]


@pytest.mark.usefixtures("spawns")
def test_importing_the_package_imports_no_other() -> None:
    """What is heavy is imported with OpenCode, and the MCP SDK not even then."""
    look = "import sys; print(sorted({'anyio', 'httpx2', 'mcp', 'pydantic'} & sys.modules.keys()))"
    program = f"import opencode_mcp; {look}; opencode_mcp.OpenCode; {look}"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["[]", "['anyio', 'httpx2', 'pydantic']"]


async def test_an_operation_is_called_by_its_tool_name(opencode: OpenCode, project: Path) -> None:
    """The directory is that of the client."""
    session = await opencode.call("session_create", title="by name")

    assert (session["title"], session["directory"]) == ("by name", str(project))


@pytest.mark.unchanged_project
async def test_an_operation_is_called_by_its_segments(opencode: OpenCode) -> None:
    """In either engine; `global` is a word of Python's, so it has an underscore."""
    session = await opencode.session.create(title="by attribute")

    assert (await opencode.session.get(sessionID=session["id"]))["title"] == "by attribute"
    assert [match["line_number"] for match in await opencode.find.text(pattern="hello from")] == [1]
    assert (await opencode.global_.health())["healthy"] is True
    assert (await opencode.v2.health.get())["healthy"] is True


async def test_an_operation_may_have_others_below_it(opencode: OpenCode, project: Path) -> None:
    """`vcs.diff` is both an operation and the group of `vcs.diff.raw`."""
    (project / "README.md").write_text("changed\n")

    assert [one["file"] for one in await opencode.vcs.diff(mode="git")] == ["README.md"]
    assert "+changed" in await opencode.vcs.diff.raw()


@pytest.mark.unchanged_project
async def test_every_operation_has_its_attribute(opencode: OpenCode, catalog: Catalog) -> None:
    """And no method of the client takes the place of one."""
    for operation in catalog.values():
        found: Any = opencode
        for name in attribute_names(operation.id):
            assert name in dir(found)
            found = getattr(found, name)
        assert callable(found), operation.id


@pytest.mark.unchanged_project
async def test_an_unknown_operation_names_the_nearest(opencode: OpenCode) -> None:
    """By name and by attribute, with nothing sent."""
    with pytest.raises(InvalidArguments, match="session_create"):
        await opencode.call("session_creat")
    with pytest.raises(AttributeError, match="create"):
        _ = opencode.session.creat  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


@pytest.mark.unchanged_project
async def test_every_error_is_in_the_exception_tree(opencode: OpenCode) -> None:
    """Wrong arguments, an error of OpenCode's, and an OpenCode that is not there."""
    with pytest.raises(InvalidArguments) as wrong:
        await opencode.session.get(sessionID="nonsense")
    with pytest.raises(APIError) as missing:
        await opencode.session.get(sessionID="ses_missing")
    with pytest.raises(TransportError):
        async with OpenCode(url="http://127.0.0.1:1", environ={}) as nobody:
            await nobody.global_.health()
    with pytest.raises(SettingsError):
        OpenCode(url="ftp://localhost", environ={})

    assert len(wrong.value.problems) == 1
    assert (missing.value.status, missing.value.operation) == (404, "session_get")


@pytest.mark.unchanged_project
async def test_an_answer_keeps_its_additional_fields(opencode: OpenCode) -> None:
    """The cursor of the next page is a header."""
    session = await opencode.session.create()
    for text in ("one", "two"):
        await opencode.session.prompt(sessionID=session["id"], noReply=True, parts=[{"type": "text", "text": text}])

    page = await opencode.answer("session_messages", sessionID=session["id"], limit=1)

    assert len(page.value) == 1
    assert page.fields["next_cursor"]


async def test_messages_are_iterated_page_by_page(opencode: OpenCode, project: Path) -> None:
    """The newest first, each page in the order of time; without `limit` there is one page. The same for sessions."""
    session = await opencode.session.create()
    for text in ("one", "two", "three"):
        await opencode.session.prompt(sessionID=session["id"], noReply=True, parts=[{"type": "text", "text": text}])
        await opencode.session.create(title=text)

    pages = [page async for page in opencode.session.messages.pages(sessionID=session["id"], limit=2)]
    whole = [page async for page in opencode.session.messages.pages(sessionID=session["id"])]
    sessions = [page async for page in opencode.experimental.session.list.pages(directory=str(project), limit=2)]

    assert [[texts_of(message) for message in page] for page in pages] == [["two", "three"], ["one"]]
    assert [[texts_of(message) for message in page] for page in whole] == [["one", "two", "three"]]
    assert [len(page) for page in sessions] == [2, 2]
    assert len({listed["id"] for page in sessions for listed in page}) == 4


def texts_of(message: Any) -> str:
    """Return the text of a message."""
    return " ".join(part["text"] for part in message["parts"] if part["type"] == "text")


async def test_lists_of_the_v2_api_are_iterated_page_by_page(opencode: OpenCode) -> None:
    """`order` is sent for the first page only, and the events go on after the last number."""
    session = (await opencode.v2.session.create())["data"]["id"]
    for text in ("one", "two", "three"):
        await opencode.v2.session.prompt(sessionID=session, prompt={"text": text})

    async def prompted() -> int:
        messages = (await opencode.v2.session.messages(sessionID=session))["data"]
        return sum(message["type"] == "user" for message in messages)

    async def active() -> bool:
        return session in (await opencode.v2.session.active())["data"]

    await eventually(prompted, until=lambda messages: messages == 3)
    await opencode.v2.session.interrupt(sessionID=session)
    await eventually(active, until=lambda works: not works)  # an answer would be one more page
    messages = [
        page["data"] async for page in opencode.v2.session.messages.pages(sessionID=session, limit=2, order="asc")
    ]
    history = [page async for page in opencode.v2.session.history.pages(sessionID=session, limit=4)]
    sessions = [page["data"] async for page in opencode.v2.session.list.pages(limit=1)]

    assert [message["text"] for page in messages for message in page if message["type"] == "user"] == [
        "one",
        "two",
        "three",
    ]
    assert all(len(page) == 2 for page in messages[:-1])
    numbers = [event["durable"]["seq"] for page in history for event in page["data"] if "durable" in event]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    assert [page["hasMore"] for page in history] == [True] * (len(history) - 1) + [False]
    assert [session] in [[entry["id"] for entry in page] for page in sessions]


async def test_a_list_without_an_end_is_an_error() -> None:
    """A server that repeats a cursor would be asked without end; one that has none where it must is wrong as well."""

    async def repeat(**arguments: Any) -> Answer:
        return Answer({"data": [1], "cursor": {"next": "again"}})

    async def omit(**arguments: Any) -> Answer:
        return Answer({"data": [1]})

    operation = Catalog.from_snapshot()["v2_session_list"]
    repeating, omitting = iterate_pages(operation, {}, repeat), iterate_pages(operation, {}, omit)

    assert [await anext(repeating), await anext(repeating)] == [{"data": [1], "cursor": {"next": "again"}}] * 2
    with pytest.raises(UnexpectedResponse, match="came twice"):
        await anext(repeating)
    assert await anext(omitting) == {"data": [1]}
    with pytest.raises(UnexpectedResponse, match="no cursor"):
        await anext(omitting)


@pytest.mark.unchanged_project
async def test_events_start_with_the_block(opencode: OpenCode) -> None:
    """What happens in the block is heard in the block, whoever does it."""
    session = await opencode.session.create()
    with anyio.fail_after(60):
        async with opencode.events() as events:
            await opencode.session.update(sessionID=session["id"], title="heard")
            titles = [
                event["properties"]["info"]["title"]
                async for event in wait_for_event(events, "session.updated", session["id"])
            ]

    assert titles == ["heard"]


async def wait_for_event(events: Any, kind: str, session_id: str) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield the first event of a kind that is about a session."""
    async for event in events:
        if event["type"] == kind and event["properties"].get("sessionID") == session_id:
            yield event
            return


async def test_events_of_an_unreachable_opencode_are_an_error() -> None:
    """Nobody waits for what cannot come."""
    async with OpenCode(url="http://127.0.0.1:1", environ={}) as nobody:
        with pytest.raises(TransportError):
            async with nobody.events():
                pass


@pytest.mark.unchanged_project
async def test_a_terminal_is_driven_call_by_call(opencode: OpenCode) -> None:
    """As the tool does it."""
    pty = (await opencode.pty.create(command="/bin/sh"))["id"]

    screen = await opencode.call("pty_connect", ptyID=pty, input='echo "he""llo"\n', until="hello", timeout_seconds=60)

    assert screen["ended"] == "until"
    assert await opencode.pty.remove(ptyID=pty) is True


async def test_task_tools_are_called_by_name(opencode: OpenCode, project: Path) -> None:
    """They answer with their report, and check their arguments."""
    report = await opencode.call("run_task", prompt="script:text hello", timeout_seconds=120)

    assert (report["state"], report["directory"]) == ("completed", str(project))
    with pytest.raises(InvalidArguments, match="prompt"):
        await opencode.call("run_task")


async def test_a_prompt_that_waits_for_a_permission_raises(opencode: OpenCode) -> None:
    """Nobody can be asked, so the call ends with what to do; the turn goes on."""
    session = await opencode.session.create(permission=[{"permission": "bash", "pattern": "*", "action": "ask"}])
    with pytest.raises(WorkflowError, match="answer_permission") as waiting, anyio.fail_after(120):
        await opencode.session.prompt(sessionID=session["id"], parts=[{"type": "text", "text": "script:bash"}])

    assert waiting.value.session_id == session["id"]
    await opencode.session.abort(sessionID=session["id"])


@pytest.mark.unchanged_project
async def test_a_cancelled_prompt_aborts_the_turn(opencode: OpenCode) -> None:
    """Dropping the request alone would leave OpenCode at work."""
    session = await opencode.session.create()
    parts: Any = [{"type": "text", "text": "script:slow 200 0.5"}]

    async def works() -> bool:
        return session["id"] in await opencode.session.status()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: opencode.session.prompt(sessionID=session["id"], parts=parts))
        await eventually(works)
        tasks.cancel_scope.cancel()

    assert not await works()


async def test_calls_outside_the_block_raise(endpoint: Endpoint) -> None:
    """Before and behind it, and a second time at once, a call is a mistake that is named."""
    opencode = OpenCode(url=str(endpoint.url), password=endpoint.password, environ={})
    with pytest.raises(RuntimeError, match="async with"):
        await opencode.global_.health()
    async with opencode:
        with pytest.raises(RuntimeError, match="already open"):
            await opencode.__aenter__()
        assert (await opencode.global_.health())["healthy"] is True
    with pytest.raises(RuntimeError, match="async with"):
        await opencode.global_.health()


async def test_without_a_url_opencode_is_started_and_stopped(environ: Mapping[str, str], project: Path) -> None:
    """Nothing is left when the block ends: the directory of the process says which it was. It is not shared."""
    environ = {name: value for name, value in environ.items() if name != "OPENCODE_MCP_NO_SHARE"}
    async with OpenCode(directory=project, environ=environ) as opencode:
        assert [*processes_in(project)] == []
        assert (await opencode.path.get())["directory"] == str(project)
        assert [*processes_in(project)] != []

    assert await eventually(lambda: [*processes_in(project)], until=lambda left: not left) == []


async def test_a_program_may_share_the_opencode_of_the_assistants(
    environ: Mapping[str, str], project: Path, tmp_path: Path
) -> None:
    """Though the environment says that bridges do not; it goes on for the others."""
    shared = {**environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OPENCODE_MCP_LINGER": "0"}
    async with OpenCode(directory=project, environ=shared, share=True) as one:
        session = await one.session.create()
        async with OpenCode(directory=project, environ=shared, share=True) as two:
            assert (await two.session.get(sessionID=session["id"]))["id"] == session["id"]
            [server] = await read_shared_servers(shared, Settings.load({}, shared).child_environ)
            assert [each.client for each in server.assistants] == ["a Python program"] * 2
        assert (await one.session.get(sessionID=session["id"]))["id"] == session["id"]


def processes_in(folder: Path) -> Iterator[str]:
    """Yield the ids of the processes that work in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                yield process.name
        except OSError:  # it ended, or is somebody else's
            continue
