"""The report of the configuration files: which were read, and what they set."""

from __future__ import annotations

from opencode_mcp.settings import SETTINGS, Settings

from .check_result import CheckResult


def report_config_files(settings: Settings) -> CheckResult:
    """Name the settings in each file; whether a flag or a variable overrides one is not said."""
    keys = {setting.name: setting.key for setting in SETTINGS}
    named = {str(file.path): [keys[name] for name in file.texts] for file in settings.files}
    lines = [f"{path} sets {', '.join(names) or 'nothing'}" for path, names in named.items()]
    return CheckResult("configuration", "ok", "; ".join(lines), facts=named)
