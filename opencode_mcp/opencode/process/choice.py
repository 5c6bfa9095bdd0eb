"""Which OpenCode serves where no address is given.

Connecting is safe, and starting an OpenCode 2 is not: its first start imports the data of OpenCode 1, see
`data_folder.py`. Unless the user has chosen a generation,

    OpenCode 2 runs as a background service               -> it is used
    the program is an OpenCode 2 that has run before,
    or OpenCode 1 has no data                             -> it is started
    else                                                  -> OpenCode 1 is started, or its managed copy

A program of --command is never replaced by another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import anyio.to_thread

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.opencode.endpoint import ProgressCallback
from opencode_mcp.opencode.expected_generation import version_major

from .cache import cache_folder
from .data_folder import DATABASE_VARIABLE, History, data_folder, read_data_folder
from .executable import Program, ReadVersion, read_each_once, read_version, which
from .install import find_program
from .service import Service, find_service

OWN_DATABASE = "opencode-mcp.db"
"""The database of the own copy of OpenCode 1 in a data folder whose database an OpenCode 2 has taken over."""

GET_OPENCODE_2 = (
    "Install OpenCode 2 so that `opencode` is on PATH, set --command to it, set --url to a running one, or omit "
    "--generation 2"
)


@dataclass(frozen=True)
class Choice:
    """What is known before OpenCode is chosen.

    `generation` is the user's choice, None if there is none. With `may_use_service` the background service is used.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]
    cache: Path
    generation: int | None = 1
    may_use_service: bool = False

    async def choose(self, report_progress: ProgressCallback) -> Program | Service:
        """Return the service that runs, or the program to start.

        Raises:
            ServerStartError: there is none, with how to get one.
        """
        read = read_each_once()
        found, reason = await self.find_opencode_2(read)
        if found is not None and not reason:
            return found
        if self.generation == 2:
            raise ServerStartError(f"--generation 2: there is no OpenCode 2. {GET_OPENCODE_2}.")
        if found is not None and self.command:
            raise ServerStartError(
                f"--command: {found.describe()} is OpenCode {found.version}, and is not started: {reason}. Set "
                "--generation 2 to start it, omit --command to use an OpenCode 1, or set --url to a running OpenCode 2."
            )
        program = await self._find_opencode_1(report_progress, read)
        note = f"{program.note}; it is not started, as {reason}; --generation 2 starts it"
        return replace(program, note=note) if reason else program

    async def find_opencode_2(self, read: ReadVersion = read_version) -> tuple[Program | Service | None, str]:
        """Return the OpenCode 2 of this user, None if there is none or it is not wanted, and why it must not be
        started, "" if it may be used."""
        if self.generation == 1:
            return None, ""
        if self.may_use_service and (service := await find_service(self.environ)) is not None:
            return service, ""
        candidate = await self._find_candidate(read)
        if candidate is None or self.generation == 2:
            return candidate, ""
        return candidate, await self._reason_not_to_start()

    async def _find_candidate(self, read: ReadVersion) -> Program | None:
        """Return the OpenCode 2 of --command or on PATH; None if there is none."""
        command = self.command or ("opencode",)
        path = which(command[0], self.environ)
        if path is None:
            return None
        program = (path, *command[1:])
        version = await read(program, self.environ, self.cache)
        trusted = version is None and bool(self.command) and self.generation == 2
        if trusted or (version is not None and version_major(version) == 2):
            return Program(program, version=version, generation=2)
        return None

    async def _reason_not_to_start(self) -> str:
        """Return why an OpenCode 2 must not be started without the user's word, or ""."""
        return (await anyio.to_thread.run_sync(read_data_folder, self.environ)).reason_not_to_migrate

    async def _find_opencode_1(self, report_progress: ProgressCallback, read: ReadVersion) -> Program:
        """Return the OpenCode 1 to start. The own copy does not open a database that an OpenCode 2 has taken over.

        Raises:
            ServerStartError: there is none.
        """
        program = await find_program(self.command, self.cache, self.environ, report_progress, read)
        if not program.is_own_copy:
            return program
        folder = await anyio.to_thread.run_sync(read_data_folder, self.environ)
        if folder.history is not History.OPENCODE_2 or self.environ.get(DATABASE_VARIABLE):
            return program
        database = str(data_folder(self.environ) / OWN_DATABASE)
        note = f"its sessions are in {database}, as an OpenCode 2 has taken over the database beside it"
        return replace(
            program,
            environ=((DATABASE_VARIABLE, database),),
            note="; ".join(part for part in (program.note, note) if part),
        )


def make_choice(
    command: tuple[str, ...], environ: Mapping[str, str], generation: int | None, is_shared: bool
) -> Choice:
    """Return what is chosen from. Only an assistant that shares an OpenCode uses the background service."""
    return Choice(command, environ, cache_folder(environ), generation, is_shared and not command)
