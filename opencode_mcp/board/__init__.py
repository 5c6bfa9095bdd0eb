"""The board of tasks: one self-contained page, which clients show (MCP Apps) and `opencode-mcp board` serves."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from pathlib import Path
from typing import Literal

URI = "ui://opencode/board"
MIME_TYPE = "text/html;profile=mcp-app"

EXTENSION_ID = "io.modelcontextprotocol/ui"
"""The id of MCP Apps. It and the type are those of `mcp.server.apps`, whose import takes 4 ms of each start."""

PAGE = Path(__file__).parent / "board.html"
CHARSET = '<meta charset="utf-8">'
INLINE_SCRIPT = re.compile("<script>(.*?)</script>", re.DOTALL)
FOR_READERS = re.compile(r"^[ \t]*(?:(?://|/\*\*).*)?\n|^[ \t]+| // [^\"'`/\n]*$", re.MULTILINE)
"""What only a reader of the source needs: indentation, empty lines and comments. A seventh of the file."""

STYLE = re.compile("<style>.*?</style>", re.DOTALL)
UNNEEDED_STYLE = re.compile(r";?\s?([{}])(?:\s(?!<))?|([;:,])\s")
"""Spaces and semicolons of a style sheet that no browser needs. A space before a colon may separate selectors."""


def read_page(connects_to: Literal["'none'", "'self'"] = "'none'") -> str:
    """Return the HTML of the board with its Content-Security-Policy, which comes before anything that it restricts.

    Only the page's own scripts run, named by their hashes, and no text becomes markup. `connects_to` is `'self'` where
    the page has a server; in a client it has none.
    """
    html = FOR_READERS.sub("", PAGE.read_text(encoding="utf-8"))
    html = STYLE.sub(lambda style: UNNEEDED_STYLE.sub(r"\1\2", style[0]), html)
    scripts = " ".join(f"'{hash_of(script)}'" for script in INLINE_SCRIPT.findall(html)) or "'none'"
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; connect-src {connects_to}; "
        "img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return html.replace(CHARSET, f'{CHARSET}<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)


def hash_of(script: str) -> str:
    """Return the hash of an inline script, as a Content-Security-Policy has it."""
    return f"sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}"
