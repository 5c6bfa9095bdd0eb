"""Locations and what runs there: agents, models, files, worktrees, shell commands, forks and reverts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from tests.eventually import eventually

from .client import FakeClient, kinds, open_client, tool_of

pytestmark = pytest.mark.anyio

WRITE = 'script:tool write {"filePath": "README.md", "content": "changed\\n"}'


@pytest.fixture
async def client(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[FakeClient]:
    """A client of a fake."""
    async with open_client(model, tmp_path) as client:
        yield client


async def test_what_a_location_has(client: FakeClient) -> None:
    """Its configuration is V1's; a tool's name is renamed there, and nowhere else."""
    config: dict[str, Any] = {
        "permission": {"bash": {"rm *": "deny"}},
        "agent": {"thinker": {"mode": "primary", "model": "scripted/other"}},
        "provider": {"scripted": {"models": {"other": {"variants": {"high": {}}, "cost": {"input": 1, "output": 2}}}}},
    }
    (client.directory / "opencode.json").write_text(json.dumps(config))
    agents = {agent["id"]: agent for agent in (await client.at("agent"))["data"]}
    assert {"build", "plan", "general", "explore", "thinker"} <= agents.keys()
    assert agents["thinker"]["model"] == {"id": "other", "providerID": "scripted"}
    assert {"action": "shell", "resource": "rm *", "effect": "deny"} in agents["build"]["permissions"]
    client.fake.engine.empty_model_lists = 1
    assert (await client.at("model"))["data"] == []
    models = {model["id"]: model for model in (await client.at("model"))["data"]}
    assert [variant["id"] for variant in models["other"]["variants"]] == ["high"]
    assert (await client.at("model/default"))["data"]["id"] == "scripted"
    [provider] = (await client.at("provider"))["data"]
    assert provider["settings"]["apiKey"] == "scripted"
    assert (await client.at("location"))["project"]["canonical"] == str(client.directory)
    session_id = await client.run("script:text hi", agent="thinker")
    session = (await client.get(f"session/{session_id}"))["data"]
    assert session["model"]["id"] == "other"
    assert session["cost"] == pytest.approx((100 * 1 + 20 * 2) / 1_000_000)


async def test_files(client: FakeClient) -> None:
    """Listed, found and read as bytes; one that is not there is 404."""
    assert {"path": "README.md", "type": "file"} in (await client.at("fs/list"))["data"]
    found = await client.at("fs/find", query="rdme")
    assert [entry["path"] for entry in found["data"]] == ["README.md"]
    query = {"location[directory]": str(client.directory)}
    answer = await client.http.get("/api/fs/read/README.md", params=query)
    assert answer.content == b"hello from the project\n"
    missing = await client.http.get("/api/fs/read/none", params=query)
    assert (missing.status_code, missing.json()["_tag"]) == (404, "FileNotFoundError")


async def test_files_of_a_prompt_are_in_its_message(client: FakeClient) -> None:
    """As base64; one that is not there is refused."""
    session_id = await client.create()
    await client.prompt(session_id, "script:text hi", files=[{"uri": f"file://{client.directory}/README.md"}])
    await client.wait(session_id)
    [file] = (await client.messages(session_id))[0]["files"]
    assert (file["mime"], file["data"]) == ("text/markdown", "aGVsbG8gZnJvbSB0aGUgcHJvamVjdAo=")
    refused = await client.post(f"session/{session_id}/prompt", 400, text="x", files=[{"uri": "file:///none"}])
    assert refused["_tag"] == "InvalidRequestError"


async def test_a_revert_takes_files_and_messages_back(client: FakeClient) -> None:
    """Staged, then committed by the next prompt; a session that runs is busy."""
    session_id = await client.run(WRITE)
    first = (await client.messages(session_id))[0]["id"]
    staged = (await client.post(f"session/{session_id}/revert/stage", messageID=first, files=True))["data"]
    assert [change["file"] for change in staged["files"]] == ["README.md"]
    assert (client.directory / "README.md").read_text() == "hello from the project\n"
    assert (await client.get(f"session/{session_id}"))["data"]["revert"]["messageID"] == first
    await client.prompt(session_id, "script:hang")
    await client.messages_when(session_id, lambda found: kinds(found) == ["user", "assistant"])
    busy = await client.post(f"session/{session_id}/revert/stage", 409, messageID=first)
    assert busy["_tag"] == "SessionBusyError"


async def test_a_fork_copies_what_is_before_a_message(client: FakeClient) -> None:
    """Into a root session; the diff of a turn is of the turn that a message begins."""
    session_id = await client.run(WRITE)
    second = await client.prompt(session_id, "script:text second")
    await client.wait(session_id)
    fork = (await client.post(f"session/{session_id}/fork", before=second))["data"]
    assert fork["fork"] == {"sessionID": session_id, "boundary": {"type": "before", "messageID": second}}
    assert kinds(await client.messages(fork["id"])) == ["user", "assistant", "assistant", "idle"]
    assert (await client.get(f"session/{session_id}/diff"))["data"] == []
    first = (await client.messages(session_id))[0]["id"]
    [change] = (await client.get(f"session/{session_id}/diff", **{"from": first}))["data"]
    assert (change["status"], change["additions"], change["deletions"]) == ("modified", 1, 1)


async def test_instructions_reach_the_model(client: FakeClient, model: ScriptedModel) -> None:
    """The place for a system text, as a prompt has none."""
    session_id = await client.create()
    path = f"experimental/session/{session_id}/instructions/entries"
    await client.request("PUT", f"{path}/mine", 204, json={"value": "Write short sentences."})
    assert (await client.get(path))["data"] == [{"key": "mine", "value": "Write short sentences."}]
    await client.prompt(session_id, "script:text hi")
    await client.wait(session_id)
    assert any("Write short sentences." in str(request.messages) for request in model.requests)


async def test_a_session_runs_commands(client: FakeClient, spawns: None, tmp_path: Path) -> None:
    """Those of the model ask by rule, those of the API run unasked; the exit code is in each."""
    (client.directory / "opencode.json").write_text('{"permission": {"bash": "ask"}}')
    session_id = await client.create()
    await client.prompt(session_id, 'script:tool bash {"command": "echo one; exit 3"}')
    request = await client.permission(session_id)
    assert (request["action"], request["resources"]) == ("shell", ["echo one", "exit 3"])
    assert request["save"] == ["echo *", "exit *"]
    await client.reply(request, decision="once")
    await client.wait(session_id)
    state = tool_of(await client.messages(session_id))["state"]
    assert (state["metadata"]["exit"], state["content"][0]["text"]) == (3, "one\n")
    await client.post(f"session/{session_id}/shell", 204, command="echo two; exit 4")
    messages = await client.messages_when(session_id, lambda found: found[-1].get("status") == "exited")
    assert (messages[-1]["exit"], messages[-1]["output"]["output"]) == (4, "two\n")
    await client.request("PUT", f"session/{session_id}/environment", 204, json={"variables": {"ONLY": "this"}})
    await client.prompt(session_id, 'script:tool bash {"command": "echo $ONLY"}')
    await client.reply(await client.permission(session_id), decision="once")
    await client.wait(session_id)
    calls = [message for message in await client.messages(session_id, type="assistant") if message["content"]]
    assert tool_of(calls[2:])["state"]["content"][0]["text"] == "this\n"


async def test_an_interrupt_ends_a_command(client: FakeClient, spawns: None) -> None:
    """And what it has started."""
    session_id, begun = await client.create(), client.directory / "begun"
    command = {"command": "touch begun; sleep 300.519 | cat"}
    await client.prompt(session_id, f"script:tool bash {json.dumps(command)}")
    await eventually(begun.exists)
    await client.send(f"session/{session_id}/interrupt")
    await client.wait(session_id)
    assert tool_of(await client.messages(session_id))["state"]["error"]["type"] == "aborted"
    await eventually(lambda: not sleeping())


def sleeping() -> list[Path]:
    """Return the processes of the command."""
    found: list[Path] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes().startswith(b"sleep\x00300.519"):
                found.append(entry)
        except OSError:
            continue
    return found


async def test_a_command_outside_of_a_session(client: FakeClient, spawns: None) -> None:
    """It has a time limit of its own, and can be removed."""
    query = {"location[directory]": str(client.directory)}
    body: dict[str, Any] = {"command": "echo here; sleep 300", "timeout": 200}
    created = (await client.request("POST", "shell", params=query, json=body))["data"]
    assert created["status"] == "running"
    ended = await eventually(lambda: client.at(f"shell/{created['id']}"), lambda it: it["data"]["status"] != "running")
    assert ended["data"]["status"] == "timeout"
    await client.request("DELETE", f"shell/{created['id']}", 204, params=query)
    await client.get(f"shell/{created['id']}", 404, **query)


def make_repository(folder: Path) -> None:
    """Make a folder a repository with one commit."""
    (folder / ".git").rmdir()
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)


async def test_worktrees(client: FakeClient, spawns: None) -> None:
    """Made from the project's checkout; its session has the same project; changes are kept without force."""
    make_repository(client.directory)
    project_id = (await client.at("location"))["project"]["id"]
    made = await client.post("worktree", projectID=project_id, name="mine")
    directory = Path(made["directory"])
    assert (directory / "README.md").exists()
    assert await client.get("worktree", projectID=project_id) == [{"directory": str(directory)}]
    session_id = await client.run(WRITE, location={"directory": str(directory)})
    session = (await client.get(f"session/{session_id}"))["data"]
    assert session["projectID"] == project_id
    assert (client.directory / "README.md").read_text() == "hello from the project\n"
    [change] = (await client.get(f"session/{session_id}/diff"))["data"]
    assert change["file"] == "README.md"
    (directory / "new.txt").write_text("new\n")
    query: dict[str, Any] = {"location[directory]": str(directory)}
    listed = (await client.get("vcs/status", **query))["data"]
    assert [(item["file"], item["status"]) for item in listed] == [("README.md", "modified"), ("new.txt", "added")]
    changed = (await client.get("vcs/diff", mode="working", **query))["data"]
    assert changed[0]["patch"] == change["patch"]
    await client.get("vcs/diff", 503, mode="branch", **query)
    body = {"projectID": project_id, "directory": str(directory), "force": False}
    refused = await client.request("DELETE", "worktree", 400, json=body)
    assert refused["_tag"] == "WorktreeError"
    await client.request("DELETE", "worktree", 204, json={**body, "force": True})
    assert await client.get("worktree", projectID=project_id) == []
    assert [path.name for path in directory.parent.iterdir()] == []
