"""list_tasks: what is read of OpenCode for a row, what is remembered, and which sessions are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import anyio
import pytest

from opencode_mcp.exceptions import APIError, RequestTimeout, TransportError
from opencode_mcp.opencode import ServerPool
from opencode_mcp.opencode.endpoint import ignore_progress
from opencode_mcp.opencode.models import Session, parse_model
from opencode_mcp.tasks import list_tasks as listing
from opencode_mcp.tasks.context import Context
from opencode_mcp.tasks.family import group_families, runs_commands
from opencode_mcp.tasks.list_tasks import ListTasks, TaskList, list_tasks
from opencode_mcp.tasks.pending_starts import PendingStart
from tests.eventually import eventually

from .test_race_conditions import FakeOpenCode, make_context

pytestmark = pytest.mark.anyio

PLAIN: dict[str, Any] = {}


def session(number: int, parent: int | None = None, **facts: Any) -> dict[str, Any]:
    """Return a session, created and changed at its number in seconds."""
    times = {"created": number * 1000, "updated": facts.pop("updated", number) * 1000}
    below = {} if parent is None else {"parentID": f"ses_{parent}"}
    tokens = {"input": 1, "output": 1, "reasoning": 0}
    common = {"title": f"task {number}", "directory": "/project", "cost": 0.5, "tokens": tokens}
    return {"id": f"ses_{number}", "time": times, **common, **below, **facts}


def turn(prompt_id: str = "msg_1", **reply: Any) -> list[dict[str, Any]]:
    """Return a turn of 3 s that has ended."""
    info = {"id": f"{prompt_id}2", "role": "assistant", "parentID": prompt_id, "finish": "stop", "agent": "plan"}
    info |= {"providerID": "a", "modelID": "x", "time": {"created": 2000, "completed": 4000}, **reply}
    return [{"info": {"id": prompt_id, "role": "user", "time": {"created": 1000}}}, {"info": info, "parts": []}]


@dataclass
class ListedOpenCode(FakeOpenCode):
    """An OpenCode with many sessions. `turns` are the messages by session; the others have had a turn that ended."""

    sessions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    turns: dict[str, Any] = field(default_factory=dict[str, Any])
    requests: list[Any] = field(default_factory=list[Any])

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        if name == "session_message":
            messages = self.turns.get(arguments["sessionID"], turn())
            self.messages = [message for message in messages if message["info"]["id"] == arguments["messageID"]]
        answer = await super().call(name, **arguments)
        match name:
            case "session_list":
                return self.sessions[: arguments["limit"]]
            case "session_children":
                return [child for child in self.sessions if child.get("parentID") == arguments["sessionID"]]
            case "permission_list":
                return self.requests
            case "session_messages":
                found = self.turns.get(arguments["sessionID"], turn())
                if isinstance(found, Exception):
                    raise found
                return found[-arguments["limit"] :]
            case _:
                return answer

    def count(self) -> int:
        """Return how many requests came since the last count."""
        number = len(self.calls)
        self.calls.clear()
        return number


async def call(context: Context, **arguments: Any) -> TaskList:
    """Call the tool."""
    return await list_tasks(context, ListTasks.model_validate(arguments))


def ids(tasks: TaskList) -> list[int]:
    """Return the numbers of the listed sessions."""
    return [int(row.session_id.removeprefix("ses_")) for row in tasks.tasks]


async def test_idle_tasks_cost_a_request_each_the_first_time_and_none_later() -> None:
    """Beside the list itself, and the path of the project at first. A task that changes is read again."""
    opencode = ListedOpenCode(sessions=[session(number) for number in range(200)])
    context = make_context(opencode)

    first = await call(context, limit=200)
    assert opencode.count() <= 200 + 3
    assert await call(context, limit=200) == first
    assert opencode.count() == 1
    assert {row.state for row in first.tasks} == {"completed"}

    opencode.sessions[7] = session(7, cost=0.75)
    again = await call(context, limit=200)
    assert opencode.count() == 2
    assert [row.cost for row in again.tasks if row.session_id == "ses_7"] == [0.75]


async def test_a_task_that_works_costs_a_message_and_its_directory_is_read_once_for_all() -> None:
    """Also where its subagent works, and it does not itself."""
    working = {f"ses_{number}": [turn(f"msg_{number}")[0]] for number in (1, 2, 4)}
    opencode = ListedOpenCode(
        sessions=[session(1), session(2), session(3), session(4, parent=3)],
        turns=working,
        status={session_id: {"type": "busy"} for session_id in working},
    )
    context = make_context(opencode)
    await call(context)
    opencode.count()

    tasks = await call(context)

    assert sorted(opencode.calls) == sorted(
        ["session_list", "session_status", "permission_list", "question_list", *["session_messages"] * 3]
    )
    assert {row.session_id: row.state for row in tasks.tasks} == dict.fromkeys(("ses_1", "ses_2", "ses_3"), "running")
    [parent] = [row for row in tasks.tasks if row.session_id == "ses_3"]
    assert [(child.session_id, child.running) for child in parent.subagents] == [("ses_4", True)]
    assert parent.activity is not None
    assert parent.cost == 1


async def test_a_row_shows_what_a_person_approves() -> None:
    """A longer command than a report does, and what an edit changes; or how much more there is."""
    command = f"cat <<'END' > notes\n{'word ' * 3_000}\nEND\nrm -r build"
    request: dict[str, Any] = {"id": "per_1", "sessionID": "ses_1", "permission": "edit", "patterns": ["a"]}
    metadata: list[dict[str, Any]] = [{"command": command}, {"diff": "@@"}, {"diff": "-" * 20_000}, {"diff": 1}]
    opencode = ListedOpenCode(
        sessions=[session(1)],
        turns={"ses_1": [turn()[0]]},
        status={"ses_1": {"type": "busy"}},
        requests=[{**request, "metadata": facts} for facts in metadata],
    )

    [row] = (await call(make_context(opencode))).tasks

    assert [(pending.wants, pending.diff) for pending in row.pending] == [
        (f"edit: {command.replace(chr(10), ' ⏎ ')}", None),
        ("edit: a", "@@"),
        ("edit: a … (20000 more characters)", None),
        ("edit: a", None),
    ]


async def test_a_page_is_newest_first_and_since_chooses_what_has_changed_with_what_is_named() -> None:
    """A change of a subagent is one of its task. What was changed up to 10 s before `since` may be new."""
    opencode = ListedOpenCode(sessions=[*map(session, range(100, 105)), session(200, parent=101)])
    context = make_context(opencode)

    assert (ids(await call(context)), (await call(context)).total) == ([104, 103, 102, 101, 100], 5)
    assert ids(await call(context, offset=1, limit=2)) == [103, 102]
    assert ids(await call(context, offset=5)) == []
    changed = await call(context, since=200_000, session_ids=["ses_103", "ses_unknown"], limit=1)
    assert (ids(changed), changed.total) == ([103, 101], 5)
    assert ids(await call(context, since=113_000)) == [104, 103, 101]


async def test_a_change_without_a_time_is_shown_to_every_caller() -> None:
    """OpenCode gives a task its title by a model, often after its turn has ended, and changes no time with it."""
    opencode = ListedOpenCode(sessions=[session(1), session(2), session(300)])
    context = make_context(opencode)
    await call(context)
    assert ids(await call(context, since=300_000)) == [300]

    opencode.sessions[0] = session(1, title="a better title")
    for _ in range(2):
        changed = await call(context, since=300_000)
        assert [row.title for row in changed.tasks] == ["task 300", "a better title"]
    assert [row.title for row in (await call(context)).tasks][-1] == "a better title"


async def test_since_has_everything_that_has_changed() -> None:
    """A caller that was away could not ask for what a page leaves out."""
    opencode = ListedOpenCode(sessions=[session(number) for number in range(1000, 1300)])

    assert len(ids(await call(make_context(opencode), since=1_000_000))) == 300


async def test_a_prompt_that_came_after_the_status_was_read_is_running() -> None:
    """The status of its directory, which another task's row needs, is read again."""
    opencode = LaterPrompt(
        sessions=[session(1), session(2)],
        turns={"ses_1": [turn()[0]], "ses_2": [turn("msg_2")[0]]},
        status={"ses_1": {"type": "busy"}},
    )

    rows = (await call(make_context(opencode))).tasks

    assert {row.session_id: row.state for row in rows} == {"ses_1": "running", "ses_2": "running"}


