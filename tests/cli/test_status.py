"""`opencode-mcp status`: which shared OpenCodes run, for whom, and what stops them."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from anyio import to_thread

from opencode_mcp.cli.commands import status
from opencode_mcp.cli.doctor.sharing import check_sharing
from opencode_mcp.cli.shared_servers import SharedServer, read_shared_servers
from opencode_mcp.exceptions import SettingsError
from opencode_mcp.opencode.process.cache import shared_folder
from opencode_mcp.redaction import Redactor
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings
from tests.eventually import eventually
from tests.opencode.process.shared_bridges import bridge, left, wait_until_nothing_is_left

from .command_process import run_command

pytestmark = [pytest.mark.anyio, pytest.mark.process]


@pytest.fixture
def user(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a user of their own, whose processes are found by MARK."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "OPENCODE"))},
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / ".cache"),
        "MARK": uuid4().hex,
        "STARTS": str(tmp_path / "starts"),
    }


async def run_status(user: Mapping[str, str], capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    """Run the command in a thread; return its exit code, and what it prints."""
    parser = argparse.ArgumentParser()
    status.configure(parser)
    code = await to_thread.run_sync(status.run, Settings.load({}, user), parser.parse_args(flags))
    return code, capsys.readouterr().out


def text_of(servers: list[SharedServer]) -> str:
    """Return what the command prints."""
    return "\n".join(line for server in servers for line in status.format_server(server))


async def test_it_names_who_shares_a_server_and_stops_it(
    user: Mapping[str, str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With its memory and age; the exit code tells whether it is still there. The logs of its bridges say so."""
    caplog.set_level("INFO")
    assert await run_status(user, capsys, "--stop") == (0, "No shared OpenCode runs.\n")
    async with bridge(user, linger=30) as one, bridge(user, linger=30) as two:
        await one.endpoint()
        await two.endpoint()
        one.publish(client="claude-code", directory="/home/me/shop")
        await eventually(lambda: [other.client for other in two.others], until=lambda names: names == ["claude-code"])
        done = await run_command({**user, "TERM": "other"}, "status", "--json")
        assert done.returncode == 0
        [server] = json.loads(done.stdout)["servers"]
        assert server["state"] == "running"
        assert server["version"] == "1.18.33"
        assert 5 < server["memory_mb"] < 500
        assert {server["pid"], server["supervisor_pid"]} == left(user).keys()
        assert sorted(each["client"] for each in server["assistants"]) == ["", "claude-code"]
        assert [each["pid"] for each in server["assistants"]] == [os.getpid()] * 2
        assert server["differing_variables"] == []
        assert len(two.others) == 1  # the command is not listed

        registration = await anyio.Path(server["registration"]).read_text()
        redacted = Redactor(known_secrets(Settings.load({}, user))).redact_text(registration)
        assert [value in redacted for value in json.loads(registration)["key"].values()] == [False] * 3
        assert str(server["pid"]) in redacted

        text = text_of(await read_shared_servers(user, user))
        assert f"OpenCode 1.18.33, process {server['pid']} (supervisor {server['supervisor_pid']}): started " in text
        connected = rf"\(bridge {os.getpid()}\), connected for \d+ s"
        assert re.search(rf"\n  claude-code {connected}, in /home/me/shop(\n|$)", text)
        assert re.search(rf"\n  a client that has made no call {connected}(\n|$)", text)

        code, text = await run_status(user, capsys, "--stop")
        assert code == 0
        assert text.splitlines()[0].endswith(", stopped")
        await eventually(lambda: one.current_endpoint() is None and two.current_endpoint() is None)
        started = f"shared OpenCode: supervisor {server['supervisor_pid']}, registered in {server['registration']}"
        assert [record.levelname for record in caplog.records if record.getMessage() == started] == ["INFO"] * 2
        stopped = "OpenCode: it was stopped (by `opencode-mcp status --stop`)"
        levels = [record.levelname for record in caplog.records if record.getMessage().startswith(stopped)]
        assert levels == ["WARNING"] * 2
        await wait_until_nothing_is_left(user)


