"""The command line. Each command is a file of its own, imported only when it is called."""

from .main import main

__all__ = ["main"]
