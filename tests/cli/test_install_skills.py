"""`install --skill` and `uninstall`: the files of the skills, for every client with a folder for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencode_mcp.cli.clients import CLIENTS
from opencode_mcp.skills import read_skills

from .fresh_machine import PROJECT_FILES, USER_FILES, FreshMachine

FOLDERS = {
    "claude-code": (".claude/skills", ".claude/skills"),
    "cursor": (".cursor/skills", ".cursor/skills"),
    "vscode": (".copilot/skills", ".github/skills"),
    "codex": (".agents/skills", ".agents/skills"),
    "gemini": (".gemini/skills", ".gemini/skills"),
    "windsurf": (".codeium/windsurf/skills", ""),
    "zed": (".agents/skills", ".agents/skills"),
    "opencode": (".config/opencode/skills", ".opencode/skills"),
    "copilot": (".copilot/skills", ".github/skills"),
    "qwen": (".qwen/skills", ".qwen/skills"),
    "cline": (".cline/skills", ""),
    "continue": (".continue/skills", ".continue/skills"),
    "kilo": (".config/kilo/skills", ".kilo/skills"),
    "kiro": (".kiro/skills", ".kiro/skills"),
}
SHARED = ("vscode", "codex", "zed", "copilot")
SKILLS = {f"{skill.name}/SKILL.md": skill.content for skill in read_skills()}
CASES = [(name, scope) for name, folders in FOLDERS.items() for scope in ("user", "project")[: 1 + bool(folders[1])]]
EDITED = b"---\nname: opencode-api\ndescription: mine\n---\n"


def folder_of(machine: FreshMachine, name: str, scope: str) -> Path:
    """Return the folder in which a client looks."""
    user, project = FOLDERS[name]
    return machine.home / user if scope == "user" else machine.project / project


def skill_files(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder with its bytes."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def scope_flags(scope: str) -> list[str]:
    """Return the flags that select a scope."""
    return ["--project"] if scope == "project" else []


@pytest.mark.parametrize(("name", "scope"), CASES)
def test_the_skills_are_installed_and_removed(machine: FreshMachine, name: str, scope: str) -> None:
    """With the entry; a second time nothing changes; no file is left, and no folder."""
    folder = folder_of(machine, name, scope)
    flags = scope_flags(scope)
    assert str(folder) in machine.run("install", name, "--skill", *flags)
    assert skill_files(folder) == SKILLS
    assert (machine.home / USER_FILES[name] if scope == "user" else machine.project / PROJECT_FILES[name]).exists()
    before = machine.files()
    assert f"already in {folder}" in machine.run("install", name, "--skill", *flags)
    assert machine.files() == before

    machine.run("uninstall", name, "--skill", *flags)
    assert machine.paths() == set()


@pytest.mark.parametrize("name", FOLDERS)
def test_uninstall_leaves_the_skills_of_other_clients(machine: FreshMachine, name: str) -> None:
    """A folder that several clients read keeps them until they are named; a client's own folder does not."""
    machine.run("install", name, "--skill")
    said = machine.run("uninstall", name)

    assert ("--skill removes them" in said) == (name in SHARED)
    assert skill_files(folder_of(machine, name, "user")) == (SKILLS if name in SHARED else {})


def test_an_edited_skill_is_backed_up_and_not_removed(machine: FreshMachine) -> None:
    """Whatever is edited when, no version is lost."""
    file = folder_of(machine, "gemini", "user") / "opencode-api" / "SKILL.md"
    for number, content in enumerate((EDITED, EDITED + b"again\n")):
        machine.run("install", "gemini", "--skill")
        file.write_bytes(content)
        said = machine.run("install", "gemini", "--skill")
        backup = file.with_name("SKILL.md.bak-opencode-mcp" + ("", ".2")[number])
        assert str(backup) in said
        assert (file.read_bytes(), backup.read_bytes()) == (SKILLS["opencode-api/SKILL.md"], content)

    file.write_bytes(EDITED)
    assert f"skill kept, as its content is not that of this version: {file}" in machine.run("uninstall", "gemini")
    assert sorted(skill_files(file.parent)) == ["SKILL.md", "SKILL.md.bak-opencode-mcp", "SKILL.md.bak-opencode-mcp.2"]


def test_a_dry_run_writes_no_skill(machine: FreshMachine) -> None:
    """It shows every file, for both commands; --print shows the entry only."""
    said = machine.run("install", "codex", "--skill", "--dry-run")
    assert [line for line in said.splitlines() if line.startswith("+name: ")] == [
        f"+name: {skill.name}" for skill in read_skills()
    ]
    machine.run("install", "codex", "--skill", "--print")
    assert machine.files() == {}

    machine.run("install", "codex", "--skill")
    installed = machine.files()
    assert "-name: opencode-api" in machine.run("uninstall", "codex", "--skill", "--dry-run")
    assert machine.files() == installed


def test_the_folder_of_claude_code_follows_its_variable(
    machine: FreshMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its settings do."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "config"))
    machine.run("install", "claude-code", "--skill")

    assert skill_files(tmp_path / "config" / "skills") == SKILLS
    machine.run("uninstall", "claude-code")
    assert [*(tmp_path / "config").rglob("*")] == [tmp_path / "config" / "skills"]


@pytest.mark.parametrize("name", sorted({*CLIENTS} - {*FOLDERS}))
def test_a_client_without_a_folder_is_refused(machine: FreshMachine, name: str) -> None:
    """Before anything is written; without the flag it is installed and uninstalled as ever."""
    assert "documents no folder for skills" in machine.run("install", name, "--skill", code=2)
    assert machine.files() == {}
    machine.run("install", name)
    machine.run("uninstall", name)
    assert machine.files() == {}
