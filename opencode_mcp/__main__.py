"""The program: `opencode-mcp`, or `python -m opencode_mcp`."""

import gc
import os
import signal
import sys


def main() -> int:
    """Run the command line.

    Until the command runs, Ctrl-C ends the process at once, as there is nothing to undo: in the middle of an import,
    KeyboardInterrupt would print a traceback. What is imported stays until the end, so the garbage collector does not
    look at it: that would take an eighth of the start's time, and a quarter of a second at the end.
    """
    gc.disable()
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, exit_at_once)
    from .cli import prepare

    run = prepare()
    gc.freeze()
    gc.enable()
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


def exit_at_once(signum: int, frame: object) -> None:
    """Exit as a shell expects after SIGINT."""
    os._exit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
