"""Subscriptions to sessions, in both eras: updates while it works, one at its end, and not too many."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import anyio
import mcp_types as types
import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import IncomingMessage
from mcp.client.stdio import stdio_client

from examples.scripted_model import GuestServer
from opencode_mcp.catalog import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.server import create_server
from opencode_mcp.server.subscriptions.watcher import MIN_UPDATE_SECONDS
from opencode_mcp.settings import Settings
from tests.bridge import environ_for
from tests.conftest import Connect
from tests.eventually import eventually

from .conftest import call, new_session, prompt, read_json
from .tcp_proxy import open_recording_proxy

pytestmark = pytest.mark.anyio

T = TypeVar("T")

COUNTING_PROMPT = (
    'script:tool bash {"command": "for i in $(seq 40); do echo $i; sleep 0.05; done", "description": "Count"}'
)
"""About a hundred events within two seconds."""

COUNTING_UNTIL_FILE = (
    'script:tool bash {{"command": "while [ ! -e {} ]; do echo one more; sleep 0.05; done", "description": "Count"}}'
)
"""The same until there is a file."""

QUIET_SECONDS = 1.5

WAITING_UNTIL_FILE = 'script:tool bash {{"command": "while [ ! -e {} ]; do sleep 0.05; done", "description": "Wait"}}'
"""Until there is a file."""


@dataclass
class UpdateRecorder:
    """The URIs of the updates that a client received, oldest first."""

    uris: list[str] = field(default_factory=list[str])

    async def record(self, message: IncomingMessage) -> None:
        """Take a notification; in the 2026 era the client hands over those of its streams as well."""
        if isinstance(message, types.ResourceUpdatedNotification):
            self.uris.append(message.params.uri)

    async def wait_for_update(self, uri: str, before: int = 0) -> int:
        """Wait until a URI has been told of more often than before, and return how often that is."""

        async def count_updates() -> int:
            return self.uris.count(uri) if self.uris.count(uri) > before else 0

        return await eventually(count_updates)


@pytest.fixture
def updates() -> UpdateRecorder:
    """The updates that the client of the test receives."""
    return UpdateRecorder()


async def subscribe(client: Client, uri: str) -> None:
    """Subscribe as in the handshake era."""
    params = types.SubscribeRequestParams(uri=uri)
    await client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)


async def unsubscribe(client: Client, uri: str) -> None:
    """Unsubscribe as in the handshake era."""
    params = types.UnsubscribeRequestParams(uri=uri)
    await client.session.send_request(types.UnsubscribeRequest(params=params), types.EmptyResult)


async def wait_until_quiet(*clients: UpdateRecorder) -> None:
    """Wait until clients have been told of nothing for a while, and forget what they were told of before.

    A while in which this process did not run does not count: what it is told of waits for it to do so.
    """
    last_count, since = -1, anyio.current_time()
    last_read = since

    def is_quiet() -> bool:
        nonlocal last_count, since, last_read
        now = anyio.current_time()
        if (
            last_count != (count := sum(len(updates.uris) for updates in clients))
            or now - last_read > QUIET_SECONDS / 4
        ):
            last_count, since = count, now
        last_read = now
        return now - since > QUIET_SECONDS

    await eventually(is_quiet)
    for updates in clients:
        updates.uris.clear()


@asynccontextmanager
async def subscribe_while(client: Client, *uris: str) -> AsyncGenerator[None]:
    """Subscribe in the client's own era while the block lasts."""
    if client.protocol_version >= "2026":
        async with client.listen(resource_subscriptions=uris):
            yield
        return
    for uri in uris:
        await subscribe(client, uri)
    yield
    for uri in uris:
        await unsubscribe(client, uri)


@pytest.mark.unchanged_project
async def test_a_session_is_reported_until_it_ends(
    connect: Connect, mode: str, updates: UpdateRecorder, tmp_path: Path
) -> None:
    """Who reads after each notification, and only then, ends with the final state."""
    go = tmp_path / "go"
    async with connect(mode=mode, message_handler=updates.record) as client:
        id = await new_session(client)
        uri, states, told = f"opencode://session/{id}", list[str](), 0
        async with subscribe_while(client, uri):
            parts = [{"type": "text", "text": WAITING_UNTIL_FILE.format(go)}]
            await call(client, "session_prompt_async", sessionID=id, parts=parts)
            while "completed" not in states:
                told = await updates.wait_for_update(uri, told)
                states.append((await read_json(client, uri))["state"])
                if states[-1] == "running":
                    go.touch()

    assert "running" in states


