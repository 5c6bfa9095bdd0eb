"""A fake OpenCode 2 with scripted states, and tests of it.

`open_opencode2` serves it. Its answers and events are held to the bundled document; its behaviour follows what is known
of OpenCode 2, by section in the docstrings: "source" is OpenCode's own source text, "recorded" are answers of 2.0.8.
What neither says is in `assumptions.py`. It was not compared with a released OpenCode 2.
"""
