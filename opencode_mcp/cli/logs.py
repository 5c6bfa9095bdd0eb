"""The log: on stderr, or in a file."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from opencode_mcp.exceptions import SettingsError
from opencode_mcp.redaction import Redactor
from opencode_mcp.server.lifespan import known_secrets
from opencode_mcp.settings import Settings


class RedactingFormatter(logging.Formatter):
    """Formats records, their tracebacks included, without the values that are known to be secret."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redactor = Redactor(known_secrets(settings))

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        return self._redactor.redact_text(super().format(record))


def set_up_logging(settings: Settings) -> None:
    """Log from `log_level` upwards, to `log_file` or stderr.

    Raises:
        SettingsError: the log file cannot be written.
    """
    handler = private_file(settings.log_file) if settings.log_file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(settings))
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper())


def private_file(path: Path) -> logging.FileHandler:
    """Return a handler that appends to a file with mode 0600.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        os.chmod(path, 0o600)  # an existing file may have another mode
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--log-file {str(path)!r} cannot be written: {error.strerror}") from error
