"""Configuration folders on Linux, macOS and Windows, computed without file system access."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath


@dataclass(frozen=True, slots=True)
class Machine:
    """A home folder, an environment, and a platform by its name in `sys.platform`."""

    home: PurePath
    environ: Mapping[str, str]
    platform: str

    @classmethod
    def current(cls, environ: Mapping[str, str]) -> Machine:
        """Return the machine that this runs on, with the home folder that an environment names."""
        # A POSIX shell on Windows sets HOME to a folder that the clients do not use.
        home = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
        return cls(Path(home) if home else Path.home(), environ, sys.platform)

    def folder(self, variable: str, default: PurePath) -> PurePath:
        """Return the folder that a variable of the environment names, if it is set."""
        value = self.environ.get(variable)
        return type(self.home)(value) if value else default

    @property
    def xdg(self) -> PurePath:
        """The folder of programs that follow XDG on every platform."""
        return self.folder("XDG_CONFIG_HOME", self.home / ".config")

    @property
    def applications(self) -> PurePath:
        """The folder for settings of desktop applications."""
        if self.platform == "win32":
            return self.folder("APPDATA", self.home / "AppData" / "Roaming")
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self.xdg

    @property
    def zed(self) -> PurePath:
        """Zed's folder, which differs from that of other desktop applications."""
        if self.platform == "win32":
            return self.applications / "Zed"
        return (self.home / ".config" if self.platform == "darwin" else self.xdg) / "zed"
