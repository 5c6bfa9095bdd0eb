"""OpenCode for Python programs, without MCP: the async client (`library.py`) and its construction (`connect.py`)."""
