"""The MCP clients that `install` knows: their configuration files, entry formats and limits."""

from .change import Change, plan_install, plan_removal
from .places import Machine
from .table import CLIENTS, Client, Launch, Remote

__all__ = ["CLIENTS", "Change", "Client", "Launch", "Machine", "Remote", "plan_install", "plan_removal"]
