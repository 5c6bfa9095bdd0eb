"""Who has used a data folder: an OpenCode 2 imports what OpenCode 1 has left, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from opencode_mcp.opencode.process.data_folder import History, read_data_folder

from .data_folders import V1_TABLES, V2_TABLES, Prepare, leave_empty, make_database, use_opencode_1, use_opencode_2


def write_text(name: str, text: str = "{}") -> Prepare:
    """Return what writes a file into a folder."""

    def write(folder: Path) -> None:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def write_database(tables: tuple[str, ...], kv: Mapping[str, str] | None = None) -> Prepare:
    """Return what writes a database into a folder."""
    return lambda folder: make_database(folder / "opencode.db", tables, kv)


def write_sessions(tables: tuple[str, ...]) -> Prepare:
    """Return what writes a database with a session of OpenCode 1."""

    def write(folder: Path) -> None:
        make_database(folder / "opencode.db", tables, {})
        with closing(sqlite3.connect(folder / "opencode.db")) as connection:
            connection.execute("INSERT INTO session VALUES ('ses_1')")
            connection.commit()

    return write


@pytest.mark.parametrize(
    ("prepare", "history"),
    [
        pytest.param(leave_empty, History.EMPTY, id="nothing"),
        pytest.param(write_text("log/opencode.log"), History.EMPTY, id="a log"),
        pytest.param(write_text("opencode.db", ""), History.EMPTY, id="an empty database"),
        pytest.param(use_opencode_1, History.OPENCODE_1, id="OpenCode 1"),
        pytest.param(write_text("storage/session/x.json"), History.OPENCODE_1, id="OpenCode 1 of 2025"),
        pytest.param(write_text("auth.json"), History.OPENCODE_1, id="a key of a provider"),
        pytest.param(write_database(V1_TABLES, {"theme": "dark"}), History.OPENCODE_1, id="OpenCode 1 with a table kv"),
        pytest.param(use_opencode_2, History.OPENCODE_2, id="OpenCode 2"),
        pytest.param(partial(use_opencode_2, phase="sessions"), History.OPENCODE_2, id="an import that did not end"),
        pytest.param(write_database(("session_v2",)), History.OPENCODE_2, id="OpenCode 2 alone"),
        pytest.param(write_database(V2_TABLES, {}), History.OPENCODE_2, id="OpenCode 2 that had nothing to import"),
        pytest.param(write_sessions(V2_TABLES), History.UNKNOWN, id="sessions that OpenCode 2 has not imported"),
        pytest.param(write_text("opencode.db", 100 * "not a database"), History.UNKNOWN, id="another file"),
    ],
)
def test_who_has_used_a_folder(tmp_path: Path, prepare: Callable[[Path], None], history: History) -> None:
    """Only what an OpenCode 2 has noted proves that it has imported; a folder that cannot be read may have data."""
    prepare(tmp_path / "opencode")
    before = files(tmp_path)
    found = read_data_folder({"XDG_DATA_HOME": str(tmp_path)})

    assert found.history is history
    assert bool(found.reason_not_to_migrate) == (history in {History.OPENCODE_1, History.UNKNOWN})
    assert files(tmp_path) == before


def files(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_only_in_the_write_ahead_log_counts(tmp_path: Path) -> None:
    """A running OpenCode has its newest rows there."""
    file = tmp_path / "opencode" / "opencode.db"
    make_database(file, V1_TABLES, {})
    with closing(sqlite3.connect(file)) as running:
        running.execute("PRAGMA journal_mode = WAL")
        running.execute("INSERT INTO kv VALUES ('migration.v1-v2', '{}')")
        running.commit()

        assert read_data_folder({"XDG_DATA_HOME": str(tmp_path)}).history is History.OPENCODE_2


def test_a_database_with_a_write_ahead_log_is_not_changed(tmp_path: Path) -> None:
    """OpenCode's databases have one."""
    file = tmp_path / "opencode" / "opencode.db"
    use_opencode_1(file.parent)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = file.read_bytes()

    assert read_data_folder({"XDG_DATA_HOME": str(tmp_path)}).history is History.OPENCODE_1
    assert file.read_bytes() == before


def test_the_folder_follows_the_environment(tmp_path: Path) -> None:
    """As OpenCode's: the home folder on every platform, and another database."""
    use_opencode_1(tmp_path / ".local" / "share" / "opencode")
    use_opencode_2(tmp_path / "elsewhere")
    home = {"HOME": str(tmp_path)}

    assert read_data_folder(home).history is History.OPENCODE_1
    assert read_data_folder({"USERPROFILE": str(tmp_path)}).history is History.OPENCODE_1
    assert read_data_folder({**home, "XDG_DATA_HOME": str(tmp_path / "none")}).history is History.EMPTY
    for database in (str(tmp_path / "elsewhere" / "opencode.db"), "../../../elsewhere/opencode.db"):
        assert read_data_folder({**home, "OPENCODE_DB": database}).history is History.OPENCODE_2


def test_a_locked_database_may_have_data(tmp_path: Path) -> None:
    """The reason is in the message."""
    file = tmp_path / "opencode" / "opencode.db"
    use_opencode_1(file.parent)
    with closing(sqlite3.connect(file)) as running:
        running.execute("BEGIN EXCLUSIVE")
        found = read_data_folder({"XDG_DATA_HOME": str(tmp_path)})

    assert found.history is History.UNKNOWN
    assert "locked" in found.reason_not_to_migrate
