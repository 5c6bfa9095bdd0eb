"""The promise: through an MCP client, on a real OpenCode, no call hangs and no report says what is not so."""

from __future__ import annotations

import pytest

from . import ROWS
from .conftest import Played
from .table import Row

pytestmark = pytest.mark.anyio

OVER_A_BAD_NETWORK = {
    *("plain answer", "tool calls", "subagent", "model error 400", "model error 429, once", "model says nothing"),
    *("finished before the wait", "started by another bridge", "time limit reached, then waited for", "wait for all"),
    *("aborted in a command", "deleted by somebody else", "disposed by somebody else", "request repeated"),
    *("permission asked, once: by us", "permission asked, always: by form, 2025-11-25"),
    *("permission asked, once: by form, 2026-07-28", "permission asked, reject: by somebody else"),
    *("question asked, a choice: by form, 2026-07-28", "unknown session: report_task", "policy allow, subagent"),
}
"""Those of every run; all are played with --chaos SEED. The network does nothing to an OpenCode of a row's own."""

NEED_EVERY_EVENT = {"progress on each step"}
"""A step that is told of while the stream is cut is not told of again: OpenCode replays no event."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play all rows, and over a bad network some of them unless all are asked for."""
    if "row" in metafunc.fixturenames:
        rows = list(ROWS)
        if "played_badly" in metafunc.fixturenames:
            every = metafunc.config.getoption("--chaos") is not None
            names = {row.name for row in ROWS} - NEED_EVERY_EVENT if every else OVER_A_BAD_NETWORK
            rows = [row for row in ROWS if row.name in names]
        metafunc.parametrize("row", rows, ids=lambda row: row.name)


async def test_a_row_of_the_truth_table_is_true(row: Row, played: Played) -> None:
    """What is seen of a row is what is so, and it is seen within the row's time limit."""
    outcome = await played(row)

    if outcome.fault:
        pytest.fail(outcome.fault, pytrace=False)


async def test_a_row_is_true_over_a_bad_network(row: Row, played_badly: Played) -> None:
    """The same when answers are late, lost, cut off or refused: what cannot be known is never made up."""
    outcome = await played_badly(row)

    if outcome.fault:
        pytest.fail(outcome.fault, pytrace=False)


def test_every_row_has_a_name_of_its_own() -> None:
    """A reader of the table can tell its rows apart."""
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_rows_of_every_run_are_there() -> None:
    """A row that is renamed is not left out over the bad network unseen."""
    assert {row.name for row in ROWS} >= OVER_A_BAD_NETWORK
