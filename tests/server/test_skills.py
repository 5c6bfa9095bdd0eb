"""Skills over MCP: listed, described and read, with digests of what is read. No OpenCode is needed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from hashlib import sha256
from pathlib import Path

import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.skills import read_skills

from .connections import open_memory_streams
from .raw_task_client import TaskClient, open_task_client
from .test_negotiation import INITIALIZE, raw_client

pytestmark = pytest.mark.anyio

EXTENSION = "io.modelcontextprotocol/skills"
NOT_RUNNING = "http://127.0.0.1:9"
URIS = [f"skill://{name}/SKILL.md" for name in ("opencode-api", "opencode-delegate", "opencode-supervise")]
CACHE = (3_600_000, "public")


@pytest.fixture
async def client(catalog: Catalog, tmp_path: Path) -> AsyncGenerator[TaskClient]:
    """A client of a bridge whose OpenCode does not run; the bridge's results are shorter than a skill."""
    settings = Settings(url=NOT_RUNNING, directory=str(tmp_path), max_result_chars=1_000)
    async with (
        open_memory_streams(create_server(settings, catalog)) as streams,
        open_task_client(streams, {}) as client,
    ):
        yield client


async def test_the_skills_are_listed_with_the_digests_of_their_files(client: TaskClient) -> None:
    """What is read has the digest and the size of the entry, whole, and is in the list of resources as well."""
    assert (await client.request("server/discover"))["capabilities"]["extensions"][EXTENSION] == {}
    listed = await client.request("skills/list")
    resources = {resource["uri"]: resource for resource in (await client.request("resources/list"))["resources"]}

    assert [entry["uri"] for entry in listed["skills"]] == URIS
    assert (listed["ttlMs"], listed["cacheScope"]) == CACHE
    for entry, skill in zip(listed["skills"], read_skills(), strict=True):
        (file,) = entry["resources"]
        read = await client.request("resources/read", uri=file["uri"])
        (content,) = read["contents"]
        data = content["text"].encode()
        assert (file["digest"], file["size"]) == (f"sha256:{sha256(data).hexdigest()}", len(data))
        assert (content["text"], content["mimeType"]) == (skill.text, "text/markdown")
        assert (read["ttlMs"], read["cacheScope"]) == CACHE
        assert {key: resources[entry["uri"]][key] for key in ("name", "description")} == {
            key: entry["frontmatter"][key] for key in ("name", "description")
        }


@pytest.mark.parametrize("uri", URIS)
async def test_one_skill_is_described_as_in_the_list(client: TaskClient, uri: str) -> None:
    """With the cache attributes of the list."""
    listed = await client.request("skills/list")
    described = await client.request("skills/get", uri=uri)

    assert described["skill"] == next(entry for entry in listed["skills"] if entry["uri"] == uri)
    assert (described["ttlMs"], described["cacheScope"]) == CACHE


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("skills/get", {"uri": "skill://opencode-delegate"}),
        ("skills/get", {"uri": "skill://opencode-api/../opencode-delegate/SKILL.md"}),
        ("skills/get", {}),
        ("skills/list", {"cursor": "2"}),
        ("resources/read", {"uri": "skill://opencode-delegate/other.md"}),
    ],
)
async def test_what_does_not_exist_is_an_invalid_parameter(
    client: TaskClient, method: str, params: dict[str, str]
) -> None:
    """An unknown skill or file, a missing URI, and a cursor that the server has not given."""
    assert (await client.request(method, **params))["code"] == -32602


async def test_an_older_client_reads_the_skills_as_resources(catalog: Catalog, tmp_path: Path) -> None:
    """The methods are those of the extension, which protocol versions before 2026-07-28 do not have."""
    server = create_server(Settings(url=NOT_RUNNING, directory=str(tmp_path)), catalog)
    async with raw_client(server) as raw:
        await raw.send("initialize", INITIALIZE, 1)
        await raw.answer()
        await raw.send("notifications/initialized", {})
        for number, method in enumerate(("skills/list", "skills/get"), 2):
            await raw.send(method, {"uri": URIS[0]}, number)
            assert await raw.answer() == (number, -32601)
    async with Client(server, mode="legacy") as legacy:
        assert {resource.uri for resource in (await legacy.list_resources()).resources} >= {*URIS}
