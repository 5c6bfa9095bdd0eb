"""The resources, as one table of URIs and their readers, and the handlers of resources/list, templates and read.

resources/read -> `match_uri` (the first template that matches) -> its reader (`readers.py`) -> `Content.render`
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate

from opencode_mcp import board
from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import APIError, InvalidArguments, NotFound, OpenCodeError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode.models import Session
from opencode_mcp.opencode.pool import merge_newest_first
from opencode_mcp.redaction import Position, Redactor
from opencode_mcp.server.if_running import call_if_running
from opencode_mcp.server.lifespan import STATIC_TTL_MS, Lifespan, RequestContext
from opencode_mcp.server.roots import apply_client_root
from opencode_mcp.server.subscriptions.watcher import ChangeFilter
from opencode_mcp.skills import Skill, read_skills
from opencode_mcp.tools.truncate import abbreviate

from . import readers
from .readers import JSON, Content, last_modified, newest_sessions, updated_ms

MAX_LISTED_SESSIONS = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResourceDefinition:
    """A resource, or all resources of a template. Without `changes` it cannot be subscribed to.

    `needs` is the tool name of the operation without which OpenCode does not have it.

    `mime_type` is None where it depends on the resource; `ttl_ms` is how long a client may cache it, and a cache with
    the `cache_scope` "public" may serve several users. `content_meta` is the `_meta` of its content.
    """

    uri: UriTemplate
    name: str
    title: str
    description: str
    mime_type: str | None
    read: Callable[..., Awaitable[Content]]
    changes: ChangeFilter | None = None
    ttl_ms: int = 0
    cache_scope: Literal["private", "public"] = "private"
    needs: str | None = None
    content_meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def is_in(self, catalog: Catalog) -> bool:
        """Whether OpenCode has it."""
        return self.needs is None or self.needs in catalog

    @property
    def listed(self) -> dict[str, Any]:
        """What the lists of resources and of templates have in common."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mime_type": self.mime_type,
        }


def define_resource(uri: str, *columns: Any, **more: Any) -> ResourceDefinition:
    """Return a resource; `columns` and `more` are its other fields."""
    return ResourceDefinition(UriTemplate.parse(uri), *columns, **more)


def define_skill(skill: Skill) -> ResourceDefinition:
    """Return the file of a skill as a resource."""
    title = skill.name.replace("-", " ").capitalize().replace("Opencode", "OpenCode")
    return define_resource(
        skill.uri,
        skill.name,
        f"Skill: {title}",
        skill.frontmatter["description"],
        "text/markdown",
        partial(readers.skill, text=skill.text),
        ttl_ms=STATIC_TTL_MS,
        cache_scope="public",
    )


SESSION_URI = UriTemplate.parse("opencode://session/{id}")

RESOURCES: tuple[ResourceDefinition, ...] = (
    define_resource(
        "opencode://sessions",
        "sessions",
        "Sessions",
        "The project's newest sessions, and which of them are busy. Subscribe to follow them all.",
        JSON,
        readers.sessions,
        changes=ChangeFilter(("session.", "message.", "permission.", "question.")),
    ),
    define_resource(
        SESSION_URI.template,
        "session",
        "Session",
        "A session: its current state, pending requests, last answer, cost and tokens. Subscribe to follow it.",
        JSON,
        readers.session,
        changes=ChangeFilter(("",), subagents=True),
    ),
    define_resource(
        "opencode://session/{id}/transcript",
        "transcript",
        "Transcript of a session",
        "The newest messages of the conversation as plain text.",
        "text/plain",
        readers.transcript,
        changes=ChangeFilter(("message.",)),
    ),
    define_resource(
        "opencode://session/{id}/diff",
        "diff",
        "Changes of a session",
        "The session's file changes, as one patch.",
        "text/x-diff",
        readers.diff,
        changes=ChangeFilter(("message.", "session.diff")),
    ),
    define_resource(
        "opencode://session/{id}/todo",
        "todo",
        "To-do list of a session",
        "The session's to-do items and their status.",
        JSON,
        readers.todo,
        changes=ChangeFilter(("todo.",)),
        needs="session_todo",
    ),
    define_resource(
        "opencode://file/{+path}",
        "file",
        "File of the project",
        "A file by its path below the project's directory.",
        None,
        readers.file,
    ),
    define_resource(
        "opencode://agents",
        "agents",
        "Agents",
        "The agents that a task or a message can name.",
        JSON,
        readers.agents,
    ),
    define_resource(
        "opencode://models",
        "models",
        "Models",
        "The models of the configured providers, as provider/model, with limits and prices.",
        JSON,
        readers.models,
    ),
    define_resource(
        "opencode://config",
        "config",
        "Configuration",
        "OpenCode's configuration for the project; secrets are left out.",
        JSON,
        readers.config,
    ),
    define_resource(
        "opencode://operations",
        "operations",
        "Operations",
        "Every operation of OpenCode's HTTP API by the name of its tool.",
        JSON,
        readers.operations,
        ttl_ms=STATIC_TTL_MS,
    ),
    define_resource(
        "opencode://operation/{name}",
        "operation",
        "Operation",
        "One operation: description, full schemas of its arguments and its answer, pitfalls, an example.",
        JSON,
        readers.operation,
        ttl_ms=STATIC_TTL_MS,
    ),
    define_resource(
        "opencode://operation/{name}/{+pointer}",
        "operation_part",
        "Part of an operation",
        "The part of an operation's description at a JSON pointer, such as response_schema.",
        JSON,
        readers.operation,
        ttl_ms=STATIC_TTL_MS,
    ),
    *map(define_skill, read_skills()),
    define_resource(
        board.URI,
        "board",
        "Board of tasks",
        "The page that clients with MCP Apps show beside the results of task tools, for people: every task of the "
        "project, what waits for an answer, and the changes.",
        board.MIME_TYPE,
        readers.board_page,
        ttl_ms=STATIC_TTL_MS,
        cache_scope="public",
        content_meta={"ui": {"prefersBorder": True}},
    ),
)


