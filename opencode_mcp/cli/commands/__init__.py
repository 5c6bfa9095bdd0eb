"""One module per command: `configure(parser)` adds its arguments, `run(settings, options)` returns the exit code."""
