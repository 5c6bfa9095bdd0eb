"""How requests meet a server that is busy or a connection that breaks: reads again, writes never, in turns."""

from __future__ import annotations

import json
import ssl
from typing import Any

import anyio
import httpx2
import pytest

from opencode_mcp.exceptions import APIError, RequestTimeout, TransportError
from opencode_mcp.opencode import OpenCodeClient
from opencode_mcp.opencode import client as module
from opencode_mcp.opencode.concurrency import background_task_group
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.limiter import MAX_CONCURRENT_PROMPTS, MAX_CONCURRENT_REQUESTS, FairLimiter
from opencode_mcp.tasks.session_watch import SessionWatch
from opencode_mcp.tools.results import Limit, operation_result
from opencode_mcp.tools.truncate import NO_REDACTION
from tests.eventually import eventually
from tests.execute import prepare_and_execute

from .conftest import Wire

pytestmark = pytest.mark.anyio

CONNECTION_RESET = httpx2.ReadError("connection reset")
ATTEMPTS = len(module.RETRY_SECONDS) + 1


@pytest.fixture
def opencode(opencode: OpenCodeClient) -> OpenCodeClient:
    """Pauses are as many as they are, and short."""
    return opencode.with_options(retry_seconds=(0.0,) * (ATTEMPTS - 1))


def set_answers(wire: Wire, *given: httpx2.Response | Exception) -> None:
    """Answer each request with the next of these, and any later one well."""
    remaining = list(given)

    def answer(request: httpx2.Request) -> httpx2.Response:
        response = remaining.pop(0) if remaining else httpx2.Response(200, json={"healthy": True})
        if isinstance(response, Exception):
            raise response
        return response

    wire.answer = answer


@pytest.mark.parametrize(
    "trouble",
    [
        CONNECTION_RESET,
        httpx2.ConnectError("refused"),
        *(httpx2.Response(status) for status in sorted(module.RETRIED_STATUSES)),
    ],
)
async def test_a_read_is_retried_and_reported(
    opencode: OpenCodeClient, wire: Wire, trouble: httpx2.Response | Exception
) -> None:
    """After a connection that broke, or that was not there, and after the answer of a busy server."""
    set_answers(wire, trouble)
    reported: list[str] = []

    async def report(message: str) -> None:
        reported.append(message)

    answer = await prepare_and_execute(opencode, opencode.catalog["global_health"], {}, report)
    shown = operation_result(answer, Limit(10_000, ""), NO_REDACTION)

    assert len(wire.requests) == 2
    assert answer.value == {"healthy": True}
    assert len(answer.retried) == 1
    assert reported == [f"retrying in 0 s: {answer.retried[0]}"]
    assert shown.structured_content == {"healthy": True, "_retried": list(answer.retried)}


async def test_a_tls_error_is_a_transport_error(opencode: OpenCodeClient, wire: Wire) -> None:
    """httpx2 hands an alert of the other side on as it is."""
    set_answers(wire, *[ssl.SSLError(1, "tlsv13 alert certificate required")] * ATTEMPTS)

    with pytest.raises(TransportError, match="certificate required"):
        await opencode.call("global_health")


async def test_a_malformed_event_restarts_the_stream(opencode: OpenCodeClient, wire: Wire) -> None:
    """The stream is reopened, and missed events are read; other listeners are not disconnected."""
    odd = {"payload": {"type": "message.updated", "properties": {"sessionID": "ses_1", "info": None}}}
    stream = httpx2.Response(200, text=f"data: {json.dumps(odd)}\n\n", headers={"content-type": "text/event-stream"})
    set_answers(wire, stream, httpx2.Response(200, text="", headers={"content-type": "text/event-stream"}))
    watch, kinds = SessionWatch({"ses_1"}), list[str]()
    with (
        opencode.events.subscribe(watch.on_event),
        opencode.events.subscribe(lambda event: kinds.append(event["type"])),
    ):
        await eventually(lambda: kinds.count("stream.connected") >= 2)

    assert kinds[:3] == ["stream.connected", "stream.lost", "stream.connected"]
    assert watch.read_requested


async def test_a_client_without_retries_fails_at_once(opencode: OpenCodeClient, wire: Wire) -> None:
    """A list that a client asks for while it connects is not worth waiting for."""
    set_answers(wire, CONNECTION_RESET)

    with pytest.raises(TransportError):
        await opencode.with_options(retry_seconds=()).call("global_health")
    assert len(wire.requests) == 1


async def test_retries_end_with_the_last_failure(opencode: OpenCodeClient, wire: Wire) -> None:
    """The last failure is the answer."""
    set_answers(wire, *[CONNECTION_RESET] * ATTEMPTS)

    with pytest.raises(TransportError):
        await opencode.call("global_health")
    assert len(wire.requests) == ATTEMPTS


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_permanent_error_is_not_retried(opencode: OpenCodeClient, wire: Wire, status: int) -> None:
    """An error of the request, or of OpenCode, is no trouble on the way."""
    set_answers(wire, httpx2.Response(status, json={"name": "X"}))

    with pytest.raises(APIError):
        await opencode.call("path_get")
    assert len(wire.requests) == 1


