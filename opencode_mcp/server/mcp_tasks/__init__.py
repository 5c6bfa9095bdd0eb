"""The MCP extension for tasks: a client polls the state of a call that runs on."""
