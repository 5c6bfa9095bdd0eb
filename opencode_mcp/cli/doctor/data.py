"""The check of OpenCode's data folder, which both generations use."""

from __future__ import annotations

from opencode_mcp.opencode.process.data_folder import History, read_data_folder
from opencode_mcp.settings import Settings

from .check_result import CheckResult

MESSAGES = {
    History.EMPTY: "no OpenCode has used {path}",
    History.OPENCODE_1: "{path} has data of OpenCode 1, and no OpenCode 2 has imported it",
    History.OPENCODE_2: "an OpenCode 2 has used {path}",
}


def check_data(settings: Settings) -> CheckResult:
    """Check who has used the data folder: it decides whether an OpenCode 2 may be started."""
    folder = read_data_folder(settings.child_environ)
    facts = {"folder": str(folder.path), "used_by": folder.history.value}
    if folder.history is History.UNKNOWN:
        advice = "an OpenCode 2 is started with --generation 2 only"
        return CheckResult("data", "warning", folder.problem, advice, facts)
    return CheckResult("data", "ok", MESSAGES[folder.history].format(path=folder.path), facts=facts)
