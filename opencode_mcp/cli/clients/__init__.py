"""The MCP clients that `install` knows: their configuration files, entry formats and limits."""

from .change import Change, installation, removal
from .places import Machine
from .table import CLIENTS, Client, Launch, Remote

__all__ = ["CLIENTS", "Change", "Client", "Launch", "Machine", "Remote", "installation", "removal"]
