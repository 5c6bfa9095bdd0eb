"""Rows about what OpenCode asks: what is asked, by whom it is answered, and how. Nobody's leave, nothing done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.client import ClientRequestContext

from opencode_mcp.server.asking import MIN_READING_SECONDS

from .bench import MODES, QUICK, Bench
from .seen import Seen
from .table import Deed, Row


@dataclass(frozen=True)
class Asked:
    """Something that OpenCode asks, the prompt that leads to it, and the file that is there once it was allowed."""

    name: str
    kind: str
    wants: str
    prompt: Callable[[Bench], str]
    file: Callable[[Bench], Path] | None = None

    def state_after(self, reply: Reply) -> str:
        """A subagent's end is only a result to the one that it works for."""
        return "completed" if reply.leads_to == "stopped" and self.name.startswith("subagent") else reply.leads_to


def touch(bench: Bench) -> str:
    """A command that leaves a file behind."""
    return f"script:tool bash {json.dumps({'command': f'touch {made(bench).name}', 'description': 'Make a file'})}"


def write_outside(bench: Bench) -> str:
    """A file that is not in the project."""
    return f"script:tool write {json.dumps({'filePath': str(outside(bench)), 'content': 'written'})}"


def ask_back(bench: Bench) -> str:
    """A question with two options."""
    options = [{"label": name, "description": f"Paint it {name}"} for name in ("Red", "Blue")]
    question = {"header": "Colour", "question": f"Which one is best for {bench.key}?", "options": options}
    return f"script:tool question {json.dumps({'questions': [question]})}"


def made(bench: Bench) -> Path:
    """The file that the command leaves behind."""
    return bench.project / f"made-{bench.key}"


def outside(bench: Bench) -> Path:
    """The file that is not in the project."""
    return bench.project.parent / f"outside-{bench.key}" / "file"


ASKED = (
    Asked("permission", "permission", "^bash: touch made-row", touch, made),
    Asked("subagent's permission", "permission", "^bash: touch made-row", lambda it: f"script:task {touch(it)}", made),
    Asked("access outside the directory", "permission", "^external_directory: .*/outside-row", write_outside, outside),
    Asked("question", "question", r"^Which one is best for row\d+x\?$", ask_back),
)


@dataclass(frozen=True)
class Reply:
    """An answer, as arguments of the tool and as what comes back from a form, and what it leads to.

    `told` is what the model gets to read of it; `seconds` is how long a person takes to give it.
    """

    name: str
    arguments: Mapping[str, Any] | None
    form: types.ElicitResult
    leads_to: str
    allowed: bool = False
    told: str = ""
    seconds: float = 0


def accepted(**content: str) -> types.ElicitResult:
    """A form that was filled in."""
    return types.ElicitResult(action="accept", content={**content})


DECLINED, CANCELLED = types.ElicitResult(action="decline"), types.ElicitResult(action="cancel")
AT_ONCE = "form declined at once"
READS_SECONDS = MIN_READING_SECONDS + 0.5
INSTEAD = "make it elsewhere"
REPLIES: Mapping[str, tuple[Reply, ...]] = {
    "permission": (
        Reply("once", {"reply": "once"}, accepted(reply="once"), "completed", allowed=True),
        Reply("always", {"reply": "always"}, accepted(reply="always"), "completed", allowed=True),
        Reply("reject", {"reply": "reject"}, accepted(reply="reject"), "stopped"),
        Reply(
            "reject with a message",
            {"reply": "reject", "message": INSTEAD},
            accepted(reply="reject", message=INSTEAD),
            "completed",
            told=INSTEAD,
        ),
        Reply("form declined", None, DECLINED, "stopped", seconds=READS_SECONDS),
        Reply(AT_ONCE, None, DECLINED, "waiting_permission"),
        Reply("form dismissed", None, CANCELLED, "waiting_permission"),
    ),
    "question": (
        Reply("a choice", {"answers": [["Blue"]]}, accepted(answer_1="Blue"), "completed", told="Blue"),
        Reply("own words", {"answers": [["Neither"]]}, accepted(answer_1_other="Neither"), "completed", told="Neither"),
        Reply("reject", {"answers": None}, DECLINED, "stopped", seconds=READS_SECONDS),
        Reply(AT_ONCE, None, DECLINED, "waiting_question"),
        Reply("form dismissed", None, CANCELLED, "waiting_question"),
    ),
}


def only_asked(asked: Asked) -> Deed:
    """Nobody answers."""

    async def does(bench: Bench) -> Seen:
        seen = await bench.run(asked.prompt(bench))
        check(bench, asked, None)
        return seen

    return does


