"""Data folders as OpenCodes leave them, and programs whose version is known without running them."""

from __future__ import annotations

import json
import shlex
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from opencode_mcp.opencode.process.cache import VERSIONS_FILE
from opencode_mcp.opencode.process.executable import file_fingerprint, save_version

V1_TABLES = ("session", "message", "part")
V2_TABLES = (*V1_TABLES, "session_v2", "session_message", "event", "credential")


def make_database(file: Path, tables: tuple[str, ...], kv: Mapping[str, str] | None = None) -> None:
    """Write a database with some tables, and the table `kv` unless it is None."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (id TEXT)")
        if kv is not None:
            connection.execute("CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT)")
            connection.executemany("INSERT INTO kv VALUES (?, ?)", kv.items())
        connection.commit()


def use_opencode_1(folder: Path) -> None:
    """Leave what OpenCode 1 leaves."""
    make_database(folder / "opencode.db", V1_TABLES)


def use_opencode_2(folder: Path, phase: str = "completed") -> None:
    """Leave what OpenCode 2 leaves after it has imported the data of OpenCode 1."""
    make_database(folder / "opencode.db", V2_TABLES, {"migration.v1-v2": json.dumps({"phase": phase})})


def leave_empty(folder: Path) -> None:
    """Leave nothing."""


Prepare = Callable[[Path], None]


def write_program(path: Path, cache: Path, version: str | None, flags: tuple[str, ...] = ()) -> Path:
    """Write a program, and note its version in the cache, so that it is not run for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    if version is not None:
        entry = {"state": file_fingerprint(str(path)), "at": time.time(), "version": version}
        save_version(cache / VERSIONS_FILE, json.dumps([str(path), *flags]), entry)
    return path


def quote(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))