async def list_resources(
    context: RequestContext, params: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    """List the resources without variables, and the newest sessions of an OpenCode that is already running."""
    servers = context.lifespan_context.servers
    by_server, _ = await servers.gather(
        partial(call_if_running, query=lambda client: newest_sessions(client, MAX_LISTED_SESSIONS))
    )
    unreachable = [name for name, listed in by_server.items() if listed is None]
    sessions = merge_newest_first({name: listed or () for name, listed in by_server.items()}, updated_ms)
    fixed = [
        types.Resource(uri=definition.uri.template, **definition.listed)
        for definition in RESOURCES
        if not definition.uri.variables
    ]
    return types.ListResourcesResult(
        resources=[
            *fixed,
            *(
                session_resource(session, servers.clients[name], context.lifespan_context.redactor)
                for name, session in sessions[:MAX_LISTED_SESSIONS]
            ),
        ],
        _meta={"unreachable": unreachable} if unreachable and len(servers.clients) > 1 else None,
    )


def session_resource(session: Session, opencode: OpenCodeClient, redactor: Redactor) -> types.Resource:
    """Return a session as a resource; with several servers, the description names its server."""
    location = f"{session.directory} on {opencode.server.name}" if opencode.server.name else session.directory
    return types.Resource(
        uri=SESSION_URI.expand({"id": session.id}),
        name=session.id,
        title=redactor.redact_text(session.title) or None,
        description=redactor.redact_text(f"Session in {location}", Position.IDENTIFIER),
        mime_type=JSON,
        annotations=types.Annotations(last_modified=last_modified(session)),
    )


async def list_resource_templates(
    context: RequestContext, params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    """List the resources with variables that OpenCode has."""
    catalog = context.lifespan_context.servers.default.catalog
    return types.ListResourceTemplatesResult(
        resource_templates=[
            types.ResourceTemplate(uri_template=definition.uri.template, **definition.listed)
            for definition in RESOURCES
            if definition.uri.variables and definition.is_in(catalog)
        ]
    )


async def read_resource(context: RequestContext, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """Read a resource. Unlike a list, this starts OpenCode if needed."""
    lifespan = context.lifespan_context
    with resource_errors(params.uri, lifespan):
        definition, variables = match_uri(params.uri, lifespan.servers.default.catalog)
        all_servers = await apply_client_root(context)
        async with (
            all_servers.for_session(variables["id"]) if "id" in variables else nullcontext(all_servers) as servers
        ):
            content = await definition.read(servers, **variables)
        value, replaced = content.render(lifespan.redactor, lifespan.result_chars)
    meta = {**definition.content_meta, **({"redacted": replaced} if replaced else {})} or None
    if isinstance(value, bytes):
        blob = base64.b64encode(value).decode()
        item = types.BlobResourceContents(uri=params.uri, mime_type=content.mime_type, blob=blob)
    else:
        item = types.TextResourceContents(uri=params.uri, mime_type=content.mime_type, text=value, _meta=meta)
    return types.ReadResourceResult(contents=[item], ttl_ms=definition.ttl_ms, cache_scope=definition.cache_scope)


def match_uri(uri: str, catalog: Catalog) -> tuple[ResourceDefinition, dict[str, str]]:
    """Return the resource that a URI names, and the values of its variables.

    Raises:
        NotFound: it names no resource, or one that this generation of OpenCode does not have.
    """
    for definition in RESOURCES:
        if (variables := definition.uri.match(uri)) is not None:
            if not definition.is_in(catalog):
                title, number = definition.title, catalog.generation.number
                raise NotFound(f"{abbreviate(uri)}: OpenCode {number} does not have this ({title}).")
            return definition, {name: str(value) for name, value in variables.items()}
    raise NotFound(f"Unknown resource: {abbreviate(uri)}")


@contextmanager
def resource_errors(uri: str, lifespan: Lifespan) -> Generator[None]:
    """Map errors to protocol errors: a missing resource is -32602 in every protocol version (SEP-2164)."""

    def message(error: Exception) -> str:
        return abbreviate(lifespan.redactor.redact_error(error), lifespan.result_chars)

    try:
        yield
    except (NotFound, InvalidArguments) as error:
        raise MCPError(types.INVALID_PARAMS, message(error), {"uri": abbreviate(uri)}) from error
    except OpenCodeError as error:
        missing = isinstance(error, APIError) and error.status == 404
        code = types.INVALID_PARAMS if missing else types.INTERNAL_ERROR
        raise MCPError(code, message(error), {"uri": abbreviate(uri)}) from error
    except Exception:
        # A bug in this package: its message is only logged, as it may contain anything.
        log.exception("reading %s failed", uri)
        raise MCPError(
            types.INTERNAL_ERROR, "Internal error; see the server's log.", {"uri": abbreviate(uri)}
        ) from None
