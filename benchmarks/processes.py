"""What the kernel counts of a process: CPU, wakeups, memory."""

from __future__ import annotations

import os
from asyncio import sleep
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import clock_gettime, perf_counter

IDLE_SECONDS = 10.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, in nanosecond resolution.

    The clock of another process is a number made of its id (`clock_getcpuclockid`, Linux's MAKE_PROCESS_CPUCLOCK).
    """
    return clock_gettime(~pid << 3 | 2)


async def cpu_of_work(pids: Sequence[int], work: Callable[[], Awaitable[object]]) -> list[float]:
    """Return each process's seconds of CPU for some work, without what it spends in the same time when idle.

    The processes must be idle for IDLE_SECONDS first. Noise can make a small result negative.
    """

    async def measure(block: Callable[[], Awaitable[object]]) -> tuple[float, list[float]]:
        began, before = perf_counter(), [cpu_seconds(pid) for pid in pids]
        await block()
        spent = [cpu_seconds(pid) - early for pid, early in zip(pids, before, strict=True)]
        return perf_counter() - began, spent

    idle_seconds, idle_cpu = await measure(lambda: sleep(IDLE_SECONDS))
    seconds, cpu = await measure(work)
    return [busy - idle * seconds / idle_seconds for busy, idle in zip(cpu, idle_cpu, strict=True)]


def count_wakeups(pid: int) -> int:
    """Return how often the threads of a process have waited for something."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            status = (task / "status").read_text()
            count += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return count


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