async def test_a_slow_read_is_retried_only_by_a_workflow(opencode: OpenCodeClient, wire: Wire) -> None:
    """What may take long is not asked for twice; what is quick has lost its connection."""
    set_answers(wire, httpx2.ReadTimeout("slow"))
    with pytest.raises(RequestTimeout):
        await prepare_and_execute(opencode, opencode.catalog["global_health"], {})
    assert len(wire.requests) == 1

    set_answers(wire, httpx2.ReadTimeout("slow"))
    assert await opencode.call("global_health") == {"healthy": True}


@pytest.mark.parametrize("trouble", [CONNECTION_RESET, httpx2.Response(503), httpx2.ConnectError("refused")])
async def test_a_write_is_sent_once(opencode: OpenCodeClient, wire: Wire, trouble: httpx2.Response | Exception) -> None:
    """Whatever happens to it: it may have taken effect. The error says so."""
    for name in (one.name for one in opencode.catalog.values() if not one.hints.read_only):
        if name in {"session_create", "session_prompt_async", "worktree_create"}:
            set_answers(wire, trouble)
            wire.requests.clear()
            given: dict[str, Any] = {"sessionID": "ses_1", "parts": []} if "prompt" in name else {}
            with pytest.raises((TransportError, APIError)):
                await opencode.call(name, **given)
            assert len(wire.requests) == 1


async def test_the_limiter_alternates_between_callers() -> None:
    """One who comes late with one call does not wait behind another's hundred."""
    queue, order = FairLimiter(lambda: 1), list[str]()
    first = anyio.Event()

    async def one(caller: str, number: int) -> None:
        async with queue.slot(caller, ignore_progress):
            order.append(f"{caller}{number}")

    async with background_task_group() as tasks:

        async def hold() -> None:
            async with queue.slot("greedy", ignore_progress):
                await first.wait()

        tasks.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        for number in range(100):
            tasks.start_soon(one, "greedy", number)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(one, "late", 0)
        tasks.start_soon(one, "later", 0)
        await anyio.wait_all_tasks_blocked()
        first.set()
        await eventually(lambda: len(order) == 102)

    assert order[:5] == ["greedy0", "late0", "later0", "greedy1", "greedy2"]
    assert [one for one in order if one.startswith("greedy")] == [f"greedy{number}" for number in range(100)]


async def test_waiting_is_reported_and_a_cancelled_waiter_releases_its_slot() -> None:
    """A call that is cancelled while it waits, or just as its turn comes, takes no slot with it."""
    queue, reported = FairLimiter(lambda: 1), list[str]()

    async def report(message: str) -> None:
        reported.append(message)

    async def wait() -> None:
        async with queue.slot("other", report):
            await anyio.sleep_forever()

    async with queue.slot("one", ignore_progress), anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert reported == [f"waiting for other calls to OpenCode; {number} calls are ahead" for number in (0, 1)]

    async with anyio.create_task_group() as tasks:
        async with queue.slot("one", ignore_progress):
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(30):
        async with queue.slot("one", ignore_progress):
            pass


async def test_demand_is_reported_when_it_changes_and_not_while_callers_wait() -> None:
    """Each report goes to the other bridges that share the server."""
    demand = list[bool]()
    queue = FairLimiter(lambda: 2, demand.append, few=1)
    async with queue.slot("one", ignore_progress):
        pass
    assert demand == []

    async def hold(release: anyio.Event) -> None:
        async with queue.slot("one", ignore_progress):
            await release.wait()

    releases = [anyio.Event() for _ in range(4)]
    seen = list[list[bool]]()
    async with anyio.create_task_group() as tasks:
        for release in releases:
            tasks.start_soon(hold, release)
            await anyio.wait_all_tasks_blocked()
        seen.append(demand.copy())
        for release in releases:
            release.set()
            await anyio.wait_all_tasks_blocked()
            seen.append(demand.copy())
    assert seen == [[True, True], [True, True], [True, True], [True, True, False], [True, True, False]]


@pytest.mark.parametrize(
    ("tool", "arguments", "bound"),
    [
        ("global_health", {}, MAX_CONCURRENT_REQUESTS),
        ("session_prompt", {"sessionID": "ses_1", "parts": []}, MAX_CONCURRENT_PROMPTS),
    ],
)
async def test_concurrent_requests_are_limited(
    opencode: OpenCodeClient, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], bound: int
) -> None:
    """However many calls come; all are answered in the end."""
    at_once, most, answered = 0, 0, 0

    async def send(request: httpx2.Request, **options: object) -> httpx2.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.01)
        at_once -= 1
        return httpx2.Response(200, json={"healthy": True})

    async def call() -> None:
        nonlocal answered
        await prepare_and_execute(opencode, opencode.catalog[tool], arguments)
        answered += 1

    monkeypatch.setattr(opencode.http, "send", send)
    async with anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(call)

    assert most == bound
    assert answered == 500


async def test_blocking_prompts_do_not_block_reads(opencode: OpenCodeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """While as many turns as may are on, and more wait, a read is answered."""

    async def send(request: httpx2.Request, **options: object) -> httpx2.Response:
        if request.method == "POST":
            await anyio.sleep_forever()
        return httpx2.Response(200, json={"healthy": True})

    monkeypatch.setattr(opencode.http, "send", send)
    turn = {"sessionID": "ses_1", "parts": list[Any]()}
    async with background_task_group() as tasks:
        for _ in range(MAX_CONCURRENT_PROMPTS + 10):
            tasks.start_soon(prepare_and_execute, opencode, opencode.catalog["session_prompt"], turn)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(30):
            assert await opencode.call("global_health") == {"healthy": True}
