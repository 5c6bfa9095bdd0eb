"""What other platforms lack, modules and names of POSIX and signals in asyncio, and what Windows has instead."""

from __future__ import annotations

import ast
import asyncio
import ctypes
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import opencode_mcp
from opencode_mcp.opencode.process import supervisor
from opencode_mcp.opencode.process.executable import which
from opencode_mcp.server.stdio.transport import STOP_SIGNALS, serve_until_signal
from opencode_mcp.settings.parsing import command_line, join_command

PACKAGE = Path(opencode_mcp.__file__).parent
POSIX_MODULES = ("crypt", "curses", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
POSIX_NAMES = {
    "os": (
        *("fork", "getpgid", "geteuid", "getuid", "kill", "killpg", "mkfifo", "openpty", "setsid", "sysconf", "uname"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "WNOHANG", "get_blocking", "set_blocking", "fchmod"),
    ),
    "select": ("poll", "epoll", "POLLIN", "POLLRDHUP"),
    "signal": ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGCHLD", "SIGPIPE", "pthread_sigmask"),
    "socket": ("AF_UNIX",),
}
"""Names that some version of Windows or of its Python lacks."""

PROGRAM = """
import importlib, importlib.abc, sys

modules, blocked, names = map(eval, sys.argv[1:4])
package, scripts = sys.argv[4:]
sys.path.append(scripts)  # its modules import each other as scripts do
for module in modules:  # and what the package needs, which knows the platform
    importlib.import_module(module)
for name, module in [*sys.modules.items()]:
    if (getattr(module, "__file__", None) or "").startswith(package):
        del sys.modules[name]

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
for name in blocked:
    sys.modules.pop(name, None)
for module, attributes in names.items():
    for attribute in attributes:
        vars(sys.modules.get(module) or importlib.import_module(module)).pop(attribute, None)
failed = []
for module in modules:
    try:
        importlib.import_module(module)
    except Exception as error:
        failed.append(f"{module}: {error!r}")
print(len(modules), *failed, sep="\\n")
"""


@pytest.mark.usefixtures("spawns")
def test_every_module_is_imported_without_what_only_posix_has() -> None:
    """Such modules and names are used in functions alone, behind a check of the platform."""
    modules = sorted(module_name(path) for path in PACKAGE.glob("**/*.py") if path.name != "__main__.py")
    folders = [str(PACKAGE), str(PACKAGE / "opencode" / "process")]
    arguments = [*map(repr, (modules, POSIX_MODULES, POSIX_NAMES)), *folders]

    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=120)

    assert (done.stdout, done.stderr) == (f"{len(modules)}\n", "")
    assert len(modules) > 250


class Function:
    """A function of `Kernel`. It notes its calls, with its structures as they were."""

    restype: Any = None

    def __init__(self, name: str, result: int | None, calls: list[tuple[Any, ...]]) -> None:
        self.name, self.result, self.calls = name, result, calls

    def __call__(self, *arguments: Any) -> int | None:
        self.calls.append((self.name, *(getattr(argument, "value", argument) for argument in arguments)))
        return self.result


