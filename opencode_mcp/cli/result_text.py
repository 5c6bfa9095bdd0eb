"""A tool's result for people: a task's report, a transcript, a table, a text, or else JSON.

Its source is the redacted result, as an MCP client receives it. A report ends with the command to type next.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from opencode_mcp.redaction import to_one_line
from opencode_mcp.tasks import TASK_TOOLS
from opencode_mcp.tasks.comparison import CollectResult
from opencode_mcp.tasks.list_tasks import TaskList
from opencode_mcp.tasks.report import NO_ACTIVITY, TaskReport
from opencode_mcp.tasks.task_tools import TaskReports, WaitedTasks
from opencode_mcp.tasks.transcript import Transcript

from .output import printable, printable_text

Facts = Mapping[str, Any]

STATE_STYLES = {
    "completed": "bold green",
    "check_failed": "bold red",
    "failed": "bold red",
    "stopped": "bold yellow",
}
OPEN_STYLE = "bold yellow"
"""The style of a state in which a task is not over."""
MAX_PATHS = 20
CELL_CHARS = 60
FIRST_COLUMNS = ("id", "name", "title", "path", "file", "status", "type", "description")
"""Columns that a table shows first, where its items have them."""


@dataclass(frozen=True)
class Shell:
    """How to type a command that continues this one: `program` is the words up to the tool, with the same settings.

    `opencode_stays`: OpenCode goes on after this command, as a shared one does while a reported task runs; else it
    stops with it, and nothing waits or runs any more.
    """

    program: Sequence[str]
    opencode_stays: bool
    width: int

    def command(self, tool: str, arguments: Facts) -> str:
        """Return the command that makes a call."""
        pairs = [f"{name}={shlex.quote(argument_text(value))}" for name, value in arguments.items()]
        return printable(" ".join([shlex.join([*self.program, tool]), *pairs]))


def argument_text(value: Any) -> str:
    """Return a value as `call` reads it."""
    if isinstance(value, str):
        return f"@{value}" if value.startswith("@") else value
    return json.dumps(value, ensure_ascii=False)


def format_result(tool: str, facts: Facts, shell: Shell) -> list[RenderableType] | None:
    """Return the texts and tables that show a result, a long text as a `str`; None if JSON shows it best."""
    output = TASK_TOOLS[tool].output if tool in TASK_TOOLS else None
    if output in FORMATS:
        return [*FORMATS[output](facts, shell), *format_remarks(facts)]
    response = {name: value for name, value in facts.items() if not name.startswith("_")}
    lines = format_response(response, shell.width)
    return None if lines is None else [*lines, *format_remarks(facts)]


def format_remarks(facts: Facts) -> Iterator[RenderableType]:
    """Yield what this server adds to a result: notes, what was redacted or omitted."""
    for name, value in facts.items():
        if name.startswith("_"):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield line(name.removeprefix("_"), to_one_line(text), "dim")


def format_report(report: Facts, shell: Shell) -> Iterator[RenderableType]:
    """Yield the report of a task: state, answer, what it waits for, changes, and the next command."""
    state = str(report.get("state"))
    yield Text.assemble((state, STATE_STYLES.get(state, OPEN_STYLE)), (f"  {format_usage(report)}", "dim"))
    for name, style in (("error", "red"), ("answer", ""), ("answer_so_far", "dim")):
        if text := report.get(name):
            yield Text(f"\n{printable_text(text)}\n", style)
    if "structured" in report:
        yield Text(f"\n{printable_text(json.dumps(report['structured'], ensure_ascii=False, indent=2))}\n")
    yield from format_files(report.get("changes") or {})
    yield from format_check(report.get("check") or {})
    for call in items_of(report, "failed_calls"):
        yield line("failed call", call, "red")
    if report.get("activity", NO_ACTIVITY) != NO_ACTIVITY:
        yield line("now", report["activity"])
    for request in items_of(report, "pending"):
        yield from format_request(request)
    if note := report.get("note"):
        yield line("note", note)
    yield line("session", f"{report.get('session_id')} in {report.get('directory')}")
    for call in next_commands(report, shell):
        yield Text.assemble(("next        ", "bold"), call)


def format_check(check: Facts) -> Iterator[RenderableType]:
    """Yield how a check ended, with its output if it failed; nothing for a task without any."""
    if check:
        yield line("check", f"{'passed' if check.get('passed') else 'failed'}: {check.get('command')}")
    if not check.get("passed") and (output := check.get("output")):
        yield Text(f"\n{printable_text(output)}\n", "dim")


def format_request(request: Facts) -> Iterator[RenderableType]:
    """Yield what a task waits for, and the possible answers."""
    yield line("waits for", request.get("wants", ""), OPEN_STYLE)
    choices: Facts = request.get("choices") or {}
    for values in choices.values():
        yield Text("  " + to_line(values if isinstance(values, str) else ", ".join(values)))
    if always := items_of(request, "always"):
        yield Text(f"  always allows {to_line(', '.join(always))}", "dim")
    for question in items_of(request, "questions"):
        yield Text(f"  {to_line(question.get('question', ''))}", "bold")
        for option in items_of(question, "options"):
            yield Text.assemble(
                f"    {to_line(option.get('label', ''))}", (f"  {to_line(option.get('description', ''))}", "dim")
            )


def next_commands(report: Facts, shell: Shell) -> Iterator[str]:
    """Yield what can be typed next: the call that the report names, else one that continues the session.

    A failed or stopped task without such a call was not started, so its session does not exist any more.
    """
    is_over = report.get("state") in STATE_STYLES
    if is_over or shell.opencode_stays:
        requests = items_of(report, "pending")
        calls = [
            (request["answer_with"], dict.fromkeys(request["choices"], "…"))
            for request in requests
            if "answer_with" in request and "choices" in request  # of a truncated report they may be missing
        ]
        calls += [(report["next"], {})] if report.get("next") else []
        yield from (shell.command(call["tool"], call["arguments"] | more) for call, more in calls)
        if calls or (is_over and report.get("state") != "completed"):
            return
    yield shell.command("run_task", {"session_id": report.get("session_id"), "prompt": "…"})


def format_usage(report: Facts) -> str:
    """Return time, tokens, cost and model in one line."""
    seconds, tokens, cost = report.get("elapsed_seconds"), report.get("tokens"), report.get("cost")
    parts = [
        f"{seconds:.1f} s" if seconds else "",
        f"{tokens:,} tokens" if tokens else "",
        f"${cost:.2f}" if cost else "",
        to_line(report.get("model") or ""),
    ]
    return ", ".join(part for part in parts if part)


def format_files(changes: Facts) -> Iterator[RenderableType]:
    """Yield what a turn changed; nothing for no change."""
    paths = items_of(changes, "paths")
    if unknown := changes.get("unknown"):
        yield line("changes", unknown)
    elif paths:
        yield line("changes", format_sum(len(paths), changes))
    yield from (Text(f"  {to_line(path)}") for path in paths[:MAX_PATHS])
    if len(paths) > MAX_PATHS:
        yield Text(f"  and {len(paths) - MAX_PATHS} more", "dim")


def format_sum(count: int, changes: Facts) -> str:
    """Return the number of files and lines."""
    files = f"{count} file{'s' * (count != 1)}"
    return f"{files}, +{changes.get('additions') or 0} -{changes.get('deletions') or 0}"


def format_reports(reports: Facts, shell: Shell) -> Iterator[RenderableType]:
    """Yield each report, with an empty line between two."""
    for number, report in enumerate(items_of(reports, "tasks")):
        if number:
            yield Text("")
        yield from format_report(report, shell)
    for session_id, error in cast("Facts", reports.get("errors") or {}).items():
        yield line(session_id, error, "red")


def format_tasks(tasks: Facts, shell: Shell) -> Iterator[RenderableType]:
    """Yield each task of a list: its state, title, what it waits for or does, and its session."""
    for row in items_of(tasks, "tasks"):
        state = str(row.get("state"))
        yield Text.assemble((state, STATE_STYLES.get(state, OPEN_STYLE)), (f"  {format_usage(row)}", "dim"))
        yield Text(f"  {to_line(row.get('title', ''))}")
        for request in items_of(row, "pending"):
            yield from format_request(request)
        for name, style in (("activity", ""), ("error", "red"), ("note", "")):
            if text := row.get(name):
                yield line(name, text, style)
        yield line("session", f"{row.get('session_id')} in {row.get('directory')}")
    yield Text(f"{len(items_of(tasks, 'tasks'))} of {tasks.get('total')} tasks in {tasks.get('project')}", "dim")
    for problem in items_of(tasks, "problems"):
        yield line("problem", problem, "red")


def format_collected(collected: Facts, shell: Shell) -> Iterator[RenderableType]:
    """Yield what one session changed, or each of several, with the commands to type next."""
    if "answers" not in collected:
        yield from format_changes(collected)
    for number, answer in enumerate(items_of(collected, "answers")):
        if number:
            yield Text("")
        yield from format_answer(answer, shell)
    if differing := items_of(collected, "differing_files"):
        yield Text("")
        yield line("different", ", ".join(differing))
    if following := collected.get("next"):
        yield Text.assemble(("next        ", "bold"), shell.command(following["tool"], following["arguments"]))


def format_answer(answer: Facts, shell: Shell) -> Iterator[RenderableType]:
    """Yield one of several answers: its state, its check, and what it changed."""
    state = to_line(answer.get("state") or ("discarded" if answer.get("discarded") else "unknown"))
    yield Text.assemble((state, STATE_STYLES.get(state, OPEN_STYLE)), (f"  {format_usage(answer)}", "dim"))
    yield line("session", str(answer.get("session_id")))
    for name, style in (("error", "red"), ("unknown", "red")):
        if text := answer.get(name):
            yield line(name, text, style)
    yield from format_check(answer.get("check") or {})
    if "files" in answer:
        yield from format_changes(answer)
    elif note := answer.get("note"):
        yield line("note", note)
    if call := answer.get("apply_with"):
        yield Text.assemble(("apply       ", "bold"), shell.command(call["tool"], call["arguments"]))


def format_changes(changes: Facts) -> Iterator[RenderableType]:
    """Yield collected changes: their sum, the files or the patch, and what became of them."""
    files = items_of(changes, "files")
    yield Text(format_sum(len(files), changes), "bold")
    patch = changes.get("patch")
    if patch:
        yield printable_text(patch)
    else:
        yield from (
            Text(f"  {to_line(file['status']):9}{to_line(file['path'])}  +{file['additions']} -{file['deletions']}")
            for file in files
        )
    if applied_to := changes.get("applied_to"):
        yield line("applied to", applied_to, "green")
    if missing := items_of(changes, "missing"):
        more = f" and {len(missing) - MAX_PATHS} more" if len(missing) > MAX_PATHS else ""
        yield line("lost" if changes.get("discarded") else "not applied", ", ".join(missing[:MAX_PATHS]) + more)
    if changes.get("discarded"):
        yield line("worktree", "discarded")
    if note := changes.get("note"):
        yield line("note", note)


def format_transcript(transcript: Facts, shell: Shell) -> Iterator[RenderableType]:
    """Yield a page of a conversation, and the command for the page before it."""
    yield printable_text(transcript.get("text") or "no messages")
    if before := transcript.get("earlier"):
        call = shell.command("read_transcript", {"session_id": transcript.get("session_id"), "before": before})
        yield Text.assemble(("\nearlier     ", "bold"), call)


FORMATS: Mapping[Any, Callable[[Facts, Shell], Iterable[RenderableType]]] = {
    TaskReport: format_report,
    TaskReports: format_reports,
    WaitedTasks: format_reports,
    TaskList: format_tasks,
    CollectResult: format_collected,
    Transcript: format_transcript,
}
"""What shows a result, by its model."""


def format_response(facts: Facts, width: int) -> list[RenderableType] | None:
    """Return the response of an operation as text or as a table; None for an object, which stays JSON."""
    if facts.get("type") == "text" and isinstance(facts.get("content"), str):
        return [printable_text(facts["content"])]
    if [*facts] != ["result"]:
        return None
    value: Any = facts["result"]
    if isinstance(value, str):
        return [printable_text(value)]
    if value == []:
        return [Text("none", "dim")]
    items = cast("list[Any]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, dict) for item in items):
        return make_table(items, width)
    if items and all(isinstance(item, str) for item in items):
        return ["\n".join(map(to_line, items))]
    return None


def make_table(items: Sequence[Facts], width: int) -> list[RenderableType]:
    """Return a table with a line for each item, and as many of its plain fields as the width takes."""
    items = [{name: unwrap(value) for name, value in item.items()} for item in items]
    names = list(dict.fromkeys(name for item in items for name in item))
    plain = [name for name in names if all(is_plain(item.get(name)) for item in items)]
    ranked = [
        *(name for name in FIRST_COLUMNS if name in plain),
        *(name for name in plain if name not in FIRST_COLUMNS),
    ]
    if not ranked:
        return [Text("\n".join(to_line(json.dumps(item, ensure_ascii=False)) for item in items))]
    table, room, shown = Table(box=None, pad_edge=False), width, 0
    cells = {name: [cell_text(item.get(name)) for item in items] for name in ranked}
    for name in ranked:
        room -= max(map(cell_len, (to_line(name), *cells[name]))) + 2
        if shown and room < 0:
            break
        table.add_column(Text(to_line(name)), overflow="fold")
        shown += 1
    for row in zip(*(cells[name] for name in ranked[:shown]), strict=True):
        table.add_row(*map(Text, row))
    hint = [Text("--json shows every field", "dim")] if shown < len(names) else []
    return [table, *hint]


def unwrap(value: Any) -> Any:
    """Return the only field of an object, such as the text of `{"text": …}`; any other value as it is."""
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return next(iter(fields.values())) if len(fields) == 1 else cast("Any", value)


def is_plain(value: Any) -> bool:
    """Whether a value fits into a cell."""
    return not isinstance(value, (dict, list))


def cell_text(value: Any) -> str:
    """Return a value as the text of a cell."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return printable(to_one_line(text, CELL_CHARS))


def items_of(facts: Facts, name: str) -> list[Any]:
    """Return a list of a result, which leaves out empty ones."""
    return facts.get(name) or []


def line(label: str, text: str, style: str = "") -> Text:
    """Return a line with a label."""
    return Text.assemble((f"{to_line(label):12}", "bold"), (to_line(text), style))


def to_line(text: str) -> str:
    """Return a text on one line, in which nothing is hidden."""
    return printable(" ".join(text.split()))
