"""A call that is cancelled stops its task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from opencode_mcp.tasks.stop import abandon
from tests.eventually import eventually

from .test_race_conditions import DONE, FakeOpenCode, make_context

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("after", "begins"), [(None, 0.2), ("msg_1", 3.0)])
async def test_a_prompt_that_starts_after_cancellation_is_stopped(after: str | None, begins: float) -> None:
    """For as long as it may start: it was sent, and is not visible yet."""
    opencode = FakeOpenCode(messages=[DONE])

    async def begin() -> None:
        await anyio.sleep(begins)
        opencode.status = {"ses_1": {"type": "busy"}}
        await eventually(lambda: "session_abort" in opencode.calls)
        opencode.status = {}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
        await abandon(make_context(opencode), "ses_1", after)

    assert "session_abort" in opencode.calls


async def test_what_stops_an_abandoned_task_waits_for_no_client_that_reads_its_progress() -> None:
    """A read is sent again: its progress is not sent, as the client is gone."""

    @dataclass
    class RetryingOpenCode(FakeOpenCode):
        report_progress: Any = None

        def with_options(self, **options: Any) -> Any:
            self.report_progress = options["report_progress"]
            return self

        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "session_abort":
                self.status = {}
            await self.report_progress("retrying in 0.1 s")
            return await super().call(name, **arguments)

    async def never(message: str) -> None:
        await anyio.sleep_forever()

    opencode = RetryingOpenCode(messages=[DONE], status={"ses_1": {"type": "busy"}}, report_progress=never)
    with anyio.move_on_after(3):
        await abandon(make_context(opencode), "ses_1")

    assert "session_abort" in opencode.calls
