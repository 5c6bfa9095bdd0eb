"""The bridge's command line in a process that tells of itself: `python observed.py FILE ARGUMENTS…`.

SIGUSR1 writes the numbers of its tasks, threads and file descriptors to FILE; SIGUSR2 raises an exception
in whatever it is doing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path

from opencode_mcp.cli import main


def write_facts(number: int, frame: object) -> None:
    """Write what there is now, all at once."""
    facts = {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # the listing itself has one
    }
    temporary = FILE.with_suffix(".new")
    temporary.write_text(json.dumps(facts))
    temporary.replace(FILE)


def raise_error(number: int, frame: object) -> None:
    """Raise what nothing expects."""
    raise RuntimeError("provoked by a signal")


if __name__ == "__main__":
    FILE = Path(sys.argv[1])
    signal.signal(signal.SIGUSR1, write_facts)
    signal.signal(signal.SIGUSR2, raise_error)
    sys.exit(main(sys.argv[2:]))
