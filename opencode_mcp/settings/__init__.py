"""The settings: what a user can choose, typed and parsed once.

settings.py       `Settings`: the loading of the values, and what follows from them
options.py        the declaration of every setting
setting.py        what a declaration has: flag, variable, help, default
config_file.py    the configuration files of the user and of the project
parsing.py        from text to typed values
validation.py     checks between settings
plugin_folder.py  the folder of a plugin that starts this server, which is not a project
child_environ.py  the environment of an OpenCode that this process starts
"""

from .options import (
    DEFAULT_USERNAME,
    PASSWORD_2_VARIABLE,
    PASSWORD_VARIABLE,
    SETTINGS,
    USERNAME_VARIABLE,
)
from .parsing import NamedServer, without_password
from .setting import Setting
from .settings import DEPTH_VARIABLE, Settings

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
