"""Where a scenario runs on the fake: its clients' calls of OpenCode 1's operations become those of OpenCode 2."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from mcp import Client

from examples.scripted_model import ScriptedModel, environment, provider_config
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode.process.install import Program
from opencode_mcp.settings import Settings
from tests.conftest import QUICK_CONFIG
from tests.scenarios.observed import ObservedResult
from tests.scenarios.scenario_context import (
    ScenarioContext,
    SharedFixtures,
    Traits,
    make_asking_project,
    open_client,
)

from .engine import Options
from .fake import PASSWORD, FakeOpenCode2, open_opencode2
from .location_operations import VERSION
from .program import install_program
from .store import Json

GIT_IDENTITY = {
    f"GIT_{role}_{field}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
}

TRAITS = Traits(
    shell="shell",
    subagent="subagent",
    not_offered=frozenset({"write", "edit"}),  # a subagent has the rules of its parent's session
    refused_maps={"knows no tool 'terminal*'": {"terminal*": "deny"}},
    system_prompt={},
    adds_schema=False,
)

ALL = 200
"""The most that a page of a list has."""

Translation = Callable[["OpenCode2Context", Json], Awaitable[Any]]


@dataclass(frozen=True)
class OpenCode2Context(ScenarioContext):
    """A scenario's context on the fake. What a scenario asks of OpenCode 1 is answered in OpenCode 1's form."""

    traits: Traits = TRAITS

    async def call_tool(self, tool: str, client: Client | None = None, **arguments: Any) -> ObservedResult:
        """Call a task tool, or what stands for an operation of OpenCode 1."""
        translate = TRANSLATIONS.get(tool)
        if translate is None:
            return await super().call_tool(tool, client, **arguments)
        value = await translate(self, arguments)
        text = str(value)
        content = cast("Json", value) if isinstance(value, dict) else {"result": value}
        return ObservedResult(content, text, False)

    async def home_folder(self) -> Path:
        """Return the home folder of this machine: OpenCode 2 does not say where its own one is."""
        return Path(self.settings.environ["HOME"])

    async def ask(self, tool: str, **arguments: Any) -> Any:
        """Call an operation of OpenCode 2."""
        observed = await super().call_tool(tool, **arguments)
        assert not observed.is_error, observed.text
        return observed.content

    async def at(self, tool: str, directory: str | None) -> Any:
        """Call an operation about a directory; return its data."""
        return (await self.ask(tool, location={"directory": directory or str(self.project)}))["data"]


async def abort(ctx: OpenCode2Context, arguments: Json) -> Any:
    """An abort of OpenCode 1 also drops what is queued: there is no inbox."""
    session_id = arguments["sessionID"]
    for item in (await ctx.ask("session_inbox_list", sessionID=session_id))["data"]:
        await ctx.ask("session_inbox_cancel", sessionID=session_id, inboxID=item["id"])
    await ctx.ask("session_interrupt", sessionID=session_id)
    return True


async def delete(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Remove a session."""
    await ctx.ask("session_remove", sessionID=arguments["sessionID"])
    return True


async def children(ctx: OpenCode2Context, arguments: Json) -> Any:
    """List the subagents of a session."""
    return (await ctx.ask("session_list", parentID=arguments["sessionID"], limit=ALL))["data"]


async def sessions(ctx: OpenCode2Context, arguments: Json) -> Any:
    """List the sessions of a directory or of its project, with their directories."""
    directory = arguments.get("directory", str(ctx.project))
    query: Json = {"parentID": "null"} if arguments.get("roots") else {}
    if arguments.get("scope") == "project":
        location = await ctx.ask("location_get", location={"directory": directory})
        query["project"] = location["project"]["id"]
    else:
        query["directory"] = directory
    return (await ctx.ask("session_list", limit=ALL, **query))["data"]


