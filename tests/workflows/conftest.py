"""Plays the rows of the truth table, several at once, and prints it at the end of the run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import anyio
import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.install import Program
from opencode_mcp.settings import Settings

from .bench import QUICK, World, bench, project_that_asks
from .table import Outcome, Row, broken, play

AT_ONCE = 4
"""How many rows are played at a time: most of a row is waiting."""

OUTCOMES = pytest.StashKey[list[Outcome]]()

Played = Callable[[Row], Awaitable[Outcome]]


@pytest.fixture(scope="session")
def world(catalog: Catalog, model: ScriptedModel, program: Program, environ: Mapping[str, str]) -> World:
    """What all rows share."""
    return World(catalog, model, program, environ)


@pytest.fixture(scope="session")
async def played(
    request: pytest.FixtureRequest, world: World, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Played]:
    """Play the rows of all tests that were selected, and give out the outcome of each."""
    settings = Settings(url=str(endpoint.url), username=endpoint.username, password=endpoint.password or "")
    folder = tmp_path_factory.mktemp("truth")
    shared = project_that_asks(folder / "shared", world.environ, QUICK)
    rows = {row.name: row for row in selected_rows(request.session)}
    outcomes: dict[str, Outcome] = {}
    over = {name: anyio.Event() for name in rows}
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def play_in_turn(number: int, row: Row) -> None:
        async with limiter:
            try:
                key = f"row{number}x"
                config = row.project
                project = shared if config is None else project_that_asks(folder / key, world.environ, config)
                async with bench(world, settings, project, key) as one:
                    outcomes[row.name] = await play(row, one)
            except Exception as error:
                outcomes[row.name] = broken(row, error)
            finally:
                over[row.name].set()

    async def outcome(row: Row) -> Outcome:
        await over[row.name].wait()
        request.config.stash.setdefault(OUTCOMES, []).append(outcomes[row.name])
        return outcomes[row.name]

    async with bench(world, settings, shared, "warm") as one:
        await one.run("script:bash", permissions="allow", timeout_seconds=120)  # the first command takes the longest
    async with background() as tasks:
        for number, row in enumerate(rows.values(), 1):
            tasks.start_soon(play_in_turn, number, row)
        yield outcome


def selected_rows(session: pytest.Session) -> list[Row]:
    """The rows whose tests are to run."""
    functions = [item for item in session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    return [row for item in functions if isinstance(row := item.callspec.params.get("row"), Row)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    outcomes = config.stash.get(OUTCOMES, list[Outcome]())
    if not outcomes:
        return
    width = max(len(one.row.name) for one in outcomes)
    terminalreporter.section("truth table")
    for one in outcomes:
        line = f"{one.row.name:<{width}}  {one.seen:<18}  {one.seconds:5.1f} s of {one.row.seconds:3.0f} s"
        terminalreporter.write_line(f"{line}  {one.fault and 'WRONG'}".rstrip())
    hung = sum(one.hung for one in outcomes)
    wrong = sum(bool(one.fault) and not one.hung for one in outcomes)
    terminalreporter.write_line(f"truth table: {len(outcomes)} rows, {hung} hung, {wrong} wrong")
