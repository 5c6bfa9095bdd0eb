"""Where the clients look for skills, and the changes that put the files of this package there and remove them.

From the clients' documentation in November 2026: code.claude.com/docs/en/skills, cursor.com/docs/skills,
code.visualstudio.com/docs/agent-customization/agent-skills, developers.openai.com/codex/skills, zed.dev/docs/ai/skills,
geminicli.com/docs/cli/using-agent-skills, docs.windsurf.com/windsurf/cascade/skills, opencode.ai/v1/docs/skills,
qwenlm.github.io/qwen-code-docs/en/users/features/skills, docs.cline.bot/customization/skills, kiro.dev/docs/skills.
Continue's are those that its CLI 1.5.47 reads, Kilo's those that its CLI 7.7.9 does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath

from opencode_mcp.skills import FILE_NAME, read_skills

from .client import Machine
from .edit import BACKUP_SUFFIX, Change, read_content


@dataclass(frozen=True, slots=True)
class SkillFolder:
    """A client's folder for the user's skills, and the one below a project. Other clients read shared ones too."""

    user: Callable[[Machine], PurePath]
    project: str
    is_shared: bool = False


AGENTS = SkillFolder(lambda machine: machine.home / ".agents" / "skills", ".agents/skills", is_shared=True)
"""The folder that clients have in common; those that have one of their own read it as well."""

COPILOT = SkillFolder(lambda machine: machine.home / ".copilot" / "skills", ".github/skills", is_shared=True)
"""The folder of GitHub Copilot, in VS Code and in its CLI."""

SKILL_FOLDERS: Mapping[str, SkillFolder] = {
    "claude-code": SkillFolder(
        lambda machine: machine.folder("CLAUDE_CONFIG_DIR", machine.home / ".claude") / "skills", ".claude/skills"
    ),
    "cursor": SkillFolder(lambda machine: machine.home / ".cursor" / "skills", ".cursor/skills"),
    "vscode": COPILOT,
    "codex": AGENTS,
    "gemini": SkillFolder(lambda machine: machine.home / ".gemini" / "skills", ".gemini/skills"),
    "windsurf": SkillFolder(lambda machine: machine.home / ".codeium" / "windsurf" / "skills", ".windsurf/skills"),
    "zed": AGENTS,
    "opencode": SkillFolder(lambda machine: machine.xdg / "opencode" / "skills", ".opencode/skills"),
    "copilot": COPILOT,
    "qwen": SkillFolder(lambda machine: machine.home / ".qwen" / "skills", ".qwen/skills"),
    "cline": SkillFolder(lambda machine: machine.home / ".cline" / "skills", ".cline/skills"),
    "continue": SkillFolder(
        lambda machine: machine.folder("CONTINUE_GLOBAL_DIR", machine.home / ".continue") / "skills", ".continue/skills"
    ),
    "kilo": SkillFolder(lambda machine: machine.home / ".config" / "kilo" / "skills", ".kilo/skills"),
    "kiro": SkillFolder(lambda machine: machine.home / ".kiro" / "skills", ".kiro/skills"),
}
"""By the name of the client; the others have no folder that is documented."""


def plan_skills(folder: Path) -> Iterator[Change]:
    """Plan the installation of every skill below a folder; a file with another content is backed up.

    Raises:
        SettingsError: a file cannot be read.
    """
    for skill in read_skills():
        file = folder / skill.name / FILE_NAME
        before = read_content(file)
        replaces = before is not None and before != skill.content
        yield Change(file, before, skill.content, free_backup(file), makes_backup=replaces, replaces=replaces)


def plan_skill_removal(folder: Path) -> Iterator[Change]:
    """Plan the removal of every skill below a folder; a file with another content stays.

    Raises:
        SettingsError: a file cannot be read.
    """
    for skill in read_skills():
        file = folder / skill.name / FILE_NAME
        before = read_content(file)
        yield Change(file, before, None if before == skill.content else before, free_backup(file))


def free_backup(file: Path) -> Path:
    """Return the first name for a backup that no file has: an older backup may be all that is left of an edit."""
    names = (file.name + BACKUP_SUFFIX + (f".{number}" if number > 1 else "") for number in count(1))
    return next(path for path in map(file.with_name, names) if not path.exists())
