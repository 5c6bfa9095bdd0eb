"""Plays the rows of the truth table, several at once, and prints it at the end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from examples.scripted_model import ScriptedModel
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.opencode.background import background
from opencode_mcp.opencode.install import Program
from opencode_mcp.opencode.process import managed_server
from opencode_mcp.settings import Settings
from tests.chaos import Fault, proxied, weather

from .bench import QUICK, World, bench, project_that_asks
from .table import Outcome, Row, broken, play

AT_ONCE = 4
"""How many rows are played at a time: most of a row is waiting."""

SLOWER = 2
"""How many times its time a row may take over a bad network."""

OUTCOMES = pytest.StashKey[dict[str, list[Outcome]]]()
FAULTS = pytest.StashKey[Counter[Fault]]()

Played = Callable[[Row], Awaitable[Outcome]]


@pytest.fixture(scope="session")
def world(catalog: Catalog, model: ScriptedModel, program: Program, environ: Mapping[str, str]) -> World:
    """What all rows share."""
    return World(catalog, model, program, environ)


@asynccontextmanager
async def fresh_opencode(world: World, folder: Path) -> AsyncGenerator[Endpoint]:
    """Run an OpenCode for a table of its own: one that all other tests have used has grown large and slow."""
    async with managed_server(world.program.command, str(folder), world.environ) as server:
        yield await server.endpoint()


@pytest.fixture(scope="module")
async def played(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Played]:
    """Play the rows of all tests that were selected, and give out the outcome of each."""
    folder = tmp_path_factory.mktemp("truth")
    rows = selected_rows(request.session, "played")
    async with (
        fresh_opencode(world, folder) as endpoint,
        playing(rows, world, reaching(endpoint, str(endpoint.url)), folder) as outcome,
    ):
        yield kept(outcome, request.config, "truth table")


@pytest.fixture(scope="module")
async def played_badly(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Played]:
    """Play rows over a bad network."""
    folder = tmp_path_factory.mktemp("chaos")
    rows = [replace(row, seconds=row.seconds * SLOWER) for row in selected_rows(request.session, "played_badly")]
    policy = weather(request.config.getoption("--chaos") or 1)
    async with fresh_opencode(world, folder) as endpoint:
        assert endpoint.url.port is not None
        async with (
            proxied(endpoint.url.port, policy) as proxy,
            playing(rows, world, reaching(endpoint, proxy.url), folder, first=1001) as outcome,
        ):
            yield kept(outcome, request.config, "truth table over a bad network")
        request.config.stash[FAULTS] = proxy.faults


def reaching(endpoint: Endpoint, url: str) -> Settings:
    """Return the settings that reach an OpenCode at a URL."""
    return Settings(url=url, username=endpoint.username, password=endpoint.password or "")


@asynccontextmanager
async def playing(
    rows: list[Row], world: World, settings: Settings, folder: Path, first: int = 1
) -> AsyncGenerator[Played]:
    """Play rows in the background, numbered from `first` on; the function returns the outcome of one."""
    shared = project_that_asks(folder / "shared", world.environ, QUICK)
    outcomes: dict[str, Outcome] = {}
    over = {row.name: anyio.Event() for row in rows}
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
        return outcomes[row.name]

    async with bench(world, settings, shared, "warm") as one:
        await one.run("script:bash", permissions="allow", timeout_seconds=120)  # the first command takes the longest
    async with background() as tasks:
        for number, row in enumerate(rows, first):
            tasks.start_soon(play_in_turn, number, row)
        yield outcome


def kept(played: Played, config: pytest.Config, table: str) -> Played:
    """Keep every outcome, to be printed in a table."""
    outcomes = config.stash.setdefault(OUTCOMES, {}).setdefault(table, [])

    async def outcome(row: Row) -> Outcome:
        outcomes.append(await played(row))
        return outcomes[-1]

    return outcome


def selected_rows(session: pytest.Session, fixture: str) -> list[Row]:
    """The rows whose tests are to run and use a fixture."""
    functions = [item for item in session.items if isinstance(item, pytest.Function) and fixture in item.fixturenames]
    return [row for item in functions if isinstance(row := item.callspec.params.get("row"), Row)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables."""
    for table, outcomes in config.stash.get(OUTCOMES, dict[str, list[Outcome]]()).items():
        width = max((len(one.row.name) for one in outcomes), default=0)
        terminalreporter.section(table)
        for one in outcomes:
            line = f"{one.row.name:<{width}}  {one.seen:<18}  {one.seconds:5.1f} s of {one.row.seconds:3.0f} s"
            terminalreporter.write_line(f"{line}  {one.fault and 'WRONG'}".rstrip())
        hung = sum(one.hung for one in outcomes)
        wrong = sum(bool(one.fault) and not one.hung for one in outcomes)
        terminalreporter.write_line(f"{table}: {len(outcomes)} rows, {hung} hung, {wrong} wrong")
    if faults := config.stash.get(FAULTS, Counter[Fault]()):
        terminalreporter.write_line("faults: " + ", ".join(f"{number} {fault}" for fault, number in faults.items()))
