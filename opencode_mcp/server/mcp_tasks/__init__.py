"""The MCP extension for tasks: a client asks for the state of a call that runs on."""