async def test_servers_of_other_environments_name_the_variables_and_no_value(user: Mapping[str, str]) -> None:
    """A person finds out why two assistants do not share one."""
    other = {**user, "ANTHROPIC_API_KEY": "sk-secret-value", "EXTRA": "1"}
    async with bridge(user, linger=0) as one, bridge(other, linger=0) as two:
        await one.endpoint()
        await two.endpoint()
        servers = await read_shared_servers(user, user)
        assert [server.differing_variables for server in servers] == [(), ("ANTHROPIC_API_KEY", "EXTRA")]
        text = text_of(servers)
        assert "this shell would not share it; these variables differ: ANTHROPIC_API_KEY, EXTRA" in text
        assert "sk-secret-value" not in text
        for path in shared_folder(user).glob("*.json"):
            assert "sk-secret-value" not in path.read_text()
    await wait_until_nothing_is_left(user)


async def test_doctor_says_with_whom_the_server_is_shared_or_why_not(user: Mapping[str, str]) -> None:
    """Why two assistants have two servers, or one has its own."""
    for settings, text in (
        (
            Settings(url="http://127.0.0.1:9", environ=user),
            "does not apply: a running server is used, and others may use it too",
        ),
        (Settings(no_share=True, environ=user), "off (--no-share): this assistant runs an OpenCode of its own"),
        (Settings(environ=user), "on"),
    ):
        result = await check_sharing(settings)
        assert (result.state, result.message) == ("ok", text)
    newer = {**user, "VERSION": "1.19.0"}
    async with bridge(user, linger=0) as doctor, bridge(user, linger=0) as one, bridge(newer, linger=0) as two:
        await doctor.endpoint()
        assert (await check_sharing(Settings(environ=user))).message == "on; no other assistant uses it now"
        one.publish(client="claude-code")
        two.publish(client="cursor-vscode")
        for server in (one, two):
            await server.endpoint()
            server.publish(pid=1)  # as another process
        await eventually(lambda: [other.pid for other in doctor.others], until=lambda found: found == [1])
        result = await check_sharing(Settings(environ=user))
        assert result.message == "shared with claude-code; not with cursor-vscode: these variables differ: VERSION"
        [supervisor_pid, _] = [pid for pid, line in left(user).items() if "shared_supervisor.py" in line]
        os.kill(supervisor_pid, signal.SIGSTOP)
        result = await check_sharing(Settings(environ=user))
        os.kill(supervisor_pid, signal.SIGCONT)
        assert result.state == "warning"
        assert f"the supervisor of an OpenCode (process {supervisor_pid}) does not answer" in result.message
        assert "status --stop --force" in result.advice
    await wait_until_nothing_is_left(user)


async def test_work_is_stopped_only_with_force(user: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal may hold anything."""
    async with bridge(user, linger=0) as one:
        await one.endpoint()
        one.set_active("pty_1", active=True)
        await eventually(lambda: read_shared_servers(user, user), until=lambda found: found[0].work == ("pty_1",))
        code, text = await run_status(user, capsys, "--stop")
        assert code == 1
        assert "; running: pty_1" in text
        assert one.current_endpoint() is not None
        assert (await run_status(user, capsys, "--stop", "--force"))[0] == 0
        await wait_until_nothing_is_left(user)
    with pytest.raises(SettingsError, match="--force needs --stop"):
        await run_status(user, capsys, "--force")


async def test_a_frozen_supervisor_is_killed_only_with_force(user: Mapping[str, str]) -> None:
    """It cannot say what runs."""
    async with bridge(user, linger=0) as one:
        await one.endpoint()
        [supervisor_pid] = [pid for pid, line in left(user).items() if "shared_supervisor.py" in line]
        os.kill(supervisor_pid, signal.SIGSTOP)
        [server] = await read_shared_servers(user, user, stop=True)
        assert (server.state, server.is_stopped) == ("unresponsive", False)
        assert "its supervisor does not answer; --stop --force stops it" in text_of([server])
        [server] = await read_shared_servers(user, user, stop=True, force=True)
        assert server.is_stopped
        await wait_until_nothing_is_left(user)


async def test_what_a_killed_supervisor_has_left_is_named_and_ended(user: Mapping[str, str]) -> None:
    """No bridge was there to notice."""
    async with bridge(user, linger=30) as one:
        await one.endpoint()
    [supervisor_pid] = [pid for pid, line in left(user).items() if "shared_supervisor.py" in line]
    os.kill(supervisor_pid, signal.SIGKILL)
    await eventually(lambda: left(user), until=lambda found: supervisor_pid not in found)
    [server] = await read_shared_servers(user, user)
    assert server.state == "dead"
    assert "its supervisor was killed, or runs in another container; --stop ends what a killed one has left" in text_of(
        [server]
    )
    assert [*left(user)] == [server.pid]
    [server] = await read_shared_servers(user, user, stop=True)
    assert server.is_stopped
    await wait_until_nothing_is_left(user)
