"""What the conformance suite reads by name: resources, prompts, and the contents that its tools return."""

from __future__ import annotations

import io
import wave
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import mcp_types as types

from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.engine import EngineTraits
from opencode_mcp.server.prompts import BuiltInPrompt, make_argument
from opencode_mcp.server.resources.handlers import ResourceDefinition, define_resource
from opencode_mcp.server.resources.readers import JSON, Content, as_json

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==")
WATCHED = "test://watched-resource"
RAW_PROMPTS = "test_prompt_with_embedded_resource", "test_prompt_with_image", "test_input_required_result_prompt"


def make_silence() -> bytes:
    """Return a short WAV of nothing."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 8)
    return file.getvalue()


def make_text(value: str) -> types.TextContent:
    """Return a text."""
    return types.TextContent(type="text", text=value)


def make_image() -> types.ImageContent:
    """Return an image of one red point."""
    return types.ImageContent(type="image", data=b64encode(PNG).decode(), mime_type="image/png")


def make_audio() -> types.AudioContent:
    """Return a short silence."""
    return types.AudioContent(type="audio", data=b64encode(make_silence()).decode(), mime_type="audio/wav")


def make_embedded(uri: str, mime_type: str, value: str) -> types.EmbeddedResource:
    """Return a text with the resource that it is from."""
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=value)
    return types.EmbeddedResource(type="resource", resource=resource)


async def static_text(opencode: OpenCodeClient) -> Content:
    """Read a text."""
    return Content("This is the content of the static text resource.", "text/plain")


async def static_binary(opencode: OpenCodeClient) -> Content:
    """Read bytes."""
    return Content(PNG, "image/png")


async def read_template(opencode: OpenCodeClient, id: str) -> Content:
    """Read what depends on a variable."""
    return as_json({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


RESOURCES: tuple[ResourceDefinition, ...] = (
    define_resource("test://static-text", "static-text", "Text", "A text.", "text/plain", static_text),
    define_resource("test://static-binary", "static-binary", "Bytes", "An image.", "image/png", static_binary),
    define_resource("test://template/{id}/data", "template", "Template", "By its id.", JSON, read_template),
    define_resource(WATCHED, "watched-resource", "Watched", "Can be subscribed to.", "text/plain", static_text),
)
"""Rows of our own table."""


def simple_prompt(given: Mapping[str, str], traits: EngineTraits) -> str:
    """Say the words of the simple prompt."""
    return "This is a simple prompt for testing."


def prompt_with_arguments(given: Mapping[str, str], traits: EngineTraits) -> str:
    """Say what was given."""
    return f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'"


PROMPTS: tuple[BuiltInPrompt, ...] = (
    BuiltInPrompt("test_simple_prompt", "Simple", "A prompt without arguments.", (), simple_prompt),
    BuiltInPrompt(
        "test_prompt_with_arguments",
        "With arguments",
        "A prompt with two arguments.",
        (make_argument("arg1", "The first.", required=True), make_argument("arg2", "The second.", required=True)),
        prompt_with_arguments,
    ),
)
"""Rows of our own table, which holds prompts of one text each. The others are beside it."""


def list_raw_prompts() -> list[types.Prompt]:
    """Return the prompts that our table cannot hold."""
    uri = types.PromptArgument(name="resourceUri", description="What to embed.", required=True)
    return [
        types.Prompt(name=name, description="A fixture.", arguments=[uri] if "embedded" in name else [])
        for name in RAW_PROMPTS
    ]


def make_prompt(*contents: Any) -> types.GetPromptResult:
    """Return a prompt of one message for each content."""
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=content) for content in contents])


def embedding_prompt(uri: str) -> types.GetPromptResult:
    """Return a prompt with a resource in it."""
    resource = make_embedded(uri, "text/plain", "Embedded resource content for testing.")
    return make_prompt(resource, make_text("Please process the embedded resource above."))


def image_prompt() -> types.GetPromptResult:
    """Return a prompt with an image in it."""
    return make_prompt(make_image(), make_text("Please analyze the image above."))
