"""A stdio MCP server with one tool, one prompt and one resource, for OpenCode to connect to."""

from mcp.server import MCPServer

server = MCPServer("tiny")


@server.tool()
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}."


@server.resource("tiny://motto")
def motto() -> str:
    """The motto."""
    return "Small is beautiful."


if __name__ == "__main__":
    server.run()