def by_us(asked: Asked, reply: Reply) -> Deed:
    """The client calls answer_permission or answer_question."""

    async def does(bench: Bench) -> Seen:
        assert reply.arguments is not None
        waiting = await bench.run(asked.prompt(bench))
        check(bench, asked, None)
        request: dict[str, Any] = {"request_id": waiting.request_id, **reply.arguments}
        answered = await bench.call(f"answer_{asked.kind}", **request)
        assert answered.state in {"running", asked.state_after(reply)}, answered.text
        seen = await bench.wait(waiting.session_id)
        check(bench, asked, reply)
        again = await bench.call(f"answer_{asked.kind}", **request)
        assert again.state == "error", "an answer was taken twice"
        return seen if reply.name != "always" else await bench.run(asked.prompt(bench))

    return does


def by_form(asked: Asked, reply: Reply, mode: str) -> Deed:
    """The client's user is asked, and answers."""

    async def does(bench: Bench) -> Seen:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            check(bench, asked, None)
            await anyio.sleep(reply.seconds)
            return reply.form

        async with bench.bridge(mode=mode, elicitation_callback=ask) as client:
            seen = await bench.run(asked.prompt(bench), client)
        check(bench, asked, reply)
        assert ("declined the form at once" in (seen["note"] or "")) == (reply.name == AT_ONCE), seen.text
        if reply.leads_to == "stopped":
            assert re.search("user (rejected|dismissed)", " ".join(seen["failed_calls"])), seen.text
        return seen if reply.name != "always" else await bench.run(asked.prompt(bench))

    return does


def by_somebody_else(asked: Asked, reply: Reply, mode: str) -> Deed:
    """The user is being asked when another client answers; what the user says then comes too late."""

    async def does(bench: Bench) -> Seen:
        async def ask(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            await answer_behind_our_back(bench, asked, reply)
            if mode == "legacy":  # else nobody can take the question back
                await anyio.sleep_forever()
            return accepted(reply="once", answer_1="Red")

        async with bench.bridge(mode=mode, elicitation_callback=ask) as client:
            seen = await bench.run(asked.prompt(bench), client)
        check(bench, asked, reply)
        return seen

    return does


async def answer_behind_our_back(bench: Bench, asked: Asked, reply: Reply) -> None:
    """Answer the row's request with OpenCode's own operations."""
    assert reply.arguments is not None
    where = str(bench.project)
    listed: list[dict[str, Any]] = (await bench.call(f"{asked.kind}_list", directory=where))["result"]
    [request] = [candidate for candidate in listed if bench.key in json.dumps(candidate)]
    rejected = asked.kind == "question" and reply.arguments["answers"] is None
    arguments: dict[str, Any] = {} if rejected else {**reply.arguments}
    operation = f"{asked.kind}_{'reject' if rejected else 'reply'}"
    seen = await bench.call(operation, requestID=request["id"], directory=where, **arguments)
    assert seen["result"] is True


def check(bench: Bench, asked: Asked, reply: Reply | None) -> None:
    """See that what was allowed is done, that nothing else is, and that the model was told."""
    if asked.file is not None:
        allowed = reply is not None and reply.allowed
        assert asked.file(bench).exists() == allowed, f"{asked.file(bench)} is there: {not allowed}"
    if reply is not None and reply.told:
        assert any(reply.told in str(request.messages) for request in bench.asked_of_model()), "the model was not told"


def rows() -> Iterator[Row]:
    """Everything that is asked, times every answer, times everybody who can give it."""
    for asked in ASKED:
        yield Row(f"{asked.name} asked", only_asked(asked), f"waiting_{asked.kind}", asked.wants)
        for reply in REPLIES[asked.kind]:
            for who, does in answerers(asked, reply):
                own = QUICK if reply.name == "always" else None
                yield Row(f"{asked.name} asked, {reply.name}: {who}", does, asked.state_after(reply), project=own)


def answerers(asked: Asked, reply: Reply) -> Iterator[tuple[str, Deed]]:
    """Everybody who can give an answer."""
    for era, mode in MODES.items():
        yield f"by form, {era}", by_form(asked, reply, mode)
    if reply.arguments is not None:
        yield "by us", by_us(asked, reply)
        yield "by somebody else", by_somebody_else(asked, reply, "legacy")
        if reply.name == "reject":
            yield "by somebody else, 2026-07-28", by_somebody_else(asked, reply, "auto")


ROWS = tuple(rows())
