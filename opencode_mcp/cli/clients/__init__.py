"""The MCP clients that `install` knows: where each keeps its servers, in what form, and what it can take."""

from .change import Change, installation, removal
from .places import Machine
from .table import CLIENTS, Client, Launch, Remote

__all__ = ["CLIENTS", "Change", "Client", "Launch", "Machine", "Remote", "installation", "removal"]
