"""A program of a user's own that serves over stdio with an OpenTelemetry SDK: a process can have one only once.

python -m tests.server.tracing FILE: every span goes to the file as a line of JSON when it ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from opencode_mcp.cli import main

if __name__ == "__main__":
    with Path(sys.argv[1]).open("w") as file:
        exporter = ConsoleSpanExporter(out=file, formatter=lambda span: span.to_json(indent=None) + "\n")
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        code = main(["stdio"])
    sys.exit(code)
