"""How long the path of a tool call is: functions and files of the package, counted with the interpreter's profiler.

Counted are functions and methods of `opencode_mcp` that run between the client's tools/call and its result: handler,
prepare, authorize, execute, render, and what runs beside the call, such as the event stream of a prompt. A function
counts once, however often it runs; a comprehension or generator expression is part of the function around it. The
same call was made before, so imports and what is computed once for an operation are not counted; nor is what ran beside
one call only, such as a keepalive on a busy machine.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx2
import pytest

import opencode_mcp
from opencode_mcp.catalog import Operation
from opencode_mcp.opencode.prepare import validate
from tests.conftest import Connect, RecordFigure
from tests.facts import facts

pytestmark = pytest.mark.anyio

PACKAGE = str(Path(opencode_mcp.__file__).parent)
TRANSPORT = "http11_transport.py"
"""What is below the HTTP client, as its library's transport is, and counted by itself."""
PARTS = frozenset({"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"})
"""Names of code that is part of a function."""


def is_counted(code: CodeType) -> bool:
    """Whether code is a function of the package."""
    return code.co_filename.startswith(PACKAGE) and code.co_name not in PARTS


@dataclass
class Trace:
    """What ran. `to_the_wire` are the functions that waited for the newest HTTP request when it was sent.

    `validated` are the operations whose arguments were validated, once for each time. `transport` are the functions
    below the HTTP client.
    """

    functions: set[CodeType] = field(default_factory=set[CodeType])
    transport: set[CodeType] = field(default_factory=set[CodeType])
    to_the_wire: list[CodeType] = field(default_factory=list[CodeType])
    validated: list[str] = field(default_factory=list[str])

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        """Take note of a call (`sys.setprofile`)."""
        if event != "call":
            return
        if is_counted(frame.f_code):
            is_transport = Path(frame.f_code.co_filename).name == TRANSPORT
            (self.transport if is_transport else self.functions).add(frame.f_code)
        if frame.f_code is validate.__code__:
            operation: Operation = frame.f_locals["operation"]
            self.validated.append(operation.name)
        if frame.f_code is httpx2.AsyncClient.send.__code__:
            self.to_the_wire = [code for code in callers(frame) if is_counted(code)]

    def __str__(self) -> str:
        return (
            f"{len(self.functions)} functions in {len(files(self.functions))} files, "
            f"{len(self.to_the_wire)} in {len(files(self.to_the_wire))} from the handler to the HTTP request, "
            f"{len(self.transport)} below it"
        )


def callers(frame: FrameType | None) -> Iterator[CodeType]:
    """Yield the code of a frame and of all that called it or wait for it."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def files(functions: set[CodeType] | list[CodeType]) -> set[str]:
    """Return the files of functions."""
    return {code.co_filename for code in functions}


@contextmanager
def record_trace() -> Generator[Trace]:
    """Trace what runs in the block."""
    trace = Trace()
    before = sys.getprofile()
    sys.setprofile(trace.profile)
    try:
        yield trace
    finally:
        sys.setprofile(before)


async def trace_call(connect: Connect, tool: str, arguments: Mapping[str, Any]) -> Trace:
    """Call a tool four times with a client, and return what the last three calls have in common."""
    traces: list[Trace] = []
    async with connect() as client:
        session = facts(await client.call_tool("session_create"))
        given = {**arguments, **({"sessionID": session["id"]} if tool == "session_prompt" else {})}
        assert not (await client.call_tool(tool, given)).is_error
        for _ in range(3):
            with record_trace() as trace:
                result = await client.call_tool(tool, given)
            assert not result.is_error, result.content
            traces.append(trace)
    common = set[CodeType].intersection(*(trace.functions for trace in traces))
    return replace(traces[-1], functions=common)


async def test_a_plain_request_validates_once_and_takes_a_bounded_path(
    connect: Connect, record_figure: RecordFigure
) -> None:
    """A GET does not run through the task tools."""
    trace = await trace_call(connect, "find_text", {"pattern": "hello"})
    record_figure(f"find_text: {trace}")

    assert trace.validated == ["find_text"]
    assert not [file for file in files(trace.functions) if "tasks" in Path(file).parts]
    assert len(trace.to_the_wire) <= 9
    assert len(files(trace.to_the_wire)) <= 5
    assert len(trace.functions) <= 115
    assert len(files(trace.functions)) <= 37
    assert len(trace.transport) <= 6


async def test_a_blocking_prompt_validates_its_arguments_once(connect: Connect, record_figure: RecordFigure) -> None:
    """The session is read meanwhile, and each of these reads validates its own arguments."""
    trace = await trace_call(connect, "session_prompt", {"parts": [{"type": "text", "text": "say hello"}]})
    record_figure(f"session_prompt: {trace}")

    assert trace.validated.count("session_prompt") == 1
    assert len(trace.to_the_wire) <= 10
    assert len(files(trace.to_the_wire)) <= 5
    # What runs beside the call depends on time: a slow turn is read between two events, and warned of.
    assert len(trace.functions) <= 195
    assert len(files(trace.functions)) <= 58
