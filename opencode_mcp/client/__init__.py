"""OpenCode for a Python program: the async client without MCP (`library.py`), and the way to it (`connect.py`)."""
