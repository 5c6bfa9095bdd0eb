"""Which OpenCodes have used the user's data folder: both generations have the same one, and the same database in it.

The first start of an OpenCode 2 imports what OpenCode 1 has written, into other tables of that database. It does so
once: what OpenCode 1 writes later is never imported. It notes its progress in the table `kv`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MIGRATION_KEY = "migration.v1-v2"
UNNOTED_IMPORT = "an OpenCode 2 has used it, and has not noted that it has imported them"
READ_SECONDS = 1.0
"""How long another process may lock the database."""
DATABASE_VARIABLE = "OPENCODE_DB"
OTHER_V1_DATA = ("storage", "auth.json")
"""What OpenCode 1 has beside a database: the sessions of its old versions, and the keys of providers."""


class History(Enum):
    """Who has used a data folder."""

    EMPTY = "none"
    OPENCODE_1 = "OpenCode 1"
    OPENCODE_2 = "OpenCode 2"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class DataFolder:
    """A data folder of OpenCode. `problem` is why its history is unknown."""

    path: Path
    history: History
    problem: str = ""

    @property
    def reason_not_to_migrate(self) -> str:
        """Why an OpenCode 2 must not be started here without the user's word; "" if it may."""
        match self.history:
            case History.EMPTY | History.OPENCODE_2:
                return ""
            case History.OPENCODE_1:
                return (
                    f"its first start would import the data of OpenCode 1 in {self.path}, once, and never what "
                    "OpenCode 1 writes there later"
                )
            case History.UNKNOWN:
                return f"{self.path} may have data of OpenCode 1, which its first start would import ({self.problem})"


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the data folder of an OpenCode with this environment, on every platform."""
    data = environ.get("XDG_DATA_HOME")
    home = environ.get("HOME") or environ.get("USERPROFILE") or os.path.expanduser("~")
    return Path(data or Path(home, ".local", "share"), "opencode")


def database_file(environ: Mapping[str, str]) -> Path:
    """Return the database of an OpenCode with this environment."""
    return data_folder(environ) / (environ.get(DATABASE_VARIABLE) or "opencode.db")


def read_data_folder(environ: Mapping[str, str]) -> DataFolder:
    """Read who has used the data folder of an OpenCode with this environment. No data is changed."""
    folder, database = data_folder(environ), database_file(environ)
    try:
        history = read_history(database) if database.exists() else History.EMPTY
        if history is History.EMPTY and any((folder / name).exists() for name in OTHER_V1_DATA):
            history = History.OPENCODE_1
    except OSError as error:
        return DataFolder(folder, History.UNKNOWN, f"{database} cannot be read: {error}")
    return DataFolder(folder, history, UNNOTED_IMPORT if history is History.UNKNOWN else "")


def read_history(database: Path) -> History:
    """Read who has used a database; it is unknown if an OpenCode 2 has, and has noted no import of the sessions in it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        import sqlite3  # it takes time, and not every Python has it
    except ImportError as error:
        raise OSError("this Python has no sqlite3") from error
    try:
        # Not `immutable`: the newest rows can be in the write-ahead log.
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=READ_SECONDS)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "kv" in tables:
                # Its columns are not documented.
                columns = [row[1].replace('"', '""') for row in connection.execute("PRAGMA table_info(kv)")]
                query = "SELECT 1 FROM kv WHERE ? IN (" + ", ".join(f'"{column}"' for column in columns) + ")"
                if connection.execute(query, (MIGRATION_KEY,)).fetchone() is not None:
                    return History.OPENCODE_2
            has_session = "session" in tables and connection.execute("SELECT 1 FROM session").fetchone() is not None
        if "session_v2" in tables:
            return History.UNKNOWN if has_session else History.OPENCODE_2
        return History.OPENCODE_1 if "session" in tables else History.EMPTY
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
