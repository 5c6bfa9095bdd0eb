# opencode-mcp over stdio, as a user without rights:
#   docker build -t opencode-mcp .
#   docker run -i --rm -v "$PWD:/project" opencode-mcp
# OpenCode's own settings and credentials are in /home/bridge; mount a volume there to keep them.
FROM node:22-bookworm-slim

RUN apt-get update \
    && apt-get install --no-install-recommends -y git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 bridge

WORKDIR /opt/opencode-mcp
COPY pyproject.toml README.md LICENSE ./
COPY opencode_mcp ./opencode_mcp
RUN python3 -m venv .venv && .venv/bin/pip install --no-cache-dir .

USER bridge
# A container has one bridge, and ends with it.
ENV OPENCODE_MCP_NO_SHARE=1
# The tested OpenCode and ripgrep, in the image instead of at the first call.
RUN /opt/opencode-mcp/.venv/bin/opencode-mcp --directory /home/bridge call global_health

LABEL io.modelcontextprotocol.server.name="io.github.opencode-mcp/opencode-mcp"
WORKDIR /project
ENTRYPOINT ["/opt/opencode-mcp/.venv/bin/opencode-mcp"]
CMD ["stdio"]
