"""The conformance suite of the protocol's authors: a run, and what it says of each scenario."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from .npm_programs import Programs

SUMMARY = re.compile(r"^[✓✗] (?P<name>\S+): (?P<passed>\d+) passed, (?P<failed>\d+) failed$", re.MULTILINE)
NOT_SCORED = re.compile(r"^  [✓✗] (?P<name>\S+) \((?P<reason>\S+)\)$", re.MULTILINE)
SAVED = re.compile(r"server-(?P<name>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True)
class ScenarioResult:
    """What the suite says of one scenario; `not_scored` is why it does not count, if it does not.

    A check is `untestable` where the server lacks what the suite needs for it; the suite counts it as failed.
    """

    name: str
    passed: int
    failed: tuple[str, ...]
    untestable: tuple[str, ...]
    warnings: tuple[str, ...]
    not_scored: str = ""

    @property
    def passes(self) -> bool:
        """Whether something was checked, all of it is as it should be, and nothing was left unchecked."""
        return self.passed > 0 and not self.problems and not self.untestable

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a SHOULD included."""
        return (*self.failed, *self.warnings)


async def run_suite(programs: Programs, url: str, revision: str, folder: Path) -> dict[str, ScenarioResult]:
    """Run what a revision of the protocol requires against a server; return the scenarios by name."""
    arguments = ("server", "--url", url, "--requirements", revision, "--output-dir", str(folder))
    done = await anyio.run_process(
        [*programs.command("conformance"), *arguments], env=programs.environ, cwd=folder, check=False
    )
    output = done.stdout.decode()
    reasons = {match["name"]: match["reason"] for match in NOT_SCORED.finditer(output)}
    checks = read_saved_checks(folder)
    scenarios: dict[str, ScenarioResult] = {}
    for match in SUMMARY.finditer(output):
        name = match["name"]
        result = make_result(name, checks[name], reasons.get(name, ""))
        # Ours and theirs are two readings of the same checks.
        assert (result.passed, len(result.failed) + len(result.untestable)) == (
            int(match["passed"]),
            int(match["failed"]),
        ), name
        scenarios[name] = result
    assert scenarios, output + done.stderr.decode()
    assert scenarios.keys() == checks.keys()
    return scenarios


async def run_scenario(programs: Programs, url: str, name: str, folder: Path) -> ScenarioResult:
    """Run one scenario against a server, of those that no revision of the protocol requires."""
    arguments = ("server", "--url", url, "--scenario", name, "--output-dir", str(folder))
    await anyio.run_process(
        [*programs.command("conformance"), *arguments], env=programs.environ, cwd=folder, check=False
    )
    return make_result(name, read_saved_checks(folder)[name], "")


def read_saved_checks(folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Return the checks of every scenario, as the suite saved them."""
    saved: dict[str, list[Mapping[str, Any]]] = {}
    for path in folder.glob("server-*/checks.json"):
        match = SAVED.fullmatch(path.parent.name)
        assert match is not None, path
        saved[match["name"]] = json.loads(path.read_text(encoding="utf-8"))
    return saved


def make_result(name: str, checks: Iterable[Mapping[str, Any]], not_scored: str) -> ScenarioResult:
    """Put together what was checked."""
    messages: dict[str, list[str]] = {"SUCCESS": [], "FAILURE": [], "WARNING": [], "untestable": []}
    for check in checks:
        details: Mapping[str, Any] = check.get("details") or {}
        kind = str(check["status"])
        if kind == "FAILURE" and details.get("untestable") is True:
            kind = "untestable"
        messages.setdefault(kind, []).append(f"{check['id']}: {check.get('errorMessage') or check['description']}")
    return ScenarioResult(
        name,
        len(messages["SUCCESS"]),
        tuple(messages["FAILURE"]),
        tuple(messages["untestable"]),
        tuple(messages["WARNING"]),
        not_scored,
    )