@pytest.mark.unchanged_project
async def test_every_view_of_a_session_is_notified(connect: Connect, mode: str, updates: UpdateRecorder) -> None:
    """Transcript, changes and to-do list have updates of their own."""
    async with connect(mode=mode, message_handler=updates.record) as client:
        id = await new_session(client)
        uris = [f"opencode://session/{id}{view}" for view in ("", "/transcript", "/diff", "/todo")]
        async with subscribe_while(client, *uris):
            await updates.wait_for_update(uris[0])  # the stream of events is open
            updates.uris.clear()
            await prompt(client, id, "script:todowrite")
            for uri in uris:
                await updates.wait_for_update(uri)


@pytest.mark.unchanged_project
async def test_the_list_is_notified_of_every_session(connect: Connect, mode: str, updates: UpdateRecorder) -> None:
    """Of one that is created, that works, and that is deleted; what is read then has changed."""
    uri = "opencode://sessions"
    async with connect(mode=mode, message_handler=updates.record) as client, subscribe_while(client, uri):
        await updates.wait_for_update(uri)  # the stream of events is open
        id = await changed_by(client, updates, new_session(client, title="listed"))
        assert id in await listed_ids(client)
        await changed_by(client, updates, prompt(client, id, "script:text hello"))
        await changed_by(client, updates, call(client, "session_delete", sessionID=id))
        assert id not in await listed_ids(client)


async def changed_by(client: Client, updates: UpdateRecorder, change: Awaitable[T]) -> T:
    """Make a change of a session when nothing else changes, and return its result after the update of the list."""
    await wait_until_quiet(updates)
    result = await change
    await updates.wait_for_update("opencode://sessions")
    return result


async def listed_ids(client: Client) -> set[str]:
    """Return the ids of the listed sessions."""
    return {session["id"] for session in await read_json(client, "opencode://sessions")}


@pytest.mark.unchanged_project
async def test_bursts_become_few_notifications(
    connect: Connect, mode: str, updates: UpdateRecorder, tmp_path: Path
) -> None:
    """There are at most two a second for one resource, as long as it changes twenty times a second."""
    go = tmp_path / "go"
    async with connect(mode=mode, message_handler=updates.record) as client:
        id = await new_session(client)
        uri = f"opencode://session/{id}/transcript"
        async with subscribe_while(client, uri):
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(prompt, client, id, COUNTING_UNTIL_FILE.format(go))
                await eventually(lambda: len(updates.uris) >= 4)
                go.touch()
            seconds = anyio.current_time() - began
            count = len(updates.uris)

    assert 4 <= count <= seconds / MIN_UPDATE_SECONDS + 2


@pytest.mark.unchanged_project
async def test_changes_of_another_session_are_not_notified(
    connect: Connect, mode: str, updates: UpdateRecorder
) -> None:
    """Only events of the session become updates."""
    async with connect(mode=mode, message_handler=updates.record) as client:
        mine, other = await new_session(client), await new_session(client)
        uri = f"opencode://session/{mine}"
        async with subscribe_while(client, uri):
            await updates.wait_for_update(uri)  # the stream of events is open
            await wait_until_quiet(updates)
            await prompt(client, other, COUNTING_PROMPT)
            await call(client, "session_update", sessionID=mine, title="renamed")
            await updates.wait_for_update(uri)

    assert updates.uris == [uri]


REFUSED = {
    "opencode://session/ses_missing": "Session not found: ses_missing",
    "opencode://session/ses_missing/todo": "Session not found: ses_missing",
    "opencode://session/x": "must be a session's id",
    "opencode://nothing": "Unknown resource",
    "opencode://config": "cannot be subscribed to",
}


@pytest.mark.unchanged_project
async def test_a_subscription_to_an_unknown_resource_is_refused(client: Client) -> None:
    """A subscription to an unknown resource, or to one without events, fails with -32602."""
    for uri, words in REFUSED.items():
        with pytest.raises(MCPError, match=words) as raised:
            async with subscribe_while(client, uri):
                pass

        assert raised.value.code == types.INVALID_PARAMS, uri


@pytest.mark.unchanged_project
async def test_an_acknowledgement_lists_only_supported_subscriptions(connect: Connect) -> None:
    """Changes of the lists of tools and resources are not."""
    async with connect(mode="auto") as client:
        uri = f"opencode://session/{await new_session(client)}"
        wanted = {"tools_list_changed": True, "resources_list_changed": True, "prompts_list_changed": True}
        async with client.listen(resource_subscriptions=[uri], **wanted) as subscription:
            honored = subscription.honored

    assert honored == types.SubscriptionFilter(prompts_list_changed=True, resource_subscriptions=[uri])