async def status(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Return the sessions of a directory that run."""
    active: Json = (await ctx.ask("session_active"))["data"]
    here = {session["id"] for session in await sessions(ctx, {"directory": arguments["directory"]})}
    return {session_id: {"type": "busy"} for session_id in active if session_id in here}


async def messages(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Return users' and assistants' messages with their texts and files, in OpenCode 1's form.

    Prompts have the agent and the model of their session.
    """
    session_id = arguments["sessionID"]
    session: Json = (await ctx.ask("session_get", sessionID=session_id))["data"]
    chosen = {name: session[name] for name in ("agent", "model") if name in session}
    listed = (await ctx.ask("session_message_list", sessionID=session_id, order="asc", limit=ALL))["data"]
    return [
        {"info": {**chosen, **message, "role": message["type"], "sessionID": session_id}, "parts": parts_of(message)}
        for message in listed
        if message["type"] in ("user", "assistant")
    ]


def parts_of(message: Json) -> list[Json]:
    """Return the texts of a message. OpenCode 1 reads each file with a call of its tool, whose result is a text."""
    content: list[Json] = message.get("content", [{"type": "text", "text": message.get("text", "")}])
    texts = [text for file in message.get("files", []) for text in ("Called the Read tool", text_of(file))]
    files = [{"type": "text", "text": text, "synthetic": True} for text in texts]
    return [item for item in content if item["type"] == "text"] + files


def text_of(file: Json) -> str:
    """Return a file that was attached as OpenCode 1 shows it: with the numbers of its lines, or as a folder."""
    source: str = file["source"]["uri"]
    uri = urlsplit(source)
    if Path(unquote(uri.path)).is_dir():
        return "<type>directory</type>"
    first = int(parse_qs(uri.query).get("start", ["1"])[0])
    lines = base64.b64decode(file["data"]).decode().splitlines()
    return "\n".join(f"{number}: {line}" for number, line in enumerate(lines, first))


async def prompt_async(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Send a prompt of texts and files."""
    parts: list[Json] = arguments["parts"]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    files = [{"uri": part["url"], "name": part["filename"]} for part in parts if part["type"] == "file"]
    more = {"files": files} if files else {}
    await ctx.ask("session_prompt", sessionID=arguments["sessionID"], text=text, **more)
    return True


async def create(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Create a session; OpenCode 1's rules have other names."""
    names = {"permission": "action", "pattern": "resource", "action": "effect"}
    rules = [{names[name]: value for name, value in rule.items()} for rule in arguments.get("permission", [])]
    body = {"permissions": rules} if rules else {}
    return (await ctx.ask("session_create", location={"directory": str(ctx.project)}, **body))["data"]


async def revert(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Stage a revert with its files."""
    await ctx.ask("session_revert_stage", files=True, **arguments)
    return True


async def permissions(ctx: OpenCode2Context, arguments: Json) -> Any:
    """List what waits in a directory."""
    return await ctx.at("permission_request_list", arguments.get("directory"))


async def questions(ctx: OpenCode2Context, arguments: Json) -> Any:
    """List the forms that wait in a directory."""
    return await ctx.at("form_list", arguments.get("directory"))


async def reply_permission(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Answer a request under the id of its session."""
    request_id = arguments["requestID"]
    [request] = [item for item in await permissions(ctx, arguments) if item["id"] == request_id]
    message = {"message": arguments["message"]} if "message" in arguments else {}
    ids = {"sessionID": request["sessionID"], "requestID": request_id}
    await ctx.ask("session_permission_reply", decision=arguments["reply"], **ids, **message)
    return True


async def reply_question(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Answer a form: the first answer of each question is its value."""
    form_id = arguments["requestID"]
    [form] = [item for item in await questions(ctx, arguments) if item["id"] == form_id]
    answer = {f"q{number}": answers[0] for number, answers in enumerate(arguments["answers"])}
    await ctx.ask("session_form_reply", sessionID=form["sessionID"], formID=form_id, answer=answer)
    return True


async def reject_question(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Cancel a form without a message."""
    [form] = [item for item in await questions(ctx, arguments) if item["id"] == arguments["requestID"]]
    await ctx.ask("session_form_cancel", sessionID=form["sessionID"], formID=form["id"])
    return True


async def shell(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Run a command; it has no agent."""
    await ctx.ask("session_shell", sessionID=arguments["sessionID"], command=arguments["command"])
    return True


async def dispose(ctx: OpenCode2Context, arguments: Json) -> Any:
    """Reload every location: OpenCode 1 disposes the instance of a directory whose configuration is written."""
    await ctx.ask("location_reload")
    return True


async def worktrees(ctx: OpenCode2Context, arguments: Json) -> Any:
    """List the directories of a project's worktrees."""
    location = await ctx.ask("location_get", location={"directory": arguments["directory"]})
    listed = await ctx.ask("worktree_list", projectID=location["project"]["id"])
    return [item["directory"] for item in listed["result"]]


TRANSLATIONS: Mapping[str, Translation] = {
    "session_abort": abort,
    "session_delete": delete,
    "session_children": children,
    "session_list": sessions,
    "session_status": status,
    "session_messages": messages,
    "session_prompt_async": prompt_async,
    "session_create": create,
    "session_revert": revert,
    "permission_list": permissions,
    "permission_reply": reply_permission,
    "question_list": questions,
    "question_reply": reply_question,
    "question_reject": reject_question,
    "session_shell": shell,
    "config_update": dispose,
    "worktree_list": worktrees,
}
"""What scenarios call of OpenCode 1, and what stands for it."""

UNTRANSLATED: Mapping[str, str] = {
    "path_get": "OpenCode 2 does not say where the home folder is; `home_folder` does",
    "session_prompt": "OpenCode 2 has no prompt that blocks until the answer",
}
"""What scenarios call of OpenCode 1 and nothing stands for."""


@asynccontextmanager
async def open_opencode2_context(
    model: ScriptedModel, folder: Path, key: str, config: Mapping[str, Any] | None = None, **options: Any
) -> AsyncGenerator[tuple[OpenCode2Context, FakeOpenCode2]]:
    """Provide a scenario's context on a fake of its own, with a project of its own.

    `program` is a fake too: what a scenario starts has the same models and password, and data of its own. `options`
    are those of the fake.
    """
    environ = make_environ(model, folder)
    project = make_asking_project(folder / key, environ, {**QUICK_CONFIG, **(config or {})})
    catalog = Catalog.from_snapshot(2)
    program = Program((str(install_program(folder / "bin")),), version=VERSION, generation=2)
    shared = SharedFixtures(catalog, model, program, environ)
    async with open_opencode2(Options(provider_config(model.url), folder=folder / f"data-{key}", **options)) as fake:
        settings = Settings(url=fake.url, password=PASSWORD, directory=str(project), generation="2", environ=environ)
        async with open_client(settings, catalog) as client:
            yield OpenCode2Context(shared, settings, project, key, client), fake


def make_environ(model: ScriptedModel, folder: Path) -> Mapping[str, str]:
    """Return the environment of processes that a scenario starts."""
    home = folder / "home"
    home.mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCODE", "XDG_"))}
    return {
        **inherited,
        **GIT_IDENTITY,
        **environment(model.url, home),
        "HOME": str(home),
        "OPENCODE_PASSWORD": PASSWORD,
        "OPENCODE_MCP_NO_SHARE": "1",
    }
