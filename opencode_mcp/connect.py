"""Settings -> OpenCode clients: the composition root of the MCP server and of the library."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

import httpx2

from .catalog import Catalog
from .catalog.generation import Generation
from .catalog.generations import DEFAULT_GENERATION, GENERATIONS
from .exceptions import SettingsError, TransportError
from .opencode import AttachedServer, Endpoint, OpenCodeClient, ServerPool
from .opencode.allowlist import DirectoryAllowlist
from .opencode.concurrency import background_task_group
from .opencode.endpoint import OpenCodeServer, RefusedServer
from .opencode.expected_generation import ExpectedGeneration, read_seen_generation
from .opencode.load_guard import LoadPolicy
from .opencode.process.install import cache_folder
from .opencode.prompt_policy import PromptPolicy
from .opencode.transport import Observe
from .settings import DEPTH_VARIABLE, Settings, without_password

if TYPE_CHECKING:
    from .opencode.process.choice import Choice


def make_allowlist(settings: Settings) -> DirectoryAllowlist:
    """Return the allowlist of `--allow-directory`.

    Raises:
        SettingsError: the default directory is outside of it.
    """
    allowlist = DirectoryAllowlist.from_directories(settings.allow_directory)
    directory = settings.project_directory
    if directory is not None and not allowlist.allows(directory):
        raise SettingsError(f"--directory {directory!r} {allowlist.outside_message()}")
    return allowlist


def make_load_policy(settings: Settings) -> LoadPolicy:
    """Return which operations of the MCP server may load a directory."""
    if settings.read_only:
        return "none strictly"
    return "none" if settings.no_destructive else "writes"


@asynccontextmanager
async def connect(
    settings: Settings, catalog: Catalog, load_policy: LoadPolicy = "all", observe: Observe = nullcontext
) -> AsyncGenerator[ServerPool]:
    """Provide the clients of the servers that the settings choose. Nothing is started or sent yet.

    `load_policy` says which operations may name a directory that OpenCode has not opened. `observe` makes the
    context manager of each request to OpenCode.
    """
    directory, allowlist = settings.project_directory, make_allowlist(settings)
    lacks_project = directory is None and not settings.urls
    async with AsyncExitStack() as stack:
        clients: dict[str, OpenCodeClient] = {}
        expected = make_expected_generation(settings, catalog.generation)
        for name, server in (await open_servers(settings, expected, stack)).items():
            client = OpenCodeClient(
                server,
                catalog,
                directory,
                allowlist,
                lacks_project=lacks_project,
                load_policy=load_policy,
                environ=settings.environ,
                observe=observe,
                prompt_policy=PromptPolicy(settings.models, settings.max_cost),
                expected=expected if not clients else expected.without_notes(),
            )
            clients[name] = await stack.enter_async_context(client)
        yield ServerPool(clients, tasks=await stack.enter_async_context(background_task_group()))


def make_expected_generation(settings: Settings, generation: Generation) -> ExpectedGeneration:
    """Return what is expected of OpenCode where tools of a generation are listed."""
    is_fixed = settings.fixed_generation is not None
    return ExpectedGeneration(generation, is_fixed, cache_folder(settings.environ), name_servers(settings))


def expected_generation(settings: Settings) -> int:
    """Return the generation whose tools are listed: the chosen one, else the one that was seen last, else OpenCode 1.

    Nothing is started or sent: some clients allow 1.5 s until the tools are listed.
    """
    if settings.fixed_generation is not None:
        return settings.fixed_generation
    seen = read_seen_generation(cache_folder(settings.environ), name_servers(settings))
    return DEFAULT_GENERATION if seen is None else seen


async def find_generation(settings: Settings) -> int:
    """Return the generation of the OpenCode that would serve now, and note it for the next start. Nothing is started.

    It is the expected one if the user has chosen it, or if no running server answers.
    """
    number = expected_generation(settings)
    if settings.fixed_generation is not None or settings.depth:
        return number
    if not settings.urls:
        found, reason = await choose_program(settings).find_opencode_2()
        major = DEFAULT_GENERATION if found is None or reason else found.generation
        make_expected_generation(settings, GENERATIONS[number]).note(major)
        return major if major in GENERATIONS else number
    async with connect(settings, Catalog.from_snapshot(number)) as servers:
        with suppress(TransportError):
            await servers.default.find_generation()
    return expected_generation(settings)


def choose_program(settings: Settings) -> Choice:
    """Return what an OpenCode is chosen from where no address is given."""
    from .opencode.process.choice import make_choice

    return make_choice(settings.command, settings.child_environ, settings.fixed_generation, not settings.no_share)


def name_servers(settings: Settings) -> str:
    """Return the name under which the generation of these servers is noted: the addresses, or what starts one.

    With --no-share no background service is used, so that may be another generation.
    """
    addresses = [without_password(url) for url in settings.urls.values()]
    own = "opencode of its own" if settings.no_share else "opencode"
    return " ".join(addresses) or shlex.join(settings.command) or own


async def open_servers(
    settings: Settings, expected: ExpectedGeneration, stack: AsyncExitStack
) -> Mapping[str, OpenCodeServer]:
    """Return the running servers by name, or one that is started by the first request and stopped with `stack`."""
    if settings.urls:
        several = len(settings.urls) > 1
        return {
            name: AttachedServer(make_endpoint(settings, name, expected.generation), name if several else None)
            for name in settings.urls
        }
    if settings.depth:
        return {"": RefusedServer(recursion_message(settings.depth))}
    from opencode_mcp.opencode.process.managed import managed_server

    if settings.no_share:
        directory, linger = settings.project_directory or make_empty_folder(settings), None
    else:
        directory, linger = make_empty_folder(settings), settings.linger
    server = managed_server(
        settings.command, directory, settings.child_environ, linger, expected, settings.fixed_generation
    )
    return {"": await stack.enter_async_context(server)}


def make_endpoint(settings: Settings, name: str, generation: Generation) -> Endpoint:
    """Return the address of a running server, and the credentials that one of a generation takes."""
    return Endpoint(
        httpx2.URL(settings.urls[name]),
        generation.username or settings.username,
        settings.password_of(name, generation.password_variables),
        ca_file=settings.trusted_ca_file,
    )


def make_empty_folder(settings: Settings) -> str:
    """Return a folder for an OpenCode without a project: in / or the home directory it would search all below."""
    folder = cache_folder(settings.environ) / "no-project"
    with suppress(OSError):  # the start of OpenCode reports it
        folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def recursion_message(depth: int) -> str:
    """Return the error for a server inside an OpenCode that opencode-mcp started: that OpenCode has the same MCP
    servers configured."""
    return (
        f"This server runs inside an OpenCode that opencode-mcp started ({DEPTH_VARIABLE}={depth} in its environment), "
        "so it does not start another OpenCode, which would start this server again. Nothing was sent. Use the other "
        "tools of this session, or ask the user to attach this server to a running OpenCode with --url."
    )
