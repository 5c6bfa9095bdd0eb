"""Completion scripts for bash, zsh and fish: the same rules in three languages.

A word is a command before there is one, then a word of that command's first argument; -… is a flag; after a flag that
takes a value, one of its values, or a file. Where nothing fits, the shell completes files.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

PROGRAM = "opencode-mcp"


@dataclass(frozen=True)
class Flag:
    """A flag; `values` are all that it takes, where they are known."""

    name: str
    help: str
    takes_value: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command; `words` are those of its first argument, where they are known."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]


BASH = """\
# Completion of opencode-mcp for bash; made by `opencode-mcp completion bash`.
_opencode_mcp() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command= word= words= flags= i
    COMPREPLY=()
    case $previous in
{values}
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
        {taking}) ((i++)) ;;
        -*) ;;
        *) if [[ -z $command ]]; then command=${{COMP_WORDS[i]}}; else word=${{COMP_WORDS[i]}}; fi ;;
        esac
    done
    case $command in
{commands}
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$current"))
    elif [[ -z $word ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}}
complete -o default -F _opencode_mcp opencode-mcp
"""

ZSH = """\
#compdef opencode-mcp
# Completion of opencode-mcp for zsh; made by `opencode-mcp completion zsh`.
_opencode_mcp() {{
    local command= word=
    local -a choices flags
    local i
    case ${{words[CURRENT-1]}} in
{values}
    esac
    for ((i = 2; i < CURRENT; i++)); do
        case ${{words[i]}} in
        {taking}) ((i++)) ;;
        -*) ;;
        *) if [[ -z $command ]]; then command=${{words[i]}}; else word=${{words[i]}}; fi ;;
        esac
    done
    case $command in
{commands}
    esac
    if [[ ${{words[CURRENT]}} == -* ]]; then
        _describe flag flags
    elif [[ -z $word && -n $choices ]]; then
        _describe word choices
    else
        _files
    fi
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _opencode_mcp "$@"
else
    compdef _opencode_mcp opencode-mcp
fi
"""

FISH = """\
# Completion of opencode-mcp for fish; made by `opencode-mcp completion fish`.
function __opencode_mcp_words --description 'the words of the line that are neither flags nor their values'
    set --local skip 0
    for word in (commandline --tokenize --cut-at-cursor --current-process)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word {taking}
            set skip 1
        else if not string match --quiet -- '-*' $word
            echo $word
        end
    end
end
function __opencode_mcp_after --description 'whether exactly these words are there'
    test "$(__opencode_mcp_words | string join ' ')" = "$argv"
end
function __opencode_mcp_command --description 'whether this is the command'
    set --local words (__opencode_mcp_words)
    test "$words[1]" = "$argv"
end
{lines}
"""


def bash(own: Sequence[Flag], commands: Sequence[Command]) -> str:
    """Return the script for bash."""

    def case(pattern: str, words: Iterable[str], flags: Sequence[Flag]) -> str:
        return f'    {pattern}) words="{" ".join(words)}" flags="{" ".join(flag.name for flag in flags)}" ;;'

    values = [
        f'    {flag.name}) COMPREPLY=($(compgen -W "{" ".join(flag.values)}" -- "$current")); return ;;'
        for flag in valued(own, commands)
    ]
    cases = [case("''", (one.name for one in commands), own)]
    cases += [case(one.name, one.words, one.flags) for one in commands]
    return BASH.format(values="\n".join(values), taking=pattern(own, commands), commands="\n".join(cases))


def zsh(own: Sequence[Flag], commands: Sequence[Command]) -> str:
    """Return the script for zsh."""

    def case(pattern: str, words: Iterable[str], flags: Sequence[Flag]) -> str:
        described = " ".join(entry(flag.name, flag.help) for flag in flags)
        return f"    {pattern}) choices=({' '.join(words)}); flags=({described}) ;;"

    values = [
        f"    {flag.name}) {'compadd -- ' + ' '.join(flag.values) if flag.values else '_files'}; return ;;"
        for flag in valued(own, commands)
    ]
    cases = [case("''", (entry(one.name, one.help) for one in commands), own)]
    cases += [case(one.name, one.words, one.flags) for one in commands]
    return ZSH.format(values="\n".join(values), taking=pattern(own, commands), commands="\n".join(cases))


def entry(name: str, does: str) -> str:
    """Return a word with its description, as `_describe` takes it."""
    return shlex.quote(f"{name}:{does}")


def fish(own: Sequence[Flag], commands: Sequence[Command]) -> str:
    """Return the script for fish."""

    def complete(condition: str, rest: str, does: str) -> str:
        return f"complete -c {PROGRAM} -n {quoted(condition)} {rest}" + (f" -d {quoted(does)}" if does else "")

    def long(flag: Flag) -> str:
        taken = f" -x -a {quoted(' '.join(flag.values))}" if flag.values else " -r" if flag.takes_value else ""
        return f"-l {flag.name.removeprefix('--')}{taken}"

    lines = [complete("__opencode_mcp_after", f"-f -a {one.name}", one.help) for one in commands]
    lines += [complete("__opencode_mcp_after", long(flag), flag.help) for flag in own]
    for one in commands:
        if one.words:
            lines.append(complete(f"__opencode_mcp_after {one.name}", f"-f -a {quoted(' '.join(one.words))}", ""))
        lines += [complete(f"__opencode_mcp_command {one.name}", long(flag), flag.help) for flag in one.flags]
    taking = " ".join(flag.name for flag in valued(own, commands))
    return FISH.format(lines="\n".join(lines), taking=taking)


def quoted(text: str) -> str:
    """Quote a text for fish, in which a backslash means something between single quotes too."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def valued(own: Sequence[Flag], commands: Sequence[Command]) -> list[Flag]:
    """Return the flags that take a value wherever they are, each once."""
    everywhere = [*own, *(flag for one in commands for flag in one.flags)]
    switches = {flag.name for flag in everywhere if not flag.takes_value}
    return list({flag.name: flag for flag in everywhere if flag.name not in switches}.values())


def pattern(own: Sequence[Flag], commands: Sequence[Command]) -> str:
    """Return the flags that take a value as a pattern of `case`."""
    return "|".join(flag.name for flag in valued(own, commands))


SHELLS: Mapping[str, Callable[[Sequence[Flag], Sequence[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
