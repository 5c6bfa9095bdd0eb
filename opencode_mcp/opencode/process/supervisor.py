"""The supervisor process between the bridge and its OpenCode: no child process outlives the bridge.

supervisor.py COMMAND… runs the command in its own process group and forwards its output. When its standard input closes
- the bridge closed it or died, `kill -9` included - it asks OpenCode to dispose of its instances, kills all descendant
processes, and removes the temporary files (each start of 1.18.33 leaves a library of 5 MB). It does the same when the
command exits by itself. After --keep-input the command has an open standard input, and EXIT_SECONDS to exit when that
closes.

Run as a script, on the standard library alone: it must start fast and outlive the bridge.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

LISTENING = re.compile(rb"listening on http://([\d.]+):(\d+)")
CHUNK_BYTES = 65_536
LINE_BYTES = 4_096
"""How much of an incomplete line is kept to find the address in it."""
DISPOSE_SECONDS = 2.0
KILL_SECONDS = 6.0
"""The bridge waits 10 s. A process that writes to a slow disk dies only after the write."""
EXIT_SECONDS = 10.0
"""OpenCode 2 exits when its input closes; what it writes to its database meanwhile is not cut off."""
OUTPUT_SECONDS = 2.0
KEEP_INPUT = "--keep-input"
PR_SET_CHILD_SUBREAPER = 36
PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
JOB_EXTENDED_LIMITS = 9
JOB_KILL_ON_CLOSE = 0x2000
JOBS: dict[int, int] = {}
"""On Windows, the handle of the job of each command, by process id. They are closed when this process ends."""

DETACHED = "OPENCODE_MCP_DETACHED"
"""Set for a process that `detach` has started."""


def main(command: list[str]) -> int:
    """Run the command until it exits or standard input closes; return the exit status."""
    adopt_orphans()
    ignore_terminal_signals()
    keeps_input = command[0] == KEEP_INPUT
    command = command[keeps_input:]
    try:
        temporary = tempfile.mkdtemp(prefix="opencode-mcp-")
    except OSError as error:
        return report_start_failure("cannot create a folder for temporary files", error)
    try:
        child = spawn(command, temporary, subprocess.PIPE if keeps_input else subprocess.DEVNULL)
    except OSError as error:
        os.rmdir(temporary)
        return report_start_failure(f"cannot run {command[0]}", error)
    listen_address: list[tuple[str, int]] = []

    def handle_sigterm(number: int, frame: object) -> None:
        terminate(child, listen_address, temporary)

    signal.signal(signal.SIGTERM, handle_sigterm)
    threading.Thread(target=terminate_with_parent, args=(child, listen_address, temporary), daemon=True).start()
    output = threading.Thread(target=forward_output, args=(child, listen_address), daemon=True)
    output.start()
    # Not the end of its output: its child processes may keep that open after it exits.
    status = child.wait()
    kill_descendants(child.pid)
    shutil.rmtree(temporary, ignore_errors=True)
    output.join(OUTPUT_SECONDS)
    return status if status >= 0 else 128 - status


def spawn(command: list[str], temporary: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, on Windows in a job, with a folder for its temporary files."""
    child = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)},
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    if sys.platform == "win32" and (job := create_job(load_kernel(), int(child._handle))):  # what starts later is in it
        JOBS[child.pid] = job
    return child


def report_start_failure(problem: str, error: OSError) -> int:
    """Write the problem and its cause; return the exit status of a command that cannot be run."""
    os.write(1, f"{problem}: {error.strerror or error}\n".encode())
    return 127


def forward_output(child: subprocess.Popen[bytes], listen_address: list[tuple[str, int]]) -> None:
    """Forward the command's output as it arrives, and extract the listen address."""
    assert child.stdout is not None
    line = b""
    while chunk := os.read(child.stdout.fileno(), CHUNK_BYTES):
        line += chunk
        if not listen_address and (match := LISTENING.search(line)) and match.end() < len(line):
            listen_address.append((match[1].decode(), int(match[2])))
        line = line.rpartition(b"\n")[2][-LINE_BYTES:]
        with suppress(OSError):  # the bridge is gone; the end of standard input reports that as well
            write_all(chunk)


def write_all(data: bytes) -> None:
    """Write data to standard output, in as many writes as it takes."""
    while data:
        data = data[os.write(1, data) :]


def terminate_with_parent(
    child: subprocess.Popen[bytes], listen_address: list[tuple[str, int]], temporary: str
) -> None:
    """Wait until standard input closes, then terminate."""
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held at interpreter exit
        pass
    terminate(child, listen_address, temporary)


def terminate(child: subprocess.Popen[bytes], listen_address: list[tuple[str, int]], temporary: str) -> None:
    """Dispose, kill, clean up, and exit."""
    if child.stdin is not None:
        close_input(child)
    elif listen_address:
        dispose(*listen_address[0])
    kill_descendants(child.pid)
    shutil.rmtree(temporary, ignore_errors=True)
    os._exit(0)


