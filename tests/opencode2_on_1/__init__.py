"""The v2 API of a real OpenCode 1.18.33 as an OpenCode 2: a shim in the tests, and the scenarios that it can play.

The second engine of 1.18.33 is the one that OpenCode 2 grew from: it creates sessions, runs prompts, asks, and answers
below /api as OpenCode 2 does, under names that have changed since. What is renamed here, and what is missing there, is
all that a scenario on it does not prove.
"""
