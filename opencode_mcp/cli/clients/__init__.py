"""The MCP clients that `install` knows: their configuration files, entry formats and limits."""

from .client import Client, Launch, Machine, Remote
from .edit import Change, plan_install, plan_removal
from .known_clients import CLIENTS
from .more_clients import PRINTED_CLIENTS

__all__ = [
    "CLIENTS",
    "PRINTED_CLIENTS",
    "Change",
    "Client",
    "Launch",
    "Machine",
    "Remote",
    "plan_install",
    "plan_removal",
]