def close_input(child: subprocess.Popen[bytes]) -> None:
    """Close the command's input, and wait until it has exited."""
    assert child.stdin is not None
    with suppress(OSError):  # it has exited
        child.stdin.close()
    deadline = time.monotonic() + EXIT_SECONDS
    # Not child.wait: this may run in a signal handler that has interrupted it.
    while process_start(child.pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def dispose(host: str, port: int) -> None:
    """Ask OpenCode to abort prompts and end its shells, terminals and MCP servers."""
    connection = http.client.HTTPConnection(host, port, timeout=DISPOSE_SECONDS)
    with suppress(OSError, http.client.HTTPException):  # what does not stop is killed
        connection.request("POST", "/global/dispose", headers={"Authorization": authorization()})
        connection.getresponse().read()


def authorization() -> str:
    """Return the header with OpenCode's credentials, which are in this process's environment."""
    password = os.environ.get("OPENCODE_SERVER_PASSWORD", "")
    username = os.environ.get("OPENCODE_SERVER_USERNAME", "opencode")
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def kill_descendants(child: int) -> None:
    """Kill all descendants of the command, in any process group, until none is left."""
    if os.name == "nt":
        kill(child)
        return
    deadline = time.monotonic() + KILL_SECONDS
    while (pids := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            kill(pid)
        time.sleep(0.02)
    with suppress(ChildProcessError):  # all are reaped
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kill(pid: int) -> None:
    """Kill a process; on Windows, where /proc and process groups do not show them, with its descendants.

    taskkill finds those whose parents live, a job the others as well.
    """
    if pid in JOBS:
        load_kernel().TerminateJobObject(ctypes.c_void_p(JOBS[pid]), 1)
    elif os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
    else:
        with suppress(OSError):  # it has ended
            os.kill(pid, signal.SIGKILL)


def descendants(ancestor: int) -> list[int]:
    """Return the living processes below a process."""
    children: dict[int, list[int]] = {}
    for pid, parent in list_processes():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    generation = [ancestor]
    while generation:
        generation = [child for parent in generation for child in children.get(parent, [])]
        found += generation
    return found


def list_processes() -> list[tuple[int, int]]:
    """Return (process id, parent's process id) of every process that is not a zombie; none on Windows."""
    if os.name == "nt":
        return []
    if not Path("/proc/self/stat").exists():
        output = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, encoding="utf-8", errors="replace", check=True
        )
        rows = [line.split() for line in output.stdout.splitlines()]
        return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]
    found: list[tuple[int, int]] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                # As bytes: the name before it is any 15 bytes.
                state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    found.append((int(entry.name), int(parent)))
    return found


def process_start(pid: int) -> str:
    """Return when a process was started, in a form that tells it from later processes with its id; "" if it has
    exited. The form does not depend on the clock, the language or the time zone."""
    if sys.platform == "win32":
        return windows_process_start(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[0] == b"Z" else fields[19].decode()
    except OSError:
        if sys.platform == "linux":
            return ""
    environ = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(
        command, env=environ, capture_output=True, encoding="utf-8", errors="replace", check=False
    ).stdout.strip()


class JobLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION of Windows."""

    _fields_ = (
        ("times", ctypes.c_int64 * 2),
        ("flags", ctypes.c_uint32),
        ("working_set", ctypes.c_size_t * 2),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("classes", ctypes.c_uint32 * 2),
        ("io_counters", ctypes.c_uint64 * 6),
        ("memory", ctypes.c_size_t * 4),
    )


def create_job(kernel: ctypes.CDLL, process: int) -> int | None:
    """Put a process, by its handle, into a new job, and return the job's handle; None if Windows refuses.

    All that the process starts from then on is in the job, and is killed when its only handle is closed: when this
    process ends, however it does.
    """
    kernel.CreateJobObjectW.restype = ctypes.c_void_p
    job: int | None = kernel.CreateJobObjectW(None, None)
    if job is None:
        return None
    limits = JobLimits(flags=JOB_KILL_ON_CLOSE)
    size, handle = ctypes.sizeof(limits), ctypes.c_void_p(job)
    if kernel.SetInformationJobObject(handle, JOB_EXTENDED_LIMITS, ctypes.byref(limits), size):
        if kernel.AssignProcessToJobObject(handle, ctypes.c_void_p(process)):
            return job
    kernel.CloseHandle(handle)
    return None


def load_kernel() -> ctypes.CDLL:
    """Return kernel32 of Windows."""
    return getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009 - pyright knows it on Windows only


def windows_process_start(pid: int) -> str:
    """Return the creation time of a running process in 100 ns, by GetProcessTimes."""
    kernel = load_kernel()
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:
        return ""
    times = [ctypes.c_ulonglong() for _ in range(4)]
    read = kernel.GetProcessTimes(ctypes.c_void_p(handle), *map(ctypes.byref, times))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    created, ended = times[:2]
    return str(created.value) if read and not ended.value else ""


def adopt_orphans() -> None:
    """On Linux, become the subreaper of orphaned descendants, so that none escapes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def ignore_terminal_signals() -> None:
    """Ignore Ctrl-C, Ctrl-Break and a hang-up of the terminal, which reach this process as well as the bridge."""
    for name in ("SIGINT", "SIGHUP", "SIGBREAK"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


def detach() -> None:
    """Continue in a process whose parent has exited; where there is no fork, this script starts again."""
    if hasattr(os, "fork"):
        if os.fork():
            os._exit(0)
    elif not os.environ.pop(DETACHED, ""):
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        command = [sys.executable, *sys.orig_argv[1:]]
        environ = {**os.environ, DETACHED: "1"}
        subprocess.Popen(command, env=environ, creationflags=flags, stdin=subprocess.DEVNULL, stdout=1)
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
