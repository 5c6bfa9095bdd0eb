"""The promise: through an MCP client, on a real OpenCode, no call hangs and no report says what is not so."""

from __future__ import annotations

import pytest

from . import ROWS
from .bench import Bench
from .conftest import slower
from .table import Row, play

pytestmark = pytest.mark.anyio

EVERYDAY = {
    *("plain answer", "tool calls", "subagent", "model error 400", "model error 429, once", "model says nothing"),
    *("finished before the wait", "started by another bridge", "time limit reached, then waited for", "wait for all"),
    *("aborted in a command", "deleted by somebody else", "disposed by somebody else", "request repeated"),
    *("permission asked, once: by us", "permission asked, always: by form, 2025-11-25"),
    *("permission asked, once: by form, 2026-07-28", "permission asked, reject: by somebody else"),
    *("question asked, a choice: by form, 2026-07-28", "unknown session: report_task", "policy allow, subagent"),
}
"""Rows of the quick tiers; those over a bad network, too, unless --chaos SEED asks for all."""

NEED_EVERY_EVENT = {"progress on each step"}
"""A step that is told of while the stream is cut is not told of again: OpenCode replays no event."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play all rows: the everyday ones in the tier of the shared OpenCode, the others in the slow one."""
    if "on_bad_bench" in metafunc.fixturenames:
        every = metafunc.config.getoption("--chaos") is not None
        names = {row.name for row in ROWS} - NEED_EVERY_EVENT if every else EVERYDAY
        rows = [pytest.param(row, marks=pytest.mark.slow) for row in ROWS if row.name in names]
    elif "on_bench" in metafunc.fixturenames:
        rows = [pytest.param(row, marks=() if row.name in EVERYDAY else pytest.mark.slow) for row in ROWS]
    else:
        return
    metafunc.parametrize("row", rows, ids=lambda row: row.name)


async def test_a_row_of_the_scenario_table_holds(row: Row, on_bench: Bench) -> None:
    """What is reported is so, within the row's time limit."""
    await play(row, on_bench)


async def test_a_row_holds_over_a_bad_network(row: Row, on_bad_bench: Bench) -> None:
    """The same when answers are late, lost, cut off or refused: what cannot be known is not made up."""
    await play(slower(row), on_bad_bench)


def test_every_row_has_a_name_of_its_own() -> None:
    """A reader of the table can tell its rows apart."""
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_everyday_rows_are_there() -> None:
    """A row that is renamed does not leave the quick tiers unseen."""
    assert {row.name for row in ROWS} >= EVERYDAY
