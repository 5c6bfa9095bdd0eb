"""Sessions of OpenCode 2 by the engine: whose metadata they have, what a prompt selects, and commands."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode.concurrency import gather
from opencode_mcp.opencode.endpoint import AttachedServer, Endpoint
from opencode_mcp.opencode.engine.opencode2.sessions import SessionInfo
from opencode_mcp.opencode.models import PermissionRule
from opencode_mcp.tasks.check import CheckResult, check_script, read_check
from opencode_mcp.tasks.metadata import TaskMetadata, readable_metadata, task_metadata, with_task_metadata
from opencode_mcp.tasks.session_state import read_snapshot
from opencode_mcp.tasks.shell import create_shell_session, end_script, is_running, read_script_call, run_script
from tests.eventually import eventually

from .engine_client import EngineClient, open_engine
from .fake import PASSWORD

pytestmark = pytest.mark.anyio

TASK = with_task_metadata({"other": 1}, TaskMetadata(request_id="one", check_of="msg_1"))


class RecordingServer(AttachedServer):
    """A server that records what is active there."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.active = set[str]()

    def set_active(self, name: str, active: bool) -> None:
        """Record it."""
        (self.active.add if active else self.active.discard)(name)


@pytest.fixture
async def opened(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[EngineClient]:
    """An engine on a fake."""
    async with open_engine(model, tmp_path) as opened:
        yield opened


async def test_a_session_keeps_its_task(opened: EngineClient) -> None:
    """As created, as read, and as updated; rules are replaced, or left."""
    rule = PermissionRule(permission="webfetch", pattern="*", action="deny")
    created = await opened.create(metadata=TASK, title="a title", agent="plan", rules=[rule])
    assert (created.title, created.agent, created.directory) == ("a title", "plan", opened.directory)
    assert await opened.engine.read_session(created.id) == created
    assert (task_metadata(created).request_id, created.metadata["other"]) == ("one", 1)
    changed = with_task_metadata(created.metadata, TaskMetadata(request_id="two"))
    await opened.engine.update_session(created.id, metadata=changed)
    assert task_metadata(await opened.engine.read_session(created.id)).request_id == "two"
    kept = (await opened.client.get(f"session/{created.id}"))["data"]["permissions"]
    await opened.engine.update_session(created.id, metadata=changed, rules=[])
    cleared = (await opened.client.get(f"session/{created.id}"))["data"]["permissions"]
    assert (kept, cleared) == ([{"action": "webfetch", "resource": "*", "effect": "deny"}], [])


async def test_a_new_session_has_its_task_whatever_it_inherits(
    opened: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queued prompt would be lost; whether OpenCode adds to the metadata of a new session is not documented."""
    fake = opened.client.fake.engine
    create_session = fake.create_session

    def inherit(directory: str, **body: Any) -> Any:
        parent = fake.store.sessions.get(body.get("parentID", ""))
        inherited: dict[str, Any] = {} if parent is None else parent.info["metadata"]
        return create_session(directory, **{**body, "metadata": {**inherited, **body["metadata"]}})

    monkeypatch.setattr(fake, "create_session", inherit)
    session = await opened.create(metadata=with_task_metadata({}, TaskMetadata(branch="parent")))
    child = await opened.create(metadata=with_task_metadata({}, TaskMetadata(branch="own")), parent_id=session.id)
    assert task_metadata(child).branch == "own"
    assert task_metadata(await opened.engine.read_session(child.id)).branch == "own"


async def test_a_task_is_not_inherited(opened: EngineClient) -> None:
    """A subagent and a fork have the metadata of the session that they come from; what others store there stays."""
    session = await opened.create(metadata=TASK)
    await opened.run("script:task", session)
    [child] = await opened.engine.list_children(session.id)
    fork_id: str = (await opened.client.post(f"session/{session.id}/fork"))["data"]["id"]
    fork = await opened.engine.read_session(fork_id)
    for other in (child, fork, await opened.engine.read_session(child.id)):
        assert (readable_metadata(other), other.metadata) == (TaskMetadata(), {"other": 1})
    own = await opened.engine.update_session(
        fork_id, metadata=with_task_metadata(fork.metadata, TaskMetadata(request_id="fork"))
    )
    assert task_metadata(own).request_id == "fork"
    assert task_metadata(await opened.engine.read_session(session.id)).request_id == "one"


async def test_children_of_any_directory(opened: EngineClient, tmp_path: Path) -> None:
    """Those of a worktree too, and more than a page of them."""
    parent, other = await opened.create(), tmp_path / "other"
    other.mkdir()
    for number in range(3):
        await opened.engine.create_session(str(other), metadata={}, title=str(number), parent_id=parent.id)
    engine = type(opened.engine)(opened.engine.opencode.with_options(directory=str(tmp_path)))
    assert {child.title for child in await engine.list_children(parent.id)} == {"0", "1", "2"}
    await engine.delete_session(parent.id)
    with pytest.raises(APIError) as error:
        await engine.read_session(parent.id)
    assert error.value.status == 404


async def test_a_prompt_selects_the_agent_and_the_model(opened: EngineClient) -> None:
    """They are switched before it, once."""
    session = await opened.create()
    model = {"providerID": "scripted", "modelID": "scripted"}
    _, reply = await opened.run("script:text one", session, agent="plan", model=model)
    assert (reply.info.agent, reply.info.model_id) == ("plan", "scripted")
    selected = await opened.engine.read_session(session.id)
    await opened.run("script:text two", selected, agent="plan", model=model)
    switched = [entry["type"] for entry in await opened.client.messages(session.id) if "switched" in entry["type"]]
    assert switched == ["agent-switched", "model-switched"]


async def test_a_system_prompt_is_refused(opened: EngineClient) -> None:
    """Before anything is sent."""
    session = await opened.create()
    with pytest.raises(WorkflowError, match="no system prompt"):
        await opened.start("script:text one", session, system="Be short.")
    assert await opened.engine.list_messages(session.id) == []


async def test_a_prompt_has_files(opened: EngineClient) -> None:
    """With their names."""
    session = await opened.create()
    url = (opened.client.directory / "README.md").as_uri()
    parts = [{"type": "text", "text": "script:text one"}, {"type": "text", "text": "and two"}]
    parts.append({"type": "file", "mime": "text/plain", "url": url, "filename": "README.md"})
    await opened.engine.send_prompt(session, parts, {}, "msg_00000000000100000000000000")
    await opened.client.wait(session.id)
    prompt, _ = await opened.engine.list_messages(session.id)
    assert prompt.info.id == "msg_00000000000100000000000000"
    assert (prompt.text, prompt.parts[1].filename) == ("script:text one\n\nand two", "README.md")


async def run_check(opened: EngineClient, *commands: str, seconds: float = 60) -> CheckResult:
    """Run commands as a task's check does."""
    session = await opened.create()
    shell_session = await create_shell_session(opened.engine.opencode, session, "Check")
    script = check_script(commands, shell_session.id)
    await run_script(opened.engine.opencode, "build", shell_session, script, seconds)
    call = await read_script_call(opened.engine.opencode, shell_session)
    assert call is not None
    return read_check(call, shell_session.id, " && ".join(commands), 1)


@pytest.mark.parametrize("exit_code", [0, 3])
async def test_a_check_has_its_exit_code(opened: EngineClient, spawns: None, exit_code: int) -> None:
    """And its output, with what a shell would expand or split."""
    words = """$HOME `id` "double" 'single' %s \\n !x"""
    quoted = "'" + words.replace("'", "'\\''") + "'"
    result = await run_check(opened, f"printf '%s\\n' {quoted}; exit {exit_code}")
    assert (result.exit_code, result.passed) == (exit_code, exit_code == 0)
    assert result.output.splitlines()[-1] == words


async def test_the_end_of_a_long_output_is_read(opened: EngineClient, spawns: None) -> None:
    """The message of a command has the beginning only; the exit code is at the end."""
    result = await run_check(opened, "head -c 1200000 /dev/zero | tr '\\0' x; echo; echo last; exit 4")
    assert (result.exit_code, result.output.splitlines()[-1]) == (4, "last")


async def test_a_session_whose_turn_has_ended_is_not_active(opened: EngineClient) -> None:
    """So that a server that is idle can be stopped."""
    server = RecordingServer(Endpoint(httpx2.URL(opened.client.fake.url), password=PASSWORD))
    opened.engine.opencode.server = server
    session = await opened.start("script:task")
    assert server.active == {session.id}
    await opened.client.wait(session.id)
    await read_snapshot(opened.engine.opencode, session.id)
    assert server.active == set()


async def test_a_check_is_ended_after_its_time(opened: EngineClient, spawns: None) -> None:
    """It runs until then; its message says that it was aborted, and nothing of it runs."""
    session = await opened.create()
    opencode = opened.engine.opencode
    shell_session = await create_shell_session(opencode, session, "Check")
    done = opened.client.directory / "done"

    async def end() -> None:
        await eventually(lambda: is_running(opencode, shell_session), bool)
        await end_script(opencode, shell_session, 1)

    script = check_script([f"sleep 300; touch {done}"], shell_session.id)
    with anyio.fail_after(60):
        await gather(partial(run_script, opencode, "build", shell_session, script, 60), end)
    assert not await is_running(opencode, shell_session)
    call = await read_script_call(opencode, shell_session)
    assert call is not None
    result = read_check(call, shell_session.id, "sleep", 1)
    assert (result.exit_code, result.was_aborted) == (None, True)
    assert task_metadata(await opened.engine.read_session(shell_session.id)).stopped == "the check took longer than 1 s"


async def test_a_command_of_a_server_that_exited(opened: EngineClient, spawns: None) -> None:
    """Its message says for good that it runs; it does not."""
    session = await opened.create()
    shell_session = await create_shell_session(opened.engine.opencode, session, "Check")
    await opened.client.post(f"session/{shell_session.id}/shell", 204, command="sleep 30")
    assert await is_running(opened.engine.opencode, shell_session)
    await opened.client.fake.restart()
    assert not await is_running(opened.engine.opencode, shell_session)
    call = await read_script_call(opened.engine.opencode, shell_session)
    assert call is not None
    assert read_check(call, shell_session.id, "sleep 30", 1).exit_code is None


async def test_a_command_of_the_user_is_no_turn(opened: EngineClient, spawns: None) -> None:
    """It runs beside the turns of the model, and its message comes after them."""
    session = await opened.create()
    messages = await opened.run("script:text one", session)
    await opened.engine.run_shell(session.id, "build", "echo hello")
    assert json.dumps([entry["type"] for entry in await opened.client.messages(session.id)]).count("shell") == 1
    assert await opened.engine.list_messages(session.id) == messages
    assert await opened.engine.list_messages(session.id, 1) == messages[-1:]


async def test_the_sessions_of_a_project(opened: EngineClient) -> None:
    """The newest first."""
    sessions = [await opened.create(title=str(number)) for number in range(3)]
    listed = await opened.engine.list_sessions(opened.directory, 2)
    assert [session.id for session in listed] == [sessions[2].id, sessions[1].id]


async def test_what_is_added_to_a_prompt_is_not_the_users(opened: EngineClient) -> None:
    """So that a request that is repeated is known by its text."""
    session = await opened.create()
    parts = [{"type": "text", "text": "script:text one"}, {"type": "text", "text": "As JSON.", "synthetic": True}]
    await opened.engine.send_prompt(session, parts, {})
    await opened.client.wait(session.id)
    prompt, _ = await opened.engine.list_messages(session.id)
    assert prompt.text == "script:text one"
    assert [(part.text, part.synthetic) for part in prompt.parts[1:]] == [("As JSON.", True)]
    [entry] = [entry for entry in await opened.client.messages(session.id) if entry["type"] == "user"]
    assert entry["text"] == "script:text one\n\nAs JSON."


@pytest.mark.parametrize(("stored", "chosen"), [("default", {}), ("high", {"variant": "high"})])
def test_the_variant_that_stands_for_none_is_none(stored: str, chosen: dict[str, str]) -> None:
    """Else the next prompt would name a variant that its model does not have."""
    model = {"id": "m", "providerID": "p"}
    facts = {"id": "ses_1", "location": {"directory": "/project"}, "time": {"created": 1}}
    session = SessionInfo.model_validate({**facts, "model": {**model, "variant": stored}}).to_session()
    assert session.model == {**model, **chosen}
