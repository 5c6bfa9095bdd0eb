"""A fake OpenCode 2 with scripted states, and tests of it.

`open_opencode2` serves it, `open_client` with a project and a client, `open_opencode2_context` for a scenario. Its
answers and events are held to the bundled document. A docstring says what is known of a behaviour, and from where:

- "Facts, SUBJECT": collected from OpenCode's documentation, its source text, and users' reports.
- "Recorded": in answers and events of a real 2.0.8.
- "Source": read in OpenCode's source text of the 2.x line.
- "The document": in the descriptions of the operations.

What none of them says is in `assumptions.py`. The fake was not compared with a released OpenCode 2.
"""
