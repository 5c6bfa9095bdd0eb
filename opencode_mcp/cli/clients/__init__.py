"""The MCP clients that `install` knows: their configuration files, entry formats and limits."""

from .edit import Change, plan_install, plan_removal
from .known_clients import CLIENTS, Client, Launch, Machine, Remote

__all__ = ["CLIENTS", "Change", "Client", "Launch", "Machine", "Remote", "plan_install", "plan_removal"]