@pytest.mark.unchanged_project
async def test_an_ended_subscription_sends_nothing(connect: Connect, updates: UpdateRecorder) -> None:
    """After unsubscribing no update arrives; another subscription, and one made twice, are unaffected."""
    async with connect(mode="legacy", message_handler=updates.record) as client:
        id = await new_session(client)
        kept, ended = f"opencode://session/{id}", f"opencode://session/{id}/transcript"
        for uri in (kept, ended, kept):
            await subscribe(client, uri)
        await updates.wait_for_update(kept)
        await unsubscribe(client, ended)
        await unsubscribe(client, ended)
        updates.uris.clear()
        await prompt(client, id, COUNTING_PROMPT)
        await updates.wait_for_update(kept)

    assert set(updates.uris) == {kept}
    assert len(updates.uris) < 60


@pytest.mark.unchanged_project
async def test_the_event_stream_is_open_only_while_a_client_is_subscribed(
    connect: Connect, mode: str, endpoint: Endpoint, attached: Settings, updates: UpdateRecorder
) -> None:
    """There is one stream of events for all, and none before the first and after the last."""
    async with open_recording_proxy(endpoint) as relay:
        settings = replace(attached, url=relay.url)

        async def feeds(number: int) -> None:
            async def as_many() -> bool:
                return relay.open_streams == number

            await eventually(as_many)

        async with connect(settings, mode=mode, message_handler=updates.record) as client:
            id = await new_session(client)
            uris = f"opencode://session/{id}", f"opencode://session/{id}/todo"
            assert relay.streams_opened == 0
            async with subscribe_while(client, uris[0]):
                await feeds(1)
                async with subscribe_while(client, uris[1]):
                    await updates.wait_for_update(uris[0])
                assert relay.streams_opened == 1
            await feeds(0)
            if mode == "legacy":  # a client that goes away without a word
                await subscribe(client, uris[0])
                await feeds(1)
        await feeds(0)


@asynccontextmanager
async def serve_http(settings: Settings, catalog: Catalog) -> AsyncGenerator[str]:
    """Serve the bridge over HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    application = create_server(settings, catalog).streamable_http_app(host="127.0.0.1")
    config = uvicorn.Config(application, log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = GuestServer(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True


async def prompt_and_wait_for_update(client: Client, updates: UpdateRecorder) -> str:
    """Follow a session through a prompt to its end, and return its resource."""
    session_id = await new_session(client)
    uri, count = f"opencode://session/{session_id}", 0
    async with subscribe_while(client, uri):
        await prompt(client, session_id, "script:text hello")
        while (await read_json(client, uri))["state"] != "completed" or count == 0:
            count = await updates.wait_for_update(uri, count)
    return uri


@pytest.mark.unchanged_project
async def test_subscriptions_work_over_http(
    attached: Settings, catalog: Catalog, endpoint: Endpoint, mode: str, updates: UpdateRecorder
) -> None:
    """Notifications come over HTTP too, and a client that goes away leaves nothing behind."""
    async with open_recording_proxy(endpoint) as relay, serve_http(replace(attached, url=relay.url), catalog) as url:
        async with Client(url, mode=mode, message_handler=updates.record) as client:
            uri = await prompt_and_wait_for_update(client, updates)
            if mode == "legacy":
                await subscribe(client, uri)

        async def closed() -> bool:
            return relay.open_streams == 0

        await eventually(closed)


@pytest.mark.unchanged_project
async def test_subscribers_share_a_watcher(attached: Settings, catalog: Catalog, endpoint: Endpoint) -> None:
    """Clients of both eras share one stream; those that stay get updates when the others have left."""
    mine, others = UpdateRecorder(), UpdateRecorder()
    async with (
        open_recording_proxy(endpoint) as relay,
        serve_http(replace(attached, url=relay.url), catalog) as url,
        Client(url, mode="legacy", message_handler=mine.record) as client,
    ):
        uri = f"opencode://session/{await new_session(client)}"
        async with Client(url, mode="auto", message_handler=others.record) as other, subscribe_while(other, uri):
            await others.wait_for_update(uri)  # the stream of events is open
            await subscribe(client, uri)
            await call(client, "session_update", sessionID=uri.rpartition("/")[2], title="one")
            await mine.wait_for_update(uri)
            await others.wait_for_update(uri, 1)
        told = mine.uris.count(uri)
        await call(client, "session_update", sessionID=uri.rpartition("/")[2], title="two")
        await mine.wait_for_update(uri, told)
        assert (relay.open_streams, relay.streams_opened) == (1, 1)
        await unsubscribe(client, uri)
        await eventually(lambda: relay.open_streams == 0)


@pytest.mark.unchanged_project
async def test_subscriptions_work_over_stdio(
    attached: Settings, environ: Mapping[str, str], mode: str, updates: UpdateRecorder
) -> None:
    """Notifications come over stdio too."""
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "opencode_mcp"],
        env={**environ, **environ_for(attached)},
    )
    async with Client(stdio_client(command), mode=mode, message_handler=updates.record) as client:
        await prompt_and_wait_for_update(client, updates)
