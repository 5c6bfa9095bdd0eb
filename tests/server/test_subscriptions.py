"""Subscriptions to sessions, in both eras: told while it works, once more at its end, and not too often."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import mcp_types as types
import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import IncomingMessage
from mcp.client.stdio import stdio_client

from examples.scripted_model import GuestServer
from opencode_mcp.openapi import Catalog
from opencode_mcp.opencode import Endpoint
from opencode_mcp.server import create_server
from opencode_mcp.server.watching import MIN_UPDATE_SECONDS
from opencode_mcp.settings import Settings
from tests.bridge import variables_of
from tests.conftest import Connect
from tests.eventually import eventually

from .conftest import call, new_session, prompt, read_json
from .relay import relayed

pytestmark = pytest.mark.anyio

COUNTING = 'script:tool bash {"command": "for i in $(seq 40); do echo $i; sleep 0.05; done", "description": "Count"}'
"""About a hundred events within two seconds."""

COUNTING_ON = (
    'script:tool bash {{"command": "while [ ! -e {} ]; do echo one more; sleep 0.05; done", "description": "Count"}}'
)
"""The same until there is a file."""

QUIET_SECONDS = 1.5

WAITING = 'script:tool bash {{"command": "while [ ! -e {} ]; do sleep 0.05; done", "description": "Wait"}}'
"""Until there is a file."""


@dataclass
class Updates:
    """The URIs that a client was told of, oldest first."""

    uris: list[str] = field(default_factory=list[str])

    async def hear(self, message: IncomingMessage) -> None:
        """Take a notification; in the 2026 era the client hands over those of its streams as well."""
        if isinstance(message, types.ResourceUpdatedNotification):
            self.uris.append(message.params.uri)

    async def next(self, uri: str, before: int = 0) -> int:
        """Wait until a URI has been told of more often than before, and return how often that is."""

        async def told() -> int:
            return self.uris.count(uri) if self.uris.count(uri) > before else 0

        return await eventually(told, within=30)


@pytest.fixture
def updates() -> Updates:
    """What the client of the test is told."""
    return Updates()


async def subscribe(client: Client, uri: str) -> None:
    """Subscribe as in the handshake era."""
    params = types.SubscribeRequestParams(uri=uri)
    await client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)


async def unsubscribe(client: Client, uri: str) -> None:
    """Unsubscribe as in the handshake era."""
    params = types.UnsubscribeRequestParams(uri=uri)
    await client.session.send_request(types.UnsubscribeRequest(params=params), types.EmptyResult)


async def quiet(*clients: Updates) -> None:
    """Wait until clients have been told of nothing for a while, and forget what they were told of before.

    A while in which this process did not run does not count: what it is told of waits for it to do so.
    """
    seen, since = -1, anyio.current_time()
    looked = since

    def still() -> bool:
        nonlocal seen, since, looked
        now = anyio.current_time()
        if seen != (told := sum(len(updates.uris) for updates in clients)) or now - looked > QUIET_SECONDS / 4:
            seen, since = told, now
        looked = now
        return now - since > QUIET_SECONDS

    await eventually(still, within=60)
    for updates in clients:
        updates.uris.clear()


@asynccontextmanager
async def following(client: Client, *uris: str) -> AsyncGenerator[None]:
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


async def test_a_session_is_followed_to_its_end(connect: Connect, era: str, updates: Updates, tmp_path: Path) -> None:
    """Who reads after each notification, and only then, ends with the final state."""
    go = tmp_path / "go"
    async with connect(mode=era, message_handler=updates.hear) as client:
        id = await new_session(client)
        uri, states, told = f"opencode://session/{id}", list[str](), 0
        async with following(client, uri):
            parts = [{"type": "text", "text": WAITING.format(go)}]
            await call(client, "session_prompt_async", sessionID=id, parts=parts)
            while "completed" not in states:
                told = await updates.next(uri, told)
                states.append((await read_json(client, uri))["state"])
                if states[-1] == "running":
                    go.touch()

    assert "running" in states


async def test_every_view_is_told_of(connect: Connect, era: str, updates: Updates) -> None:
    """Transcript, changes and to-do list have updates of their own."""
    async with connect(mode=era, message_handler=updates.hear) as client:
        id = await new_session(client)
        uris = [f"opencode://session/{id}{view}" for view in ("", "/transcript", "/diff", "/todo")]
        async with following(client, *uris):
            await updates.next(uris[0])  # the stream of events is open
            updates.uris.clear()
            await prompt(client, id, "script:todowrite")
            for uri in uris:
                await updates.next(uri)


async def test_bursts_become_few_notifications(connect: Connect, era: str, updates: Updates, tmp_path: Path) -> None:
    """There are at most two a second for one resource, as long as it changes twenty times a second."""
    go = tmp_path / "go"
    async with connect(mode=era, message_handler=updates.hear) as client:
        id = await new_session(client)
        uri = f"opencode://session/{id}/transcript"
        async with following(client, uri):
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(prompt, client, id, COUNTING_ON.format(go))
                await eventually(lambda: len(updates.uris) >= 4)
                go.touch()
            seconds = anyio.current_time() - began
            count = len(updates.uris)

    assert 4 <= count <= seconds / MIN_UPDATE_SECONDS + 2


async def test_another_session_is_no_reason(connect: Connect, era: str, updates: Updates) -> None:
    """Only what concerns the session is told."""
    async with connect(mode=era, message_handler=updates.hear) as client:
        mine, other = await new_session(client), await new_session(client)
        uri = f"opencode://session/{mine}"
        async with following(client, uri):
            await updates.next(uri)  # the stream of events is open
            await quiet(updates)
            await prompt(client, other, COUNTING)
            await call(client, "session_update", sessionID=mine, title="renamed")
            await updates.next(uri)

    assert updates.uris == [uri]


REFUSED = {
    "opencode://session/ses_missing": "Session not found: ses_missing",
    "opencode://session/ses_missing/todo": "Session not found: ses_missing",
    "opencode://session/x": "does not match",
    "opencode://nothing": "Unknown resource",
    "opencode://config": "cannot be subscribed to",
}


async def test_what_cannot_be_followed(client: Client) -> None:
    """A subscription to what is not there, or does not tell of its changes, is -32602."""
    for uri, words in REFUSED.items():
        with pytest.raises(MCPError, match=words) as raised:
            async with following(client, uri):
                pass

        assert raised.value.code == types.INVALID_PARAMS, uri


async def test_an_acknowledgement_promises_only_what_is_sent(connect: Connect) -> None:
    """Changes of the lists of tools and resources are not."""
    async with connect(mode="auto") as client:
        uri = f"opencode://session/{await new_session(client)}"
        wanted = {"tools_list_changed": True, "resources_list_changed": True, "prompts_list_changed": True}
        async with client.listen(resource_subscriptions=[uri], **wanted) as subscription:
            honored = subscription.honored

    assert honored == types.SubscriptionFilter(prompts_list_changed=True, resource_subscriptions=[uri])


async def test_a_subscription_ends(connect: Connect, updates: Updates) -> None:
    """After unsubscribing nothing is told; another subscription, and one made twice, are as they were."""
    async with connect(mode="legacy", message_handler=updates.hear) as client:
        id = await new_session(client)
        kept, ended = f"opencode://session/{id}", f"opencode://session/{id}/transcript"
        for uri in (kept, ended, kept):
            await subscribe(client, uri)
        await updates.next(kept)
        await unsubscribe(client, ended)
        await unsubscribe(client, ended)
        updates.uris.clear()
        await prompt(client, id, COUNTING)
        await updates.next(kept)

    assert set(updates.uris) == {kept}
    assert len(updates.uris) < 60


async def test_the_feed_is_open_only_while_somebody_is_subscribed(
    connect: Connect, era: str, endpoint: Endpoint, attached: Settings, updates: Updates
) -> None:
    """There is one stream of events for all, and none before the first and after the last."""
    async with relayed(endpoint) as relay:
        settings = replace(attached, url=relay.url)

        async def feeds(number: int) -> None:
            async def as_many() -> bool:
                return relay.feeds == number

            await eventually(as_many)

        async with connect(settings, mode=era, message_handler=updates.hear) as client:
            id = await new_session(client)
            uris = f"opencode://session/{id}", f"opencode://session/{id}/todo"
            assert relay.opened == 0
            async with following(client, uris[0]):
                await feeds(1)
                async with following(client, uris[1]):
                    await updates.next(uris[0])
                assert relay.opened == 1
            await feeds(0)
            if era == "legacy":  # a client that goes away without a word
                await subscribe(client, uris[0])
                await feeds(1)
        await feeds(0)


@asynccontextmanager
async def served(settings: Settings, catalog: Catalog) -> AsyncGenerator[str]:
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


async def follow_a_prompt(client: Client, updates: Updates) -> str:
    """Follow a session through a prompt to its end, and return its resource."""
    session_id = await new_session(client)
    uri, told = f"opencode://session/{session_id}", 0
    async with following(client, uri):
        await prompt(client, session_id, "script:text hello")
        while (await read_json(client, uri))["state"] != "completed" or told == 0:
            told = await updates.next(uri, told)
    return uri


async def test_over_http(attached: Settings, catalog: Catalog, endpoint: Endpoint, era: str, updates: Updates) -> None:
    """Notifications come over HTTP too, and a client that goes away leaves nothing behind."""
    async with relayed(endpoint) as relay, served(replace(attached, url=relay.url), catalog) as url:
        async with Client(url, mode=era, message_handler=updates.hear) as client:
            uri = await follow_a_prompt(client, updates)
            if era == "legacy":
                await subscribe(client, uri)

        async def closed() -> bool:
            return relay.feeds == 0

        await eventually(closed)


async def test_a_watch_is_shared(attached: Settings, catalog: Catalog, endpoint: Endpoint) -> None:
    """Clients of both eras follow one session by one stream; who stays is told when the others have gone."""
    mine, others = Updates(), Updates()
    async with (
        relayed(endpoint) as relay,
        served(replace(attached, url=relay.url), catalog) as url,
        Client(url, mode="legacy", message_handler=mine.hear) as client,
    ):
        uri = f"opencode://session/{await new_session(client)}"
        async with Client(url, mode="auto", message_handler=others.hear) as other, following(other, uri):
            await others.next(uri)  # the stream of events is open
            await subscribe(client, uri)
            await call(client, "session_update", sessionID=uri.rpartition("/")[2], title="one")
            await mine.next(uri)
            await others.next(uri, 1)
        told = mine.uris.count(uri)
        await call(client, "session_update", sessionID=uri.rpartition("/")[2], title="two")
        await mine.next(uri, told)
        assert (relay.feeds, relay.opened) == (1, 1)
        await unsubscribe(client, uri)
        await eventually(lambda: relay.feeds == 0)


async def test_over_stdio(attached: Settings, environ: Mapping[str, str], era: str, updates: Updates) -> None:
    """Notifications come over stdio too."""
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "opencode_mcp"],
        env={**environ, **variables_of(attached)},
    )
    async with Client(stdio_client(command), mode=era, message_handler=updates.hear) as client:
        await follow_a_prompt(client, updates)
