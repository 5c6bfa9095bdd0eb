"""How the benchmarks judge what they have measured."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import anyio
import pytest

from benchmarks import chart, processes, report
from benchmarks.processes import count_wakeups, cpu_seconds, resident_bytes
from benchmarks.results import Curve, ResultRow, Samples, interleave, summed_ratios
from benchmarks.targets import CHECK_FACTOR, TARGETS, Target, unchecked

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the figures are Linux's")


def row(target: Target, *ratios: float) -> ResultRow:
    """Return a row with the ratios of some rounds."""
    return ResultRow("a title", {"bridge": Samples([1.0], "ms")}, ratios, "bridge / floor", target)


@pytest.mark.parametrize(
    ("target", "ratios", "meets", "passes"),
    [
        (Target(1.0), (0.5, 1.0, 9.0), True, True),
        (Target(1.0), (1.4, 1.6, 1.7), False, True),
        (Target(1.0), (1.6, 1.7), False, False),
        (Target(0.9, at_least=True), (0.3, 0.9, 0.95), True, True),
        (Target(0.9, at_least=True), (0.61, 0.3, 0.3), False, True),
        (Target(0.9, at_least=True), (0.59,), False, False),
        (Target(1.0, check_factor=3.0), (2.9,), False, True),
        (Target(1.0, check_factor=3.0), (3.1,), False, False),
        (unchecked(1.0, "it is slow"), (99.0,), False, True),
    ],
)
def test_the_median_is_compared_with_the_target_and_the_best_round_with_its_margin(
    target: Target, ratios: tuple[float, ...], meets: bool, passes: bool
) -> None:
    one = row(target, *ratios)

    assert (one.meets_target, one.passes_check) == (meets, passes)


def test_each_target_says_what_a_short_run_accepts() -> None:
    """All have the usual margin, or none for a reason."""
    unusual = {name: target for name, target in TARGETS.items() if target.check_factor != CHECK_FACTOR}

    assert CHECK_FACTOR <= 1.5
    assert {target.check_factor for target in unusual.values()} == {None}
    assert [
        name for name, target in unusual.items() if target.reason not in target.check_limit or not target.reason
    ] == []
    assert [name for name, target in TARGETS.items() if target.bound <= 0] == []
    assert Target(0.6, check_factor=2.0, reason="it is new").check_limit == "checked: <= 1.2, as it is new"
    assert Target(0.9, at_least=True).check_limit == "checked: >= 0.6"


def identify(target: Target) -> tuple[float, str, bool]:
    """Return what the page shows of a target."""
    return target.bound, target.unit, target.at_least


def test_the_page_compares_its_results_with_the_targets_of_today() -> None:
    """`python -m benchmarks` writes all of them."""
    page = Path(__file__).parents[1] / "docs/performance.md"
    _, results = chart.parse_tables(page.read_text(encoding="utf-8"))

    assert {identify(row.target) for row in results.rows} == {identify(target) for target in TARGETS.values()}


def test_a_ratio_to_a_sum_is_taken_round_by_round() -> None:
    assert summed_ratios([3.0, 8.0], [1.0, 2.0], [2.0, 2.0]) == [1.0, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        summed_ratios([3.0, 8.0], [1.0, 2.0], [2.0])


def test_a_missed_target_says_by_how_much() -> None:
    assert row(Target(0.5), 0.75).summary == "0.75 times (target ≤ 0.5, missed by 50%)"
    assert row(Target(0.8, at_least=True), 0.6).summary == "0.6 times (target ≥ 0.8, missed by 25%)"
    assert row(Target(5, "MB"), 4.0).summary == "4 MB (target ≤ 5)"


def test_the_tables_hold_all_that_the_chart_draws() -> None:
    rows = [row(Target(0.9, at_least=True), 0.45), row(Target(0.1, "/s"), -0.05), row(TARGETS["list size"], 114.0)]
    curves = [Curve("by size", "ms", (10, 100, 1000), {"direct": [1.0, 2.0, 3.0], "bridge": [2.0, 2.5, 1234.0]})]

    _, parsed = chart.parse_tables("\n".join([*map(report.format_row, rows), *map(report.format_curve, curves)]))

    assert [chart.target_share(one) for one in parsed.rows] == [chart.target_share(one) for one in rows]
    assert [one.target.bound for one in parsed.rows] == [0.9, 0.1, 120]
    assert [(one.sizes, one.subjects) for one in parsed.curves] == [
        ([10, 100, 1000], {"direct": [1.0, 2.0, 3.0], "bridge": [2.0, 2.5, 1234.0]})
    ]


@pytest.mark.anyio
async def test_subjects_are_measured_in_turns() -> None:
    order: list[str] = []

    async def measure(name: str) -> int:
        order.append(name)
        return len(order)

    values = await interleave(2, {"floor": lambda: measure("floor"), "bridge": lambda: measure("bridge")})

    assert order == ["floor", "bridge", "floor", "bridge"]
    assert values == {"floor": [1, 3], "bridge": [2, 4]}


@pytest.mark.scale  # a tier for which the benchmarks' extra is installed
@pytest.mark.anyio
async def test_a_request_on_a_connection_that_the_server_has_closed_is_sent_again() -> None:
    """As when uvicorn closes an idle connection while the request is on its way; once, not again and again."""
    import aiohttp

    from benchmarks.connections import MODERN, open_http_connection

    received: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first request of a connection, and close it instead of answering the second."""
        for number in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            received.append(number)
            if number == 0 and len(received) < 6:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}")
            else:
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_http_connection(f"http://127.0.0.1:{port}/mcp", MODERN) as client:
            assert [await client.request("ping", {}) for _ in range(3)] == [b"{}"] * 3
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await client.request("ping", {})

    assert received == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.anyio
async def test_the_cpu_of_work_is_without_that_of_an_idle_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks are the test's: one process spends a tenth of each second when idle, the other nothing."""
    now, cpu = 100.0, {1: 7.0, 2: 8.0}

    async def pass_seconds(seconds: float) -> None:
        nonlocal now
        now += seconds
        cpu[1] += seconds / 10

    async def work() -> None:
        await pass_seconds(5.0)
        cpu[1] += 2.0
        cpu[2] += 3.0

    monkeypatch.setattr(processes, "sleep", pass_seconds)
    monkeypatch.setattr(processes, "perf_counter", lambda: now)
    monkeypatch.setattr(processes, "cpu_seconds", cpu.__getitem__)

    assert await processes.cpu_of_work((1, 2), work) == pytest.approx([2.0, 3.0])
    assert cpu[1] > 7.0 + 2.0


@on_linux
@pytest.mark.anyio
async def test_the_counters_of_a_process_are_the_kernels() -> None:
    before, wakeups = time.process_time(), count_wakeups(os.getpid())
    for _ in range(5):
        await anyio.sleep(0.01)
    cpu = cpu_seconds(os.getpid())

    assert before <= cpu <= time.process_time()
    assert count_wakeups(os.getpid()) - wakeups >= 5
    assert resident_bytes(os.getpid()) > 10_000_000
