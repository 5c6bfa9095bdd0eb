"""The parser of the command line: an error is one line with the nearest names, then where the help is."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from opencode_mcp.suggestions import did_you_mean

MISSING = "the following arguments are required: "
"""How argparse begins that error."""
MAX_NAMES = 3


class UsageParser(argparse.ArgumentParser):
    """A parser whose errors begin with the line that matters. Flags cannot be abbreviated."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, allow_abbrev=False)

    def set_usage(self) -> None:
        """Leave the options out of the usage line, as the settings alone fill a screen."""
        words = [
            f"[{name} ...]" if action.nargs == "*" else f"[{name}]" if action.nargs == "?" else name
            for action in self._actions
            if not action.option_strings and (name := str(action.metavar or action.dest))
        ]
        self.usage = " ".join(["%(prog)s [options]", *words])

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        if message.startswith(MISSING):
            names = message.removeprefix(MISSING).split(", ")
            missing = [action for action in self._actions if action.metavar in names or action.dest in names]
            message = "missing " + "; ".join(f"{action.metavar or action.dest}: {action.help}" for action in missing)
        self.exit(2, f"opencode-mcp: {message.removeprefix('argument ')}\n`{self.prog} --help` shows the usage\n")

    def parse_all(self, arguments: Sequence[str], namespace: argparse.Namespace) -> None:
        """Parse every argument into `namespace`; flags may stand between positional arguments."""
        _, unknown = self.parse_known_intermixed_args(arguments, namespace)
        if unknown:
            self.error(self.describe_unexpected(unknown[0]))

    def describe_unexpected(self, argument: str) -> str:
        """Return what to say of an argument that the parser does not have."""
        if not argument.startswith("-"):
            return f"unexpected argument {argument!r}"
        name = argument.partition("=")[0]
        return describe_unknown(f"unknown option {name}", name, self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Check a choice. argparse has no public way to word this error."""
        if action.choices is not None and value not in action.choices:
            flag = action.option_strings[-1:]
            subject = f"{flag[0]}: no value" if flag else f"no {str(action.metavar or action.dest).lower()}"
            raise argparse.ArgumentError(None, describe_choice(subject, str(value), action.choices))


def describe_choice(subject: str, value: str, choices: Iterable[Any]) -> str:
    """Return what to say of a value that is none of the choices; all of them where none is similar."""
    names = [*map(str, choices)]
    return describe_unknown(f"{subject} {value!r}", value, names, f"possible: {', '.join(names)}")


def describe_unknown(problem: str, name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the problem with an unknown name, and the nearest known ones, else what to do `otherwise`."""
    return "; ".join(text for text in (problem, did_you_mean(name, known, MAX_NAMES) or otherwise) if text)
