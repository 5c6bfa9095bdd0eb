"""The MCP extension `io.modelcontextprotocol/skills` (SEP-2640): a client lists the skills, and reads their files.

skills/list, skills/get -> entries with the digests of the files; resources/read -> a file
"""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from opencode_mcp.skills import Skill, read_skills

from .lifespan import STATIC_TTL_MS, RequestContext
from .mcp_tasks.extension import require_extensions

EXTENSION_ID = "io.modelcontextprotocol/skills"
CACHE: dict[str, Any] = {"ttlMs": STATIC_TTL_MS, "cacheScope": "public"}


class SkillParams(types.RequestParams):
    """Parameters of skills/get."""

    uri: str


def serve_skills(server: Server[Any]) -> None:
    """Add the extension to a server; the files are read by the first request."""
    server.extensions = {**server.extensions, EXTENSION_ID: {}}
    server.add_request_handler("skills/list", types.PaginatedRequestParams, list_skills)
    server.add_request_handler("skills/get", SkillParams, get_skill)


async def list_skills(context: RequestContext, params: types.PaginatedRequestParams) -> dict[str, Any]:
    """List the skills, in one page.

    Raises:
        MCPError: an older protocol, or a cursor, which this server does not give.
    """
    require_extensions(context)
    if params.cursor is not None:
        raise MCPError(types.INVALID_PARAMS, "Unknown cursor")
    return {"skills": [describe_skill(skill) for skill in read_skills()], **CACHE}


async def get_skill(context: RequestContext, params: SkillParams) -> dict[str, Any]:
    """Describe one skill.

    Raises:
        MCPError: an older protocol, or no skill has this URI.
    """
    require_extensions(context)
    for skill in read_skills():
        if skill.uri == params.uri:
            return {"skill": describe_skill(skill), **CACHE}
    raise MCPError(types.INVALID_PARAMS, "Unknown skill; skills/list returns them all")


def describe_skill(skill: Skill) -> dict[str, Any]:
    """Return the entry of a skill, with all of its files."""
    file = {"uri": skill.uri, "digest": skill.digest, "size": len(skill.content)}
    return {"uri": skill.uri, "frontmatter": dict(skill.frontmatter), "resources": [file]}
