"""Errors of OpenCode that need an explanation: one entry per kind, with its evidence and the next step."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownError:
    """One kind of error, which any operation may return.

    `names` are the server's names for it; `message` is a regular expression that the message must match as well.
    `noise` is a regular expression of the text to remove from the message. `advice` is the next step.
    """

    names: frozenset[str]
    evidence: str
    advice: str
    message: str = ""
    noise: str = ""


KNOWN_ERRORS: tuple[KnownError, ...] = (
    KnownError(
        names=frozenset(
            {"ConfigInvalidError", "ConfigJsonError", "ConfigDirectoryTypoError", "ConfigFrontmatterError"}
        ),
        evidence="1.18.33: 400 for every v1 route of the directory; the same answer after the file was corrected and "
        "after instance.dispose and global.dispose, until a restart. ConfigJsonError repeats the whole file, keys and "
        "passwords included, between `--- JSONC Input ---` and `--- Errors ---`, and each wrong line below its error",
        noise=r"(?s)--- JSONC Input ---.*?--- Errors ---|^ +Line \d+: [^\n]*\n *\^|--- End ---",
        advice=(
            "OpenCode's configuration file is invalid. Correct it, then restart OpenCode, which keeps reporting the "
            "error until then: run `opencode-mcp status --stop`, or with --no-share restart this MCP server."
        ),
    ),
    KnownError(
        names=frozenset({"UnknownError", "PlatformError"}),
        message=r"NotFound: FileSystem\.realPath",
        evidence="1.18.33: a prompt in a session whose directory was removed, with 1.5 KB of stack trace",
        advice=(
            "The session's directory no longer exists. Start a new task (without session_id) in an existing directory."
        ),
    ),
)


def find_known_error(name: str, message: str) -> KnownError | None:
    """Return the entry that matches an error's name and message."""
    for entry in KNOWN_ERRORS:
        if name in entry.names and re.search(entry.message, message):
            return entry
    return None