class LaterPrompt(ListedOpenCode):
    """An OpenCode whose second session gets a prompt once the status was read."""

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Answer as OpenCode does."""
        if name == "session_messages" and arguments["sessionID"] == "ses_2":
            await eventually(lambda: "session_status" in self.calls and "question_list" in self.calls)
            await anyio.wait_all_tasks_blocked()
            self.status["ses_2"] = {"type": "busy"}
        return await super().call(name, **arguments)


async def test_a_row_says_what_the_newest_turn_and_the_family_are() -> None:
    """Agent and model are those of the reply; sessions of checks, setups and queued prompts are no subagents."""
    task = {"worktree_of": "/project", "branch": "b", "collected": "tree", "answer_group": ANSWERS}
    queued = {"queued": {"prompt_id": "msg_9", "task": {"prompt": "later"}}}
    opencode = ListedOpenCode(
        sessions=[
            session(1, metadata={"opencode_mcp": task}, directory="/tree"),
            session(2, parent=1, agent="explore"),
            session(3, parent=2),
            session(4, parent=1, metadata={"opencode_mcp": {"check_of": "msg_1"}}),
            session(5, parent=1, metadata={"opencode_mcp": PLAIN}, title="Setup"),
            session(6, parent=1, metadata={"opencode_mcp": queued}),
        ]
    )

    [row] = (await call(make_context(opencode))).tasks

    assert row.model_dump(exclude_defaults=True) == {
        "session_id": "ses_1",
        "title": "task 1",
        "state": "running",  # a prompt is queued
        "directory": "/tree",
        "created": 1000,
        "updated": 6000,
        "agent": "plan",
        "model": "a/x",
        "cost": 2.5,
        "tokens": 10,
        "elapsed_seconds": row.elapsed_seconds,
        "pending": [],
        "subagents": [
            {"session_id": "ses_2", "title": "task 2", "agent": "explore", "running": False},
            {"session_id": "ses_3", "title": "task 3", "running": False},
        ],
        "worktree": {"project": "/project", "branch": "b", "collected": True},
        "answers": ANSWERS,
        "queued": 1,
    }


ANSWERS = {"key": "k", "number": 1, "size": 2}


async def test_the_time_of_a_turn_is_counted_from_its_prompt_also_where_that_is_far_back() -> None:
    """It is read once."""
    long = [turn()[0], *(turn(id=f"msg_1{number}")[1] for number in range(50))]
    opencode = ListedOpenCode(sessions=[session(1)], turns={"ses_1": long})

    [row] = (await call(make_context(opencode))).tasks

    assert (row.elapsed_seconds, opencode.calls.count("session_message")) == (3.0, 1)


async def test_a_session_that_was_deleted_is_left_out_and_one_that_cannot_be_read_is_unknown() -> None:
    """The others are listed. What could not be read is read again."""
    opencode = ListedOpenCode(
        sessions=[session(number) for number in range(1, 4)],
        turns={
            "ses_1": APIError("session_messages", 404, "NotFoundError", "no session"),
            "ses_2": APIError("session_messages", 500, "UnknownError", "a broken\nrow"),
        },
    )
    context = make_context(opencode)

    tasks = await call(context)
    assert [(row.session_id, row.state) for row in tasks.tasks] == [("ses_3", "completed"), ("ses_2", "unknown")]
    assert "a broken row" in (tasks.tasks[1].error or "")
    opencode.turns.clear()
    assert [row.state for row in (await call(context)).tasks] == ["completed"] * 3


async def test_an_opencode_that_stops_to_answer_is_an_error_and_one_of_several_makes_its_tasks_unknown() -> None:
    """A list of tasks that are all unknown would hide what they wait for."""
    frozen = ListedOpenCode(sessions=[session(1)], turns={"ses_1": RequestTimeout("no response")})
    with pytest.raises(RequestTimeout):
        await call(make_context(frozen))

    context = Context(ServerPool(cast("Any", {"a": frozen, "b": ListedOpenCode()})), ignore_progress)
    assert [row.state for row in (await call(context)).tasks] == ["unknown"]


async def test_the_error_of_a_turn_is_one_line() -> None:
    """Some are a page of HTML; the report of the task has it whole."""
    failed = {"name": "APIError", "data": {"message": "<html>\n" + "no model " * 1000}}
    opencode = ListedOpenCode(sessions=[session(1)], turns={"ses_1": turn(error=failed)})

    [row] = (await call(make_context(opencode))).tasks

    assert (row.state, len(row.error or "") < 310, "\n" in (row.error or "")) == ("failed", True, False)


async def test_an_unfinished_session_that_nothing_runs_is_idle_with_the_reason() -> None:
    """Its directory is read once, as nothing may change any more; not at all in a worktree that was removed."""
    removed = {"opencode_mcp": {"worktree_of": "/project", "removed": "discarded"}}
    opencode = ListedOpenCode(
        sessions=[session(1), session(2, metadata=removed, directory="/gone")],
        turns={"ses_1": turn(time={"created": 2000}), "ses_2": turn(time={"created": 2000})},
    )
    context = make_context(opencode)

    rows = (await call(context)).tasks
    assert [(row.state, row.elapsed_seconds) for row in rows] == [("idle", 1.0), ("idle", 1.0)]
    assert all("exited" in (row.note or "") for row in rows)
    assert opencode.calls.count("session_status") == 1
    opencode.count()
    await call(context)
    assert opencode.count() == 1


async def test_a_session_without_messages_is_idle_unless_another_api_has_its_messages() -> None:
    """The task tools cannot read those."""
    opencode = ListedOpenCode(sessions=[session(1)], turns={"ses_1": []})
    assert [(row.state, row.note) for row in (await call(make_context(opencode))).tasks] == [("idle", None)]

    opencode.answers = {"v2_session_messages": {"data": [{"id": "msg_1"}]}, "v2_session_active": {"data": PLAIN}}
    [row] = (await call(make_context(opencode))).tasks
    assert row.state == "unknown"
    assert "v2 API" in (row.error or "")


async def test_a_task_whose_prompt_is_not_sent_is_starting() -> None:
    """Listing it does not count as a report of a failure: the call that started it raises that."""
    opencode = ListedOpenCode(sessions=[session(1)])
    context = make_context(opencode)
    start = PendingStart(session_id="ses_1", directory="/project")
    context.servers.pending_starts["ses_1"] = start

    assert [row.state for row in (await call(context)).tasks] == ["starting"]
    assert not start.is_reported


async def test_the_whole_family_is_read_where_the_list_has_not_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subagent that is not listed counts."""
    monkeypatch.setattr(listing, "LISTED_SESSIONS", 2)
    opencode = ListedOpenCode(sessions=[session(1), session(2), session(3, parent=2)])

    tasks = (await call(make_context(opencode))).tasks

    assert [(row.session_id, row.cost, len(row.subagents)) for row in tasks] == [("ses_2", 1, 1), ("ses_1", 0.5, 0)]


