"""The engine of OpenCode 2: its sessions, messages and requests in the terms of `models.py`, file by file."""
