"""MCP resources: their handlers, and what reads each of them."""
