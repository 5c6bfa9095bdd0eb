"""The promise: through an MCP client, on a real OpenCode, no call hangs and no report says what is not so."""

from __future__ import annotations

import pytest

from . import ROWS
from .conftest import Played
from .table import Row

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row_of_the_truth_table_is_true(row: Row, played: Played) -> None:
    """What is seen of a row is what is so, and it is seen within the row's time limit."""
    outcome = await played(row)

    assert outcome.fault == ""


def test_every_row_has_a_name_of_its_own() -> None:
    """A reader of the table can tell its rows apart."""
    assert len({row.name for row in ROWS}) == len(ROWS)
