"""The settings: what a user can choose, typed and parsed once.

settings.py       `Settings`: the declaration of every setting, and the loading of their values
setting.py        the declaration of one setting: flag, variable, help, default
parsing.py        from text to typed values
validation.py     checks between settings
child_environ.py  the environment of an OpenCode that this process starts
"""

from .parsing import NamedServer, without_password
from .setting import Setting
from .settings import (
    DEFAULT_USERNAME,
    DEPTH_VARIABLE,
    PASSWORD_2_VARIABLE,
    PASSWORD_VARIABLE,
    SETTINGS,
    USERNAME_VARIABLE,
    Settings,
)

__all__ = [
    "DEFAULT_USERNAME",
    "DEPTH_VARIABLE",
    "PASSWORD_2_VARIABLE",
    "PASSWORD_VARIABLE",
    "SETTINGS",
    "USERNAME_VARIABLE",
    "NamedServer",
    "Setting",
    "Settings",
    "without_password",
]
