"""scripts/try_opencode2.py, on a fake that has the sessions of somebody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.settings import Settings
from scripts.try_opencode2 import ROWS, NotPlayed, try_server
from tests.scenarios import SCENARIOS

from .client import FakeClient, open_client
from .fake import PASSWORD
from .scenario_table import NOT_PLAYABLE

pytestmark = pytest.mark.anyio

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def settings_of(client: FakeClient, password: str = PASSWORD) -> Settings:
    """Return the settings for a fake."""
    return Settings(url=client.fake.url, password=password, generation="2")


def test_its_rows_can_be_played_on_an_opencode_2() -> None:
    """A row that is renamed stays in its table."""
    assert {*ROWS} <= BY_NAME.keys()
    assert not {*ROWS} & NOT_PLAYABLE.keys()


async def test_a_report_has_what_passed_and_what_differs(model: ScriptedModel, tmp_path: Path, spawns: None) -> None:
    """Other sessions are not touched, and nothing of its own is left."""
    differing = replace(BY_NAME["plain answer"], name="differing", state="stopped")
    rows = [BY_NAME["stop a waiting task"], differing, BY_NAME["unknown model"]]
    async with open_client(model, tmp_path) as client:
        other = await client.run("script:text mine")
        before = client.fake.store.sessions[other].info.copy()
        noted = len(client.fake.contract.requests)
        report, passed = await try_server(settings_of(client), rows)
        assert {*client.fake.store.sessions} == {other} and client.fake.store.sessions[other].info == before
        assert not [each for each in client.fake.contract.requests[noted:] if other in str(each)]
        assert not any(client.fake.store.worktrees.values())
        assert (client.fake.contract.faults, client.fake.answer_faults, client.fake.not_played) == ([], [], [])
    lines = report.splitlines()
    assert not passed and lines[0].startswith("**OpenCode 2.1.2 and opencode-mcp ")
    assert lines[0].endswith(": 2 of 3 rows passed"), report
    assert "gone: nothing; new: nothing; has all that tasks need" in report
    [row] = [line for line in lines if line.startswith("| differing |")]
    assert "| differs |" in row and "expected stopped, seen completed" in row
    assert PASSWORD not in report and "opencode-mcp-trial-" not in report


async def test_it_plays_nothing_where_it_cannot_be_sure(model: ScriptedModel, tmp_path: Path) -> None:
    """A wrong password, and an OpenCode on another machine."""
    rows = [BY_NAME["plain answer"]]
    async with open_client(model, tmp_path) as client:
        with pytest.raises(NotPlayed, match="401"):
            await try_server(settings_of(client, "wrong"), rows)
        with pytest.raises(NotPlayed, match="must run on this machine"):
            await try_server(Settings(url="http://192.0.2.1:4096", generation="2"), rows)
        assert client.fake.store.sessions == {}
