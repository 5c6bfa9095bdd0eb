"""The tools that the conformance suite calls by name.

`TOOL_HANDLERS` are given what every tool of ours is given: their progress, questions, results and errors go the
way of all others. `REQUEST_HANDLERS` ask a client for what the bridge never asks for, by means of the SDK alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.shared.message import ServerMessageMetadata

from opencode_mcp.exceptions import OpenCodeError
from opencode_mcp.opencode import Answer
from opencode_mcp.opencode.models import QuestionInfo, QuestionRequest
from opencode_mcp.server.elicitation import elicitation_params, make_elicitor
from opencode_mcp.server.lifespan import RequestContext
from opencode_mcp.tasks import Context, Decision, Undecided
from opencode_mcp.tools.results import Limit, operation_result
from opencode_mcp.tools.truncate import NO_REDACTION

from .fixture_contents import PNG, make_audio, make_embedded, make_image, make_text

Params = types.CallToolRequestParams | types.GetPromptRequestParams
ToolHandler = Callable[[Context], Awaitable[types.CallToolResult]]
RequestHandler = Callable[[RequestContext, Params], Awaitable[types.CallToolResult | types.InputRequiredResult]]

LIMIT = Limit(10_000, "there is no more of it")
EMPTY_SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {}}


def text_result(value: str) -> types.CallToolResult:
    """Return a text as our results are made."""
    return operation_result(Answer(value, media_type="text/plain"), LIMIT, NO_REDACTION)


async def simple_text_tool(context: Context) -> types.CallToolResult:
    """Return a text."""
    return text_result("This is a simple text response for testing.")


async def image_tool(context: Context) -> types.CallToolResult:
    """Return an image."""
    return operation_result(Answer(PNG, media_type="image/png"), LIMIT, NO_REDACTION)


async def audio_tool(context: Context) -> types.CallToolResult:
    """Return a sound, which no operation of OpenCode does."""
    return types.CallToolResult(content=[make_audio()])


async def embedded_resource_tool(context: Context) -> types.CallToolResult:
    """Return a resource within the result."""
    return types.CallToolResult(
        content=[make_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]
    )


async def multiple_content_types(context: Context) -> types.CallToolResult:
    """Return several contents."""
    resource = make_embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return types.CallToolResult(content=[make_text("Multiple content types test:"), make_image(), resource])


async def error_handling(context: Context) -> types.CallToolResult:
    """Fail."""
    raise OpenCodeError("This tool intentionally returns an error for testing")


async def tool_with_progress(context: Context) -> types.CallToolResult:
    """Tell three times how far it is."""
    for percent in (0, 50, 100):
        await context.report_progress(f"{percent} of 100")
    return text_result("Told three times.")


async def ask_user(context: Context, key: str, question: str, **state: Any) -> Decision | Undecided:
    """Ask the user as tasks do. The form is ours: the suite fills in another, which decides nothing here.

    Raises:
        MCPError: the client cannot ask.
    """
    if context.elicitor is None:
        raise MCPError(types.INVALID_PARAMS, "This client cannot ask its user.")
    request = QuestionRequest(id=key, session_id="ses_fixture", questions=(QuestionInfo(question=question),))
    return await context.elicitor.elicit(request, state)


async def elicitation(context: Context) -> types.CallToolResult:
    """Ask once."""
    return text_result(f"User response: {await ask_user(context, 'user', 'Please provide your information')}")


async def streaming_elicitation(context: Context) -> types.CallToolResult:
    """Ask after telling what it does."""
    await context.report_progress("about to ask")
    return await elicitation(context)


async def required_name(context: Context) -> types.CallToolResult:
    """Ask under the key that the suite answers."""
    return text_result(f"Hello! {await ask_user(context, 'user_name', 'What is your name?')}")


async def required_confirmation(context: Context) -> types.CallToolResult:
    """Ask, and see that the state came back as it was."""
    await ask_user(context, "confirm", "Please confirm", secret="unchanged")
    assert context.resume_state is not None
    return text_result("state-ok" if context.resume_state["secret"] == "unchanged" else "not the state that was given")


async def multi_round(context: Context) -> types.CallToolResult:
    """Ask twice, one after the other."""
    if (context.resume_state or {}).get("step", 1) == 1:
        await ask_user(context, "step1", "Step 1: What is your name?", step=1)
    await ask_user(context, "step2", "Step 2: What is your favorite color?", step=2)
    return text_result("Both were answered.")


TOOL_HANDLERS: Mapping[str, ToolHandler] = {
    "test_simple_text": simple_text_tool,
    "test_image_content": image_tool,
    "test_audio_content": audio_tool,
    "test_embedded_resource": embedded_resource_tool,
    "test_multiple_content_types": multiple_content_types,
    "test_error_handling": error_handling,
    "test_tool_with_progress": tool_with_progress,
    "test_elicitation": elicitation,
    "test_streaming_elicitation": streaming_elicitation,
    "test_logging_tool": simple_text_tool,
    "test_input_required_result_elicitation": required_name,
    "test_input_required_result_request_state": required_confirmation,
    "test_input_required_result_tampered_state": required_confirmation,
    "test_input_required_result_multi_round": multi_round,
    "json_schema_2020_12_tool": simple_text_tool,
    "test_header": simple_text_tool,
}


def sampling_request(prompt: str) -> types.CreateMessageRequest:
    """Return a request to the client's model."""
    messages = [types.SamplingMessage(role="user", content=make_text(prompt))]
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=messages, max_tokens=100))


