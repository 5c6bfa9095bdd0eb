"""The baseline `from_openapi`: FastMCP's `from_openapi` with the same document, over stdio.

python -m benchmarks.from_openapi, with OpenCode's URL and password in the environment
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx2
from fastmcp import FastMCP

import opencode_mcp.openapi

document = json.loads((Path(opencode_mcp.openapi.__file__).parent / "opencode1.json").read_bytes())
http = httpx2.AsyncClient(
    base_url=os.environ["OPENCODE_MCP_URL"],
    auth=("opencode", os.environ["OPENCODE_SERVER_PASSWORD"]),
    trust_env=False,
)
FastMCP.from_openapi(document, client=http, name="from_openapi").run(show_banner=False)
