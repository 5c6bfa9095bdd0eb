"""A task's access and policy on OpenCode 2, where the rules of a session are replaced: a follow-up may lift them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.opencode.models import PermissionRule
from tests.scenarios.permissions import touch_prompt, touched_file

from .engine_client import open_engine
from .scenario_context import open_opencode2_context

pytestmark = pytest.mark.anyio

DENY_READ = PermissionRule(permission="read", pattern="*", action="deny")
DENY_EDIT = PermissionRule(permission="edit", pattern="*", action="deny")
ALLOW_ALL = PermissionRule(permission="*", pattern="*", action="allow")


async def test_what_was_allowed_is_withdrawn(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """After `allow` a session asks again; an access is taken back as well. OpenCode 1 only adds to rules."""
    async with open_opencode2_context(model, tmp_path, "row4101x") as (ctx, fake):
        session_id = (await ctx.run_task("script:text before", permissions="allow")).session_id
        observed = await ctx.run_task(touch_prompt(ctx), session_id=session_id, permissions="report")
        assert (observed.state, touched_file(ctx).exists()) == ("waiting_permission", False)
        await ctx.call_tool("stop_task", session_id=session_id)
        write = f"script:tool write {json.dumps({'filePath': touched_file(ctx).name, 'content': 'made'})}"
        await ctx.run_task(write, session_id=session_id, access="read")
        assert not touched_file(ctx).exists()
        assert (await ctx.run_task(write, session_id=session_id, access="full")).state == "completed"
        assert touched_file(ctx).read_text() == "made"
    assert (fake.contract.faults, fake.answer_faults, fake.not_played) == ([], [], [])


async def test_the_rules_of_the_user_stay(model: ScriptedModel, tmp_path: Path) -> None:
    """Only what bridges have added is replaced, also where the user has changed the rules meanwhile."""
    async with open_engine(model, tmp_path) as opened:
        engine, client = opened.engine, opened.client
        session = await opened.create()
        path, own = f"session/{session.id}", {"action": "read", "resource": "*", "effect": "deny"}
        await client.request("PATCH", path, json={"permissions": [own]})

        async def rules_after(*rules: PermissionRule) -> list[tuple[str, str]]:
            current = await engine.read_session(session.id)
            await engine.update_session(session.id, metadata=current.metadata, rules=rules)
            listed = (await client.get(path))["data"].get("permissions", [])
            return [(rule["action"], rule["effect"]) for rule in listed]

        assert await rules_after(ALLOW_ALL) == [("read", "deny"), ("*", "allow")]
        assert await rules_after(DENY_EDIT, DENY_READ) == [("read", "deny"), ("edit", "deny"), ("read", "deny")]
        assert await rules_after() == [("read", "deny")]
        assert await rules_after(DENY_EDIT) == [("read", "deny"), ("edit", "deny")]
        asks = {"action": "shell", "resource": "*", "effect": "ask"}
        denies = {"action": "edit", "resource": "*", "effect": "deny"}
        await client.request("PATCH", path, json={"permissions": [own, denies, asks]})
        assert await rules_after(ALLOW_ALL) == [("read", "deny"), ("shell", "ask"), ("*", "allow")]
