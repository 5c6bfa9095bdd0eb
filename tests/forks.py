"""Processes of the package that are forks of one Python, which has imported all commands: that takes a second."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from opencode_mcp.cli.main import COMMANDS, main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([f"opencode_mcp.cli.commands.{name}" for name in COMMANDS])


def run_in_fork(
    arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, streams: Sequence[Connection]
) -> NoReturn:
    """Be `opencode-mcp` in an environment and a folder, with these for stdin, stdout and stderr if there are any."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
    if streams:
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", buffering=1) for number, mode in enumerate("rww")
        )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(arguments))
