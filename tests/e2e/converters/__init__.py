"""Programs that convert a server's tools with the clients' own converters.

Each runs in a virtual environment with its clients: what needs version 1 of the MCP SDK excludes what needs version 2.
"""