async def test_the_tasks_of_several_servers_are_merged_and_one_that_does_not_answer_is_named() -> None:
    """With a single server that is an error. What several servers have is listed once."""
    first = ListedOpenCode(sessions=[session(1), session(3)])
    second = ListedOpenCode(sessions=[session(2), session(3)])
    third = ListedOpenCode(answers={"session_list": TransportError("it is gone")})
    context = Context(ServerPool(cast("Any", {"a": first, "b": second, "c": third})), ignore_progress)

    tasks = await call(replace(context, tools=["stop_task"]))

    assert (ids(tasks), tasks.total, tasks.problems) == ([3, 2, 1], 3, ["server c: it is gone"])
    assert (tasks.tools, tasks.project) == (["stop_task"], "/project")
    with pytest.raises(TransportError):
        await call(Context(context.servers.select("c"), ignore_progress))


def test_a_family_has_all_levels_and_a_session_that_a_bridge_has_made_is_no_subagent() -> None:
    """A subagent that a task tool continues stays one."""
    listed = parse_model("the list", list[Session], [session(4, parent=3), session(3, parent=1), session(1)])
    [family] = group_families(listed)

    assert family.ids == ("ses_1", "ses_3", "ses_4")
    continued = {"opencode_mcp": {"permissions": "ask"}}
    assert not runs_commands(parse_model("a session", Session, session(1, metadata=continued)))
