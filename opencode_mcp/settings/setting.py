"""The declaration of one setting, from which flags, completion, documentation and clients' entries are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A setting: its value is that of its flag, else of its environment variable, else of a file, else its default.

    `name` is its attribute of `Settings`. `parse` turns a text into the typed value, and `format` a value into such a
    text. With a `separator` the flag can be repeated, and the variable holds all values, separated by it. Only
    `commands` have the setting; if empty, all have it. The file of a project sets it only with `in_project_file`.
    """

    name: str
    default: Any
    variable: str
    help: str
    parse: Callable[[str], Any] = str
    format: Callable[[Any], str] = str
    has_flag: bool = True
    is_secret: bool = False
    separator: str = ""
    choices: Sequence[str] = ()
    commands: Sequence[str] = ()
    in_project_file: bool = False

    @property
    def flag(self) -> str:
        """The flag, or "" when only the variable sets it."""
        return f"--{self.name.replace('_', '-')}" if self.has_flag else ""

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return isinstance(self.default, bool)

    def applies_to(self, command: str | None) -> bool:
        """Whether a command has this setting; without a command, whether all have it."""
        return not self.commands or command in self.commands

    @property
    def key(self) -> str:
        """The name in a configuration file, "" when no file sets it: that of the flag, unless it holds a secret."""
        return "" if self.is_secret else self.flag.removeprefix("--")

    def find_text(
        self,
        flags: Mapping[str, Any],
        environ: Mapping[str, str],
        files: Mapping[str, Mapping[str, str]],
        command: str | None,
    ) -> tuple[str, str]:
        """Return the given text, and the variable or file that it comes from: "" for a flag. Both are "" if none is.

        `files` has the texts of each file by the names of the settings, the file that decides first.
        An empty value and an unexpanded `${user_config.…}` of a bundle's manifest count as not given.
        """
        flag: str | list[str] | None = flags.get(self.name)
        found = [(self.separator.join(flag) if isinstance(flag, list) else flag or "", "")]
        if self.applies_to(command):
            found.append((environ.get(self.variable, ""), self.variable))
            found += [(texts.get(self.name, ""), path) for path, texts in files.items()]
        return next(((text, source) for text, source in found if is_value(text)), ("", ""))


def is_value(text: str) -> bool:
    """Whether a text is a value of a setting."""
    return text != "" and not text.startswith("${user_config.")


def option(default: Any, variable: str, help: str, **more: Any) -> Any:
    """Declare a field of `Settings` with the rest of its `Setting`. A secret is left out of `repr`."""
    is_secret: bool = more.get("is_secret", False)
    return field(default=default, repr=not is_secret, metadata={"variable": variable, "help": help, **more})
