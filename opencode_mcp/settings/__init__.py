"""SETTINGS: what a user can choose, typed and parsed once.

settings.py       the value, with the declaration of every setting, and how it is loaded
setting.py        how one setting is given: flag, variable, help, default
parsing.py        from text to typed values
validation.py     checks between settings
child_environ.py  the environment of an OpenCode that this process starts
"""

from .parsing import NamedServer, without_password
from .setting import Setting
from .settings import DEPTH_VARIABLE, PASSWORD_VARIABLE, SETTINGS, USERNAME, USERNAME_VARIABLE, Settings

__all__ = [
    "DEPTH_VARIABLE",
    "PASSWORD_VARIABLE",
    "SETTINGS",
    "USERNAME",
    "USERNAME_VARIABLE",
    "NamedServer",
    "Setting",
    "Settings",
    "without_password",
]
