"""The state of a question, which comes back through the client: to any replica with the same key, and to no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.client import ClientRequestContext

from opencode_mcp.settings import Settings
from tests.conftest import Connect
from tests.facts import facts

pytestmark = pytest.mark.anyio

KEY, OTHER_KEY = "a key of the tests, long enough 1", "a key of the tests, long enough 2"
TASK = {"prompt": "script:question"}


async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Say that there is a user, who is not asked this way."""
    raise NotImplementedError


async def start_task_call(client: Client, **more: object) -> types.CallToolResult | types.InputRequiredResult:
    """Call the task, and get the question as it comes."""
    return await client.session.call_tool("run_task", TASK, allow_input_required=True, **more)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]


def answer_all(question: types.InputRequiredResult) -> Mapping[str, types.ElicitResult]:
    """Answer all that is asked."""
    result = types.ElicitResult(action="accept", content={"answer_1": "Blue", "answer_1_other": "Blue"})
    return dict.fromkeys(question.input_requests or (), result)


async def test_another_replica_takes_the_answer(connect: Connect, attached: Settings) -> None:
    """A question that one replica asked is answered through the other."""
    settings = replace(attached, state_key=KEY)
    async with (
        connect(settings, elicitation_callback=ask) as client,
        connect(settings, elicitation_callback=ask) as other,
    ):
        question = await start_task_call(client)
        assert isinstance(question, types.InputRequiredResult)
        given = {"input_responses": answer_all(question), "request_state": question.request_state}
        result = await start_task_call(other, **given)

    assert isinstance(result, types.CallToolResult)
    assert not result.is_error
    assert facts(result)["state"] == "completed"


@pytest.mark.parametrize("key", [OTHER_KEY, ""])
async def test_a_replica_with_another_key_refuses_it(connect: Connect, attached: Settings, key: str) -> None:
    """What it cannot open it does not take: an error of the protocol, and the task waits as before."""
    async with (
        connect(replace(attached, state_key=KEY), elicitation_callback=ask) as client,
        connect(replace(attached, state_key=key), elicitation_callback=ask) as other,
    ):
        question = await start_task_call(client)
        assert isinstance(question, types.InputRequiredResult)
        given = {"input_responses": answer_all(question), "request_state": question.request_state}
        with pytest.raises(MCPError, match="Invalid or expired requestState") as raised:
            await start_task_call(other, **given)
        result = await start_task_call(client, **given)

    assert raised.value.code == types.INVALID_PARAMS
    assert isinstance(result, types.CallToolResult)
    assert not result.is_error
