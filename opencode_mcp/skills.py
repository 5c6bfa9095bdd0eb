"""The skills for assistants: the files below plugin/skills, which are served, installed and part of the plugins as they
are. Their format is that of agentskills.io, with a frontmatter of plain text in one line for each key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "plugin" / "skills"
FILE_NAME = "SKILL.md"
SEPARATOR = "---\n"


@dataclass(frozen=True)
class Skill:
    """A skill, which is a single file; its name is that of the file's folder."""

    name: str
    text: str

    @property
    def uri(self) -> str:
        """The URI of the file for MCP clients."""
        return f"skill://{self.name}/{FILE_NAME}"

    @property
    def content(self) -> bytes:
        """The bytes of the file, with LF on every platform: clients compare their digest."""
        return self.text.encode()

    @property
    def digest(self) -> str:
        """The digest of the bytes, as MCP has it."""
        return f"sha256:{sha256(self.content).hexdigest()}"

    @cached_property
    def frontmatter(self) -> Mapping[str, str]:
        """The keys at the beginning of the file: name, description and license."""
        lines = self.text.split(SEPARATOR)[1].splitlines()
        return {key: value for key, _, value in (line.partition(": ") for line in lines)}


def read_skills() -> tuple[Skill, ...]:
    """Read every skill, by name."""
    return tuple(
        Skill(file.parent.name, file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob(f"*/{FILE_NAME}"))
    )
