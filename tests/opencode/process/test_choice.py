"""Which OpenCode serves where no address is given: no OpenCode 2 is started where it would import other data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from opencode_mcp.exceptions import ServerStartError
from opencode_mcp.openapi import SNAPSHOT_VERSION
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.process.choice import OWN_DATABASE, Choice
from opencode_mcp.opencode.process.executable import Program
from opencode_mcp.opencode.process.install import managed_program
from opencode_mcp.opencode.process.registration import compute_key
from opencode_mcp.opencode.process.service import Service
from tests.cli.fake_http_server import JSON, fake_http_server

from .data_folders import Prepare, leave_empty, quote, use_opencode_1, use_opencode_2, write_program

pytestmark = pytest.mark.anyio


def break_database(folder: Path) -> None:
    """Leave a database that cannot be read."""
    folder.mkdir(parents=True)
    (folder / "opencode.db").write_text(100 * "not a database")


@dataclass(frozen=True)
class User:
    """A user with a home, a PATH and an installed copy of OpenCode 1, of which no program is run."""

    home: Path

    @property
    def cache(self) -> Path:
        """The cache folder."""
        return self.home / "cache"

    @property
    def data(self) -> Path:
        """OpenCode's data folder."""
        return self.home / ".local" / "share" / "opencode"

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment."""
        return {"HOME": str(self.home), "PATH": str(self.home / "bin")}

    @property
    def choice(self) -> Choice:
        """What is chosen from without a flag."""
        return Choice((), self.environ, self.cache, None, may_use_service=True)

    def install(self, version: str | None, name: str = "opencode") -> Path:
        """Write a program on PATH."""
        return write_program(self.home / "bin" / name, self.cache, version)

    def register_service(self, url: str, pid: int = 4242) -> None:
        """Register a background service."""
        file = self.home / ".local" / "state" / "opencode" / "service.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"version": "2.1.2", "url": url, "pid": pid, "password": "secret"}))
        file.chmod(0o600)


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user with an installed copy of OpenCode 1."""
    user = User(tmp_path)
    user.cache.mkdir(mode=0o700)
    folder = user.cache / f"opencode-{SNAPSHOT_VERSION}"
    (folder / "node_modules" / "@vscode" / "ripgrep-linux-x64" / "bin").mkdir(parents=True)
    write_program(Path(managed_program(folder).command[0]), user.cache, SNAPSHOT_VERSION)
    return user


async def choose(choice: Choice) -> Program:
    """Return the program that is started."""
    chosen = await choice.choose(ignore_progress)
    assert isinstance(chosen, Program)
    return chosen


V2 = "2.1.2"
OWN = "the own copy"
PATH = "the program on PATH"
CASES = [
    # version on PATH, who has used the data, --generation: what is started, words of its note
    (None, leave_empty, None, OWN, ""),
    (None, use_opencode_1, None, OWN, ""),
    ("1.18.30", leave_empty, None, PATH, ""),
    ("1.18.30", use_opencode_1, None, PATH, ""),
    ("1.18.30", use_opencode_2, None, PATH, ""),
    (V2, leave_empty, None, PATH, ""),
    (V2, use_opencode_2, None, PATH, ""),
    (V2, use_opencode_1, None, OWN, "would import the data of OpenCode 1"),
    (V2, break_database, None, OWN, "may have data of OpenCode 1"),
    (V2, leave_empty, 1, OWN, "is OpenCode 2.1.2"),
    (V2, use_opencode_1, 1, OWN, "is OpenCode 2.1.2"),
    (V2, use_opencode_1, 2, PATH, ""),
    (V2, break_database, 2, PATH, ""),
    ("3.0.0", leave_empty, None, OWN, "is OpenCode 3.0.0"),
]


@pytest.mark.parametrize(("version", "prepare", "generation", "expected", "note"), CASES)
async def test_what_is_started(
    user: User, version: str | None, prepare: Prepare, generation: int | None, expected: str, note: str
) -> None:
    """The data of OpenCode 1 is imported by the user's word only; what is used instead says why."""
    prepare(user.data)
    on_path = user.install(version) if version else None
    program = await choose(replace(user.choice, generation=generation))

    assert program.is_own_copy == (expected == OWN)
    assert program.generation == (2 if expected == PATH and version == V2 else 1)
    if expected == PATH:
        assert program.command == (str(on_path),)
    assert note in program.note
    assert bool(program.note) == bool(note)
    assert ("--generation 2 starts it" in program.note) == (note.startswith(("would", "may")))