async def push_sampling(context: RequestContext, params: Params) -> types.CallToolResult:
    """Ask the client's model while the call is open."""
    related = ServerMessageMetadata(related_request_id=context.request_id)
    prompt = str((params.arguments or {}).get("prompt"))
    answer = await context.session.send_request(sampling_request(prompt), types.CreateMessageResult, metadata=related)
    return text_result(f"LLM response: {answer.content}")


def push_form(fields: Mapping[str, Any]) -> RequestHandler:
    """Return a tool that asks the user by a form while the call is open."""

    async def ask(context: RequestContext, params: Params) -> types.CallToolResult:
        schema: dict[str, Any] = {"type": "object", "properties": dict(fields)}
        answer = await context.session.elicit_form("Please fill in", schema, related_request_id=context.request_id)
        return text_result(f"Elicitation completed: action={answer.action}, content={answer.content}")

    return ask


def require_input(kinds: Mapping[str, str], state: str | None = None) -> RequestHandler:
    """Return a tool that ends with questions of these kinds by key, those that the client can answer."""

    async def ask(context: RequestContext, params: Params) -> types.CallToolResult | types.InputRequiredResult:
        capabilities = context.session.client_capabilities or types.ClientCapabilities()
        requests: types.InputRequests = {}
        for key, kind in kinds.items():
            if kind == "sampling" and capabilities.sampling is not None:
                requests[key] = sampling_request("What is the capital of France?")
            elif kind == "roots" and capabilities.roots is not None:
                requests[key] = types.ListRootsRequest(params=types.RequestParams())
            elif kind == "elicitation" and can_ask(context):
                requests[key] = form_request(context, key, "What is your name?")
        if requests.keys() <= (params.input_responses or {}).keys():
            return text_result(f"Answered: {params.input_responses}")
        return types.InputRequiredResult(input_requests=requests, request_state=state)

    return ask


def can_ask(context: RequestContext) -> bool:
    """Whether our code would ask this client's user."""
    return make_elicitor(context, types.CallToolRequestParams(name=""), None) is not None


def form_request(context: RequestContext, key: str, words: str) -> types.ElicitRequest:
    """Return a question as our code asks it."""
    asked = QuestionRequest(id=key, session_id="ses_fixture", questions=(QuestionInfo(question=words),))
    return types.ElicitRequest(params=elicitation_params(asked, context.lifespan_context.redactor))


async def missing_capability(context: RequestContext, params: Params) -> types.CallToolResult:
    """Refuse a client without a model."""
    needed = types.ClientCapabilities(sampling=types.SamplingCapability())
    if not context.session.check_client_capability(needed):
        data = types.MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs sampling.",
            data.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return text_result("This client has a model.")


DEFAULTS: Mapping[str, Any] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
OPTIONS = ["option1", "option2", "option3"]
TITLED = [{"const": f"value{number}", "title": f"Choice {number}"} for number in (1, 2, 3)]
ENUMS: Mapping[str, Any] = {
    "untitledSingle": {"type": "string", "enum": OPTIONS},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}

REQUEST_HANDLERS: Mapping[str, RequestHandler] = {
    "test_sampling": push_sampling,
    "test_elicitation_sep1034_defaults": push_form(DEFAULTS),
    "test_elicitation_sep1330_enums": push_form(ENUMS),
    "test_missing_capability": missing_capability,
    "test_input_required_result_sampling": require_input({"capital_question": "sampling"}),
    "test_input_required_result_list_roots": require_input({"client_roots": "roots"}),
    "test_input_required_result_multiple_inputs": require_input(
        {"user_name": "elicitation", "greeting": "sampling", "client_roots": "roots"}, "all of them"
    ),
    "test_input_required_result_capabilities": require_input({"name": "elicitation", "greeting": "sampling"}),
}

STRING_SCHEMA: Mapping[str, Any] = {"type": "string"}
SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "test_elicitation": {"type": "object", "properties": {"message": STRING_SCHEMA}, "required": ["message"]},
    "test_sampling": {"type": "object", "properties": {"prompt": STRING_SCHEMA}, "required": ["prompt"]},
    "test_header": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    },
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"city": STRING_SCHEMA}}},
        "properties": {
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": STRING_SCHEMA,
            "email": STRING_SCHEMA,
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
}
"""Input schemas of those that take anything."""


def input_schema(name: str) -> Mapping[str, Any]:
    """Return a fixture's input schema."""
    return SCHEMAS.get(name, EMPTY_SCHEMA)


def list_tools(*others: str) -> list[types.Tool]:
    """Return all fixtures as they are listed, and others by their names."""
    return [
        types.Tool(name=name, description="A fixture of the conformance suite.", input_schema=dict(input_schema(name)))
        for name in (*TOOL_HANDLERS, *REQUEST_HANDLERS, *others)
    ]
