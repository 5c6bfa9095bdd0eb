"""MCP resources: the handlers of their requests, and a reader for each resource."""