class Kernel:
    """The functions of kernel32 that a job takes, with what they return."""

    def __init__(self, **results: int | None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        for name, result in results.items():
            setattr(self, name, Function(name, result, self.calls))


def make_kernel(**results: int | None) -> Any:
    """Return a kernel32 on which everything succeeds, but for `results`."""
    working = {"CreateJobObjectW": 7, "SetInformationJobObject": 1, "AssignProcessToJobObject": 1, "CloseHandle": 1}
    return Kernel(**{**working, **results})


def test_a_command_of_windows_is_in_a_job_that_ends_with_its_supervisor() -> None:
    """The limits have the layout of a 64-bit Windows, whose documentation gives 144 bytes; a 32-bit one has 112."""
    kernel = make_kernel()

    assert supervisor.create_job(kernel, 5) == 7
    (_, (name, job, kind, limits, size), assigned) = kernel.calls
    assert (name, job, kind, size) == ("SetInformationJobObject", 7, 9, ctypes.sizeof(supervisor.JobLimits))
    assert limits._obj.flags == 0x2000
    assert assigned == ("AssignProcessToJobObject", 7, 5)
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert (size, supervisor.JobLimits.flags.offset, supervisor.JobLimits.io_counters.offset) == (144, 16, 64)


@pytest.mark.parametrize("refused", ["CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject"])
def test_a_command_runs_without_a_job_where_windows_refuses_one(refused: str) -> None:
    """And the handle of a job that was made is closed."""
    kernel = make_kernel(**{refused: None if refused == "CreateJobObjectW" else 0})

    assert supervisor.create_job(kernel, 5) is None
    assert (kernel.calls[-1] == ("CloseHandle", 7)) == (refused != "CreateJobObjectW")


def test_the_supervisor_ignores_the_signals_of_the_terminal() -> None:
    """Ctrl-Break is one on Windows; a name that a platform lacks is skipped."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS if number != signal.SIGTERM}
    try:
        supervisor.ignore_terminal_signals()
        assert {signal.getsignal(number) for number in before} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LoopWithoutSignals(asyncio.SelectorEventLoop):
    """An event loop as Windows has it: it handles no signals."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Do what the event loop of Windows does."""
        raise NotImplementedError


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_signal_stops_the_server_where_asyncio_has_no_signal_handlers(signum: signal.Signals) -> None:
    """The calls end first; a second signal does not wait for them; then the signals are as before."""
    before = [signal.getsignal(number) for number in STOP_SIGNALS]

    async def serve_and_stop(times: int) -> tuple[signal.Signals | None, list[str]]:
        steps: list[str] = []

        async def serve() -> None:
            for _ in range(times):
                signal.raise_signal(signum)
                await anyio.sleep(0.01)
            await anyio.sleep_forever()

        async def drain() -> None:
            steps.append("draining")
            await (anyio.sleep_forever() if times > 1 else anyio.lowlevel.checkpoint())
            steps.append("drained")

        with anyio.fail_after(30):
            return await serve_until_signal(serve, drain), steps

    with asyncio.Runner(loop_factory=LoopWithoutSignals) as runner:
        assert runner.run(serve_and_stop(1)) == (signum, ["draining", "drained"])
        received, steps = runner.run(serve_and_stop(2))
        assert received == signum
        assert "drained" not in steps
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def module_name(path: Path) -> str:
    """Return the name of a module of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TEXT_MODE = re.compile(r"[rwax+t]+")


def test_text_is_read_and_written_in_a_named_encoding() -> None:
    """The default one is that of the locale: on Windows not UTF-8, and strict."""
    bad = [
        f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
        for path in sorted(PACKAGE.glob("**/*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and is_text_of_the_locale(node)
    ]

    assert bad == []


def is_text_of_the_locale(call: ast.Call) -> bool:
    """Whether a call opens a file or runs a program as text, without an encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    is_text = (
        name in {"read_text", "write_text"}
        or options.get("text") == "True"
        or (name in {"open", "fdopen", "NamedTemporaryFile"} and is_text_mode(name, modes, call))
    )
    return is_text and "encoding" not in options


def is_text_mode(name: str, modes: list[Any], call: ast.Call) -> bool:
    """Whether a mode is one of text; `os.open` has flags, and a temporary file is binary unless it says otherwise."""
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in {"os", "tarfile", "anyio"}:
        return False
    texts = [mode for mode in modes if isinstance(mode, str) and TEXT_MODE.fullmatch(mode)]
    return bool(texts) or (name == "open" and not any(isinstance(mode, str) for mode in modes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"C:\Users\me\opencode.cmd serve", (r"C:\Users\me\opencode.cmd", "serve")),
        (r'"C:\Program Files\opencode\opencode.exe" --x', (r"C:\Program Files\opencode\opencode.exe", "--x")),
        (r'C:\Program" "Files\opencode.exe', (r"C:\Program Files\opencode.exe",)),
        (r"\\server\share\it's.exe", (r"\\server\share\it's.exe",)),
        ('wsl.exe "" opencode', ("wsl.exe", "", "opencode")),
    ],
)
def test_a_command_line_of_windows_is_split_at_spaces(text: str, words: tuple[str, ...]) -> None:
    """A backslash is a part of a path, and quotation marks hold a path together; writing the words gives them again."""
    assert command_line(text, windows=True) == words
    assert command_line(join_command(words, windows=True), windows=True) == words


def test_a_command_line_of_posix_is_split_as_its_shells_do() -> None:
    """And a missing quotation mark is an error on both."""
    words = ("/opt/a b/opencode", "it's", "")

    assert command_line(join_command(words, windows=False), windows=False) == words
    for windows in (False, True):
        with pytest.raises(ValueError, match="No closing quotation"):
            command_line('"opencode', windows)


def test_a_program_of_windows_is_found_by_its_extension(tmp_path: Path) -> None:
    """npm writes `npm`, a script of a Unix shell, beside `npm.cmd`; the order is that of PATHEXT."""
    for name in ("npm", "npm.cmd", "node.exe", "node.cmd"):
        (tmp_path / name).touch(mode=0o755)
    environ = {"PATH": str(tmp_path), "PATHEXT": ".exe;.cmd"}

    assert which("npm", environ, windows=True) == str(tmp_path / "npm.cmd")
    assert which("node", environ, windows=True) == str(tmp_path / "node.exe")
    assert which("node.cmd", environ, windows=True) == str(tmp_path / "node.cmd")
    assert which("npm", environ, windows=False) == str(tmp_path / "npm")
