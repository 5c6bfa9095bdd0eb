"""The command of --on-event: what it gets, what it cannot do to the bridge, and how it ends."""

from __future__ import annotations

import html
import json
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import anyio
import pytest

from opencode_mcp.server import event_hook
from opencode_mcp.server.event_hook import open_event_hook
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.task_event import SendEvent, TaskEvent
from tests.bridge import find_processes
from tests.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("spawns")]

OpenHook = Callable[[str], AbstractAsyncContextManager[SendEvent]]
RunExample = Callable[..., Awaitable[tuple[list[str], str]]]

EXAMPLES = Path(__file__).parents[2] / "examples" / "hooks"
HOSTILE = "--icon=x \"; touch ~/broken-out; $(touch ~/broken-out) `touch ~/broken-out` '; \\(1) é\n<b>"
SECRETS = {
    "OPENCODE_MCP_TOKEN": "the token of the endpoint",
    "OPENCODE_MCP_STATE_KEY": "the key of the replicas, which is long",
    "OPENCODE_SERVER_PASSWORD": "the password of the server",
    "OPENCODE_SERVER_PASSWORD_FAR": "the password of another server",
    "OPENCODE_MCP_REDIS": "redis://:the-password@localhost",
}


def make_event(**fields: Any) -> TaskEvent:
    """Return an event."""
    event = TaskEvent(
        time="2026-11-29T08:00:00+00:00",
        session_id="ses_1",
        title="Fix the test",
        state="completed",
        directory="/project",
        server=None,
        message="All tests pass.",
        pending=[],
        answer="All tests pass.",
        error=None,
        cost=0.25,
        elapsed_seconds=12.5,
    )
    return event.model_copy(update=fields)


@pytest.fixture
def mark(tmp_path: Path) -> str:
    """What only the environment of this test's commands has."""
    return f"TEST_OF_EVENTS={tmp_path}"


@pytest.fixture
def open_hook(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> OpenHook:
    """What opens a hook for a command that runs in the test's folder, and has a minute to end."""
    monkeypatch.setattr(event_hook, "GRACE_SECONDS", 60)
    name, _, value = mark.partition("=")
    path = os.pathsep.join([str(tmp_path / "programs"), os.environ["PATH"]])
    environ = {**SECRETS, "PATH": path, "HOME": str(tmp_path), name: value}

    @asynccontextmanager
    async def open_hook(command: str) -> AsyncGenerator[SendEvent]:
        settings = Settings.load({"on_event": command, "url": "http://localhost"}, environ)
        async with open_event_hook(settings, command) as send:
            yield send

    return open_hook


async def test_the_command_gets_the_event_on_standard_input(open_hook: OpenHook, tmp_path: Path) -> None:
    """Whole, whatever a task puts into it; and neither in its arguments nor in its environment."""
    event = make_event(title=HOSTILE, message=HOSTILE, answer=HOSTILE * 50)
    async with open_hook("cat > event; env > environment; tr '\\0' ' ' < /proc/$$/cmdline > arguments") as send:
        send(event)

    assert json.loads((tmp_path / "event").read_text()) == event.model_dump()
    for name in ("environment", "arguments"):
        assert "broken-out" not in (tmp_path / name).read_text()
    assert sorted(os.listdir(tmp_path)) == ["arguments", "environment", "event"]


async def test_the_command_has_no_secret_of_the_settings(open_hook: OpenHook, tmp_path: Path) -> None:
    """It works in the user's home, not in a project: the model writes files there."""
    async with open_hook("env > environment; pwd > directory") as send:
        send(make_event())

    environment = (tmp_path / "environment").read_text()
    assert [secret for secret in SECRETS.values() if secret in environment] == []
    assert f"HOME={tmp_path}" in environment
    assert (tmp_path / "directory").read_text().strip() == str(tmp_path)


@pytest.fixture
def programs(tmp_path: Path) -> None:
    """Programs that write down their arguments, each ended by a NUL, and their input."""
    (tmp_path / "programs").mkdir()
    for name in ("notify-send", "osascript", "curl"):
        program = tmp_path / "programs" / name
        program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\" > ~/arguments\ncat > ~/input\n")
        program.chmod(0o755)


@pytest.fixture
def run_example(open_hook: OpenHook, tmp_path: Path, programs: None) -> RunExample:
    """What runs an example for an event, and returns the arguments and the input that its program has got."""

    async def run(name: str, **fields: Any) -> tuple[list[str], str]:
        async with open_hook(f"sh {EXAMPLES / name}") as send:
            send(make_event(**fields))
        assert not (tmp_path / "broken-out").exists()
        return (tmp_path / "arguments").read_text().split("\0")[:-1], (tmp_path / "input").read_text()

    return run


async def test_the_example_for_linux(run_example: RunExample) -> None:
    """Texts of a task are single arguments, after the options; in the body, which is markup, they are escaped."""
    arguments, _ = await run_example("notify-send.sh", title=HOSTILE, message=HOSTILE)

    assert arguments[:-1] == ["--app-name=OpenCode", "--urgency=low", "--", HOSTILE]
    assert html.unescape(arguments[-1]) == f"completed: {HOSTILE}"
    assert "<" not in arguments[-1]


