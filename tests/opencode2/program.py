"""The fake as a program: `opencode serve` and `opencode --version` of OpenCode 2, with a database that outlives it.

    python -m tests.opencode2.program serve [--stdio] [--hostname H] [--port P]

Facts, process: with `--stdio` it prints one JSON line and ends when its input closes; without it prints two lines, of
which the second has the password, unless that was given. Its models are those of OPENCODE_CONFIG_CONTENT.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import secrets
import sqlite3
import stat
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import anyio
import anyio.to_thread

from .engine import Options
from .fake import FakeOpenCode2, open_opencode2
from .location_operations import VERSION
from .store import Json, Store

DATABASE = "fake.pickle"
SAVE_SECONDS = 0.05


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return where the program keeps its data, as OpenCode does."""
    data = environ.get("XDG_DATA_HOME") or str(Path(environ["HOME"]) / ".local" / "share")
    return Path(data) / "opencode"


def load_store(folder: Path) -> Store:
    """Return the database of an earlier process, or a new one."""
    file = folder / DATABASE
    return pickle.loads(file.read_bytes()) if file.is_file() else Store()


def open_database(folder: Path) -> sqlite3.Connection:
    """Open the database that tells which processes use a folder's data, and that a V2 has been there.

    Facts, data: its file is open as long as the process lives, and the import of V1's data is done.
    """
    database = sqlite3.connect(folder / "opencode.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value TEXT)")
    database.execute("INSERT OR REPLACE INTO kv VALUES ('migration.v1-v2', 'completed')")
    return database


def save_store(folder: Path, store: Store) -> None:
    """Write the database, whole or not at all."""
    written = folder / f"{DATABASE}.new"
    written.write_bytes(pickle.dumps(store))
    written.replace(folder / DATABASE)


async def save_always(fake: FakeOpenCode2, folder: Path) -> None:
    """Write the database as long as the process lives; what the last moment changed is lost with a killed one."""
    while True:
        save_store(folder, fake.store)
        await anyio.sleep(SAVE_SECONDS)


async def serve(arguments: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> None:
    """Serve until the input closes, with `--stdio`, or without an end."""
    config: Json = json.loads(environ.get("OPENCODE_CONFIG_CONTENT", "{}"))
    given = environ.get("OPENCODE_PASSWORD") or environ.get("OPENCODE_SERVER_PASSWORD")
    password = given or secrets.token_urlsafe(32)
    options = Options(config, folder=folder)
    async with (
        open_opencode2(
            options, load_store(folder), arguments.port, password=password, default_directory=os.getcwd()
        ) as fake,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(save_always, fake, folder)
        if arguments.stdio:
            write_line(json.dumps({"url": fake.url}))
            await anyio.to_thread.run_sync(sys.stdin.buffer.read)
        else:
            write_line(f"server listening on {fake.url}")
            if not given:
                write_line(f"server password {password}")
            await anyio.sleep_forever()
        save_store(folder, fake.store)
        tasks.cancel_scope.cancel()


def write_line(text: str) -> None:
    """Write a line that the process that has started the program reads."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="opencode", allow_abbrev=False)
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers(dest="command")
    serving = commands.add_parser("serve", allow_abbrev=False)
    serving.add_argument("--hostname", default="127.0.0.1")
    serving.add_argument("--port", type=int, default=0)
    serving.add_argument("--stdio", action="store_true")
    return parser.parse_args(arguments)


def install_program(folder: Path, name: str = "opencode") -> Path:
    """Write a command that runs this program into a folder; return its path."""
    root = Path(__file__).parent.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / name
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m tests.opencode2.program "$@"\n', encoding="utf-8"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return command


def main() -> None:
    """Run the program."""
    arguments = parse(sys.argv[1:])
    if arguments.version:
        sys.stdout.write(f"opencode v{VERSION}\n")
    elif arguments.command == "serve":
        folder = data_folder(os.environ)
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(KeyboardInterrupt), closing(open_database(folder)):
            anyio.run(serve, arguments, os.environ, folder)


if __name__ == "__main__":
    main()
