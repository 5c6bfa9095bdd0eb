"""Opens an address that holds a secret in the user's browser, without showing it to other users.

An address in a process's arguments is readable by every user of the machine. So the browser opens a file that only this
user can read, in a folder that only this user can enter, and the file leads to the address.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

DISPLAY_VARIABLES = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
"""Without any of them a browser would be one for terminals, which would take this command's."""
LAUNCHER = (sys.executable, "-I", "-m", "webbrowser", "-t")
"""A process of its own, as `webbrowser` blocks. Isolated, as else it would import from the working directory."""

REDIRECT = """\
<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>opencode-mcp board</title>
<meta http-equiv="refresh" content="0; url={url}"><a href="{url}">Open the board</a>
"""


def has_browser(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether a graphical browser can be opened."""
    return platform in {"darwin", "win32"} or any(environ.get(name) for name in DISPLAY_VARIABLES)


@contextmanager
def redirect_file(url: str) -> Generator[Path]:
    """Provide a file that leads a browser to an address; it is removed with the block."""
    # A browser may hold it open, which on Windows keeps it from being removed.
    with TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "board.html")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(REDIRECT.format(url=escape(url)))
        yield path


async def open_in_browser(path: Path, environ: Mapping[str, str]) -> None:
    """Open a file in the user's browser, and wait until it has been asked to."""
    devnull = subprocess.DEVNULL
    await anyio.run_process(
        [*LAUNCHER, path.as_uri()], stdin=devnull, stdout=devnull, stderr=devnull, check=False, env=environ
    )