@pytest.mark.parametrize("version", [None, V2])
@pytest.mark.parametrize("generation", [None, 1])
async def test_the_own_copy_leaves_a_database_alone_that_an_opencode_2_has_taken_over(
    user: User, version: str | None, generation: int | None
) -> None:
    """It has one of its own beside it, and the same logins; the user's own database stays where it was set."""
    use_opencode_2(user.data)
    if version:
        user.install(version)
    choice = replace(user.choice, generation=generation)
    if version and generation is None:
        assert (await choose(choice)).generation == 2
        return
    program = await choose(choice)
    given = await choose(replace(choice, environ={**user.environ, "OPENCODE_DB": str(user.data / "opencode.db")}))

    assert dict(program.environ) == {"OPENCODE_DB": str(user.data / OWN_DATABASE)}
    assert OWN_DATABASE in program.note
    before = replace(program, environ=())
    assert compute_key(program, user.environ) != compute_key(before, user.environ)  # that one has the other database
    assert given.environ == ()


@pytest.mark.parametrize(
    ("version", "prepare", "generation", "words"),
    [
        (V2, use_opencode_1, None, r"is not started: its first start would import .* Set --generation 2 to start it"),
        (V2, break_database, None, "may have data of OpenCode 1"),
        (V2, leave_empty, 1, r"is OpenCode 2\.1\.2, .* it is not started"),
        ("1.18.30", leave_empty, 2, "there is no OpenCode 2"),
    ],
)
async def test_a_given_command_is_never_replaced(
    user: User, version: str, prepare: Prepare, generation: int | None, words: str
) -> None:
    """The user has chosen it: it is used, or the error says why not."""
    prepare(user.data)
    program = user.install(version, "oc")
    choice = replace(user.choice, command=(str(program),), generation=generation)
    with pytest.raises(ServerStartError, match=words):
        await choice.choose(ignore_progress)


@pytest.mark.parametrize(("prepare", "generation"), [(leave_empty, None), (use_opencode_2, None), (use_opencode_1, 2)])
async def test_an_opencode_2_given_as_command_is_started_where_it_is_safe(
    user: User, prepare: Prepare, generation: int | None
) -> None:
    """Or by the user's word."""
    prepare(user.data)
    program = user.install(V2, "oc")
    chosen = await choose(replace(user.choice, command=(str(program),), generation=generation))
    assert (chosen.command, chosen.generation) == ((str(program),), 2)


@pytest.mark.parametrize("is_given", [True, False])
async def test_a_program_without_a_version_is_asked_once(user: User, is_given: bool, spawns: None) -> None:
    """It may take its time to print none."""
    asked = user.home / "asked"
    path = user.install(None)
    path.write_text(f"#!/bin/sh\necho $* >> {quote(asked)}\n")
    program = await choose(replace(user.choice, command=(str(path),) if is_given else ()))

    assert program.is_own_copy != is_given
    assert asked.read_text().splitlines() == ["--version"]


async def test_without_an_opencode_2_the_error_says_how_to_get_one(user: User) -> None:
    """No OpenCode 1 takes its place."""
    with pytest.raises(ServerStartError, match=r"there is no OpenCode 2\. Install OpenCode 2 .*--url"):
        await replace(user.choice, generation=2).choose(ignore_progress)


@pytest.mark.parametrize("generation", [None, 2])
async def test_a_running_service_is_used_whatever_the_data_folder_holds(user: User, generation: int | None) -> None:
    """Connecting is safe: it has imported already."""
    use_opencode_1(user.data)
    user.install(V2)
    with fake_http_server({"/api/info": (200, JSON, b'{"version":"2.1.2","pid":4242}')}) as url:
        user.register_service(url)
        chosen = await replace(user.choice, generation=generation).choose(ignore_progress)
        alone = await choose(replace(user.choice, may_use_service=False))
        first = await choose(replace(user.choice, generation=1))

    assert isinstance(chosen, Service)
    assert chosen.endpoint.base_url == url
    assert alone.is_own_copy and first.is_own_copy


async def test_a_stale_registration_does_not_permit_a_start(user: User) -> None:
    """Its service may have been another user's, or long ago: the data folder decides."""
    use_opencode_1(user.data)
    user.install(V2)
    user.register_service("http://127.0.0.1:9", os.getpid())
    program = await choose(user.choice)

    assert program.is_own_copy
    assert "would import" in program.note
