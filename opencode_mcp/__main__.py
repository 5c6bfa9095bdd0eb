"""The program: `opencode-mcp`, or `python -m opencode_mcp`."""

import sys

from .importing import importing


def main() -> int:
    """Run the command line."""
    with importing():
        from .cli import prepare

        run = prepare()
    return run()


if __name__ == "__main__":
    sys.exit(main())
