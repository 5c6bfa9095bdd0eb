"""What OpenCode 2 asks the user: permissions and forms, as requests of tasks, with the replies."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.exceptions import APIError, WorkflowError
from opencode_mcp.opencode.forms import NO_SESSION, FormRequest
from opencode_mcp.opencode.models import AgentRequest, PermissionRule, StoredPermissionRequest
from opencode_mcp.tasks.model_selection import Selection, check_model_selection
from opencode_mcp.tasks.session_state import classify_reply
from tests.eventually import eventually

from .engine_client import EngineClient, open_engine

pytestmark = pytest.mark.anyio

ASK = [PermissionRule(permission="bash", pattern="*", action="ask")]
TOUCH = f"script:tool bash {json.dumps({'command': 'touch made', 'description': 'Make it'})}"
FIELDS: list[dict[str, Any]] = [
    {"key": "colour", "type": "string", "options": [{"value": "#f00", "label": "Red"}], "required": True},
    {"key": "count", "type": "integer", "minimum": 1},
    {"key": "sure", "type": "boolean", "when": [{"key": "count", "op": "eq", "value": 2}]},
    {"key": "page", "type": "external", "url": "https://opencode.ai"},
    {"key": "key", "type": "string", "hidden": True, "default": "secret"},
]


@pytest.fixture
async def opened(model: ScriptedModel, tmp_path: Path) -> AsyncGenerator[EngineClient]:
    """An engine on a fake."""
    async with open_engine(model, tmp_path) as opened:
        yield opened


async def wait_for_request(opened: EngineClient) -> AgentRequest:
    """Wait for the only request."""
    [request] = await eventually(lambda: opened.engine.list_requests(opened.directory), bool)
    return request


async def test_a_permission_has_the_words_of_opencode_2(opened: EngineClient, spawns: None) -> None:
    """A rule about `bash` is one about `shell`; `always` is stored, so the next session need not ask."""
    session = await opened.start(TOUCH, await opened.create(rules=ASK))
    request = await wait_for_request(opened)
    assert isinstance(request, StoredPermissionRequest)
    assert (request.session_id, request.permission, request.patterns) == (session.id, "shell", ("touch made",))
    assert (request.always, request.always_lasts) == (("touch *",), "permanently")
    await opened.engine.reply_to_permission(opened.directory, request, "always")
    await opened.client.wait(session.id)
    assert await opened.engine.list_requests(opened.directory) == []
    await opened.run(TOUCH, await opened.create(rules=ASK))
    with pytest.raises(APIError) as caught:
        await opened.engine.reply_to_permission(opened.directory, request, "once")
    assert caught.value.status == 404


@pytest.mark.parametrize(("message", "state"), [("", "stopped"), ("ask later", "completed")])
async def test_a_question_is_rejected(opened: EngineClient, message: str, state: str) -> None:
    """It ends the turn; with a message the model goes on."""
    session = await opened.start("script:question")
    request = await wait_for_request(opened)
    assert isinstance(request, FormRequest)
    assert [(question.question, question.custom) for question in request.questions] == [("Which one is best?", True)]
    with pytest.raises(WorkflowError, match=r"'Which one is best\?' takes one of Red, .*or own words; got none"):
        await opened.engine.answer_question(opened.directory, request, [[]])
    await opened.engine.answer_question(opened.directory, request, None, message)
    await opened.client.wait(session.id)
    assert classify_reply(await opened.newest(session)).state == state
    with pytest.raises(APIError) as caught:
        await opened.engine.answer_question(opened.directory, request, [["Red"]])
    assert caught.value.status == 404


async def test_a_form_is_answered_with_the_values_of_its_fields(opened: EngineClient) -> None:
    """OpenCode takes the converted answer; a wrong one is refused before anything is sent."""
    session = await opened.create()
    created = await opened.client.post(f"session/{session.id}/form", title="Deploy", fields=FIELDS)
    request = await wait_for_request(opened)
    assert isinstance(request, FormRequest)
    assert (request.title, len(request.questions)) == ("Deploy", 4)
    sent = len(opened.client.fake.contract.requests)
    with pytest.raises(WorkflowError, match="'count' takes a whole number, at least 1; got '0'"):
        await opened.engine.answer_question(opened.directory, request, [["Red"], ["0"], [], ["done"]])
    assert len(opened.client.fake.contract.requests) == sent
    await opened.engine.answer_question(opened.directory, request, [["Red"], ["2"], ["yes"], ["done"]])
    detail = await opened.client.get(f"session/{session.id}/form/{created['data']['id']}")
    answer = {"colour": "#f00", "count": 2, "sure": True, "page": True, "key": "secret"}
    assert detail["data"]["state"] == {"status": "answered", "answer": answer}


async def test_a_form_without_a_session_is_of_the_only_one_that_works(opened: EngineClient) -> None:
    """With two it may be either's; it is answered in its directory."""
    shared = opened.client.fake.engine.requests.create_shared_form(opened.directory, "Sign in", FIELDS[3:4])
    assert (await wait_for_request(opened)).session_id == NO_SESSION
    session = await opened.start("script:hang")
    await opened.newest_reply(session)
    request = await wait_for_request(opened)
    assert isinstance(request, FormRequest)
    assert (request.session_id, request.owner_id) == (session.id, NO_SESSION)
    second = await opened.start("script:hang")
    await opened.newest_reply(second)
    assert (await wait_for_request(opened)).session_id == NO_SESSION
    await opened.engine.answer_question(opened.directory, request, [["done"]])
    assert shared.detail["state"]["answer"] == {"page": True}
    for running in (session, second):
        await opened.engine.abort(running.id)


async def test_what_a_prompt_can_choose_from(opened: EngineClient) -> None:
    """Agents with their rules, models with their variants; a model must be configured or named."""
    agents = {agent.name: agent for agent in await opened.engine.list_agents(opened.directory)}
    assert agents["plan"].permission[-1] == PermissionRule(permission="edit", pattern="*", action="deny")
    models = await opened.engine.list_models(opened.directory)
    assert "scripted/scripted" in models
    assert (await opened.engine.read_config(opened.directory)).model == "scripted/scripted"
    assert await opened.engine.list_tool_names(opened.directory) == (set(), set())


async def test_a_model_must_be_named_where_none_is_configured(model: ScriptedModel, tmp_path: Path) -> None:
    """OpenCode would send the prompt to a model that it hosts."""
    async with open_engine(model, tmp_path, config={"model": None}) as opened:
        opened.client.fake.engine.empty_model_lists = 2
        with pytest.raises(
            WorkflowError, match=r"no model is configured.* Nothing was sent: name a `model`, such as sc"
        ):
            await check_model_selection(opened.engine.opencode, opened.directory, Selection())
        selection = Selection("scripted/scripted")
        assert await check_model_selection(opened.engine.opencode, opened.directory, selection) == {
            "model": {"providerID": "scripted", "modelID": "scripted"}
        }


async def test_the_model_of_the_default_agent_is_sent(model: ScriptedModel, tmp_path: Path) -> None:
    """A session without a model would have the default one of its directory, which may be one that OpenCode hosts."""
    config = {"model": None, "agent": {"build": {"model": "scripted/scripted"}}}
    async with open_engine(model, tmp_path, config=config) as opened:
        assert await check_model_selection(opened.engine.opencode, opened.directory, Selection()) == {
            "model": {"providerID": "scripted", "modelID": "scripted"}
        }
