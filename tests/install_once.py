"""Folders of programs by others that tests run: installed once per machine, and whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from opencode_mcp.opencode.process.install import cache_folder


def install_once(name: str, version: str, install: Callable[[Path], None]) -> Path:
    """Return the folder of a version, which `install` fills if it is not there yet."""
    folder = cache_folder(os.environ) / name / version
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(folder.parent / "installing.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as temporary:
                fresh = Path(temporary) / "programs"
                fresh.mkdir()
                install(fresh)
                fresh.rename(folder)
    return folder


@contextmanager
def lock(path: Path) -> Generator[None]:
    """Hold a lock of this machine in the block: other workers wait instead of installing the same."""
    import fcntl  # which Windows has not; unit tests import this module

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