async def test_the_example_for_macos(run_example: RunExample) -> None:
    """Texts of a task are arguments of the script."""
    arguments, script = await run_example("macos.sh", title=HOSTILE, message=HOSTILE, state="waiting_permission")

    assert arguments == ["-", HOSTILE, f"waiting_permission: {HOSTILE}"]
    assert script.splitlines()[0] == "on run argv"
    assert "touch" not in script


async def test_the_example_for_slack(run_example: RunExample, tmp_path: Path) -> None:
    """The message is valid JSON without commands of Slack; the webhook's URL is in no argument."""
    arguments, message = await run_example("slack.sh", title=HOSTILE, message="<!channel> & all", state="failed")

    [(name, text)] = json.loads(message).items()
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    assert (name, text) == ("text", f"*{escaped}* failed, $0.25\n&lt;!channel&gt; &amp; all")
    assert arguments[arguments.index("--config") + 1] == str(tmp_path / ".config" / "opencode-mcp" / "slack.curl")
    assert [argument for argument in arguments if "://" in argument] == []


async def test_opencode_does_not_get_the_command() -> None:
    """The commands of its model inherit its environment."""
    environ = {"OPENCODE_MCP_ON_EVENT": "curl https://hooks.example/private", "PATH": "/bin"}
    settings = Settings.load({}, environ)

    assert settings.on_event == environ["OPENCODE_MCP_ON_EVENT"]
    assert "private" not in str(settings.child_environ)
    assert settings.child_environ["PATH"] == "/bin"


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("echo out; echo err >&2; exit 3", "it exited with status 3"),
        ("sleep 300", "it took longer than 0.5 s and was killed"),
        ("no-such-program", "it exited with status 127"),
    ],
)
async def test_a_failure_is_a_warning_once(
    open_hook: OpenHook,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    problem: str,
) -> None:
    """Its output is logged with it; the next event is handled all the same."""
    monkeypatch.setattr(event_hook, "RUN_SECONDS", 0.5 if "sleep" in command else 60)
    caplog.set_level(logging.INFO, event_hook.__name__)
    async with open_hook(command) as send:
        send(make_event())
        await eventually(lambda: len(caplog.records) == 1)
        send(make_event())

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert all(problem in record.getMessage() for record in caplog.records)
    if "echo" in command:
        assert caplog.records[0].getMessage().endswith("out\nerr")


async def test_a_command_that_hangs_is_killed_with_its_children(
    open_hook: OpenHook, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    """Those that hold its output open after it has exited included."""
    monkeypatch.setattr(event_hook, "RUN_SECONDS", 3.0)
    async with open_hook("sleep 300 & sleep 301 & if [ -e second ]; then exit; fi; touch second; sleep 302") as send:
        send(make_event())
        await eventually(lambda: len(find_processes(mark)) > 2)
        await eventually(lambda: not find_processes(mark))
        send(make_event())
        await eventually(lambda: len(find_processes(mark)) > 1)

    await eventually(lambda: not find_processes(mark))


async def test_a_burst_is_handled_a_few_at_a_time_and_then_dropped(
    open_hook: OpenHook, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending never waits; the number of those that were dropped is logged."""
    monkeypatch.setattr(event_hook, "MAX_WAITING", 8)
    monkeypatch.setattr(event_hook, "GRACE_SECONDS", 60)
    sent = 40
    async with open_hook("cat > /dev/null; echo 1 >> runs; sleep 0.1; echo -1 >> runs") as send:
        for number in range(sent):
            send(make_event(session_id=f"ses_{number}"))
        runs = tmp_path / "runs"  # once one more has begun, its event waits no longer
        await eventually(lambda: runs.exists() and runs.read_text().split().count("1") > event_hook.MAX_CONCURRENT)
        send(make_event())

    steps = [int(line) for line in (tmp_path / "runs").read_text().split()]
    handled = Counter(steps)[1]
    assert 1 < max(accumulate(steps)) <= event_hook.MAX_CONCURRENT
    assert handled == Counter(steps)[-1]
    messages = [record.getMessage() for record in caplog.records]
    assert messages[-1] == f"--on-event: {sent + 1 - handled} events were dropped"
    assert len(messages) == 2


@pytest.mark.parametrize("cancelled", [False, True], ids=["ended", "cancelled"])
async def test_a_run_has_a_moment_to_finish_when_the_server_ends(
    open_hook: OpenHook, tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """What takes longer is killed; the end is not delayed further."""
    with anyio.CancelScope() as scope:
        async with open_hook("sleep 0.2; touch finished") as send:
            send(make_event())
            if cancelled:
                scope.cancel()
    assert (tmp_path / "finished").exists()

    monkeypatch.setattr(event_hook, "GRACE_SECONDS", 0.5)
    started = anyio.current_time()
    async with open_hook("touch begun; sleep 300") as send:
        send(make_event())
        await eventually((tmp_path / "begun").exists)
    assert anyio.current_time() - started < 60
    await eventually(lambda: not find_processes(mark))


async def test_a_long_output_is_not_kept(open_hook: OpenHook, caplog: pytest.LogCaptureFixture) -> None:
    """Only its end is logged, and a command that reads nothing does not fail."""
    caplog.set_level(logging.INFO, event_hook.__name__)
    async with open_hook("exec < /dev/null; head -c 3000000 /dev/zero | tr '\\0' x; echo end") as send:
        send(make_event(answer="y" * 200_000))

    [record] = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().endswith("xxxend")
    assert len(record.getMessage()) < event_hook.OUTPUT_CHARS + 100
