"""How the library's types are to work. pyright checks it: an `ignore` that nothing needs is an error here."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Literal, assert_type

from opencode_mcp import APIError, InvalidArguments, OpenCode, WorkflowError, operations, operations2
from opencode_mcp.operations2 import Operations


async def right(opencode: OpenCode) -> None:
    """Correct use passes, down to the fields of an answer."""
    session = await opencode.session.create(title="a title", model={"id": "m", "providerID": "p"})
    assert_type(session["id"], str)
    await opencode.session.prompt(sessionID=session["id"], parts=[{"type": "text", "text": "hello"}])
    await opencode.v2.session.prompt(sessionID=session["id"], prompt={"text": "hello"}, delivery="queue")
    await opencode.vcs.diff(mode="git")
    await opencode.vcs.diff.raw()
    await opencode.global_.health()
    assert_type(await opencode.find.files(query="main"), list[str])
    assert_type(await opencode.vcs.diff.raw(), str)
    assert_type(await opencode.session.prompt_async(sessionID=session["id"], parts=[]), None)


async def unions(opencode: OpenCode) -> None:
    """The alternatives of a part, a status or an error are told apart by their literal field."""
    reply = await opencode.session.prompt(sessionID="ses_1", parts=[])
    for part in reply["parts"]:
        if part["type"] == "tool" and part["state"]["status"] == "completed":
            assert_type(part["state"]["output"], str)
        elif part["type"] == "text":
            assert_type(part["text"], str)
            part["state"]  # pyright: ignore[reportGeneralTypeIssues]
    if "error" in reply["info"] and reply["info"]["error"]["name"] == "ProviderAuthError":
        assert_type(reply["info"]["error"]["data"]["providerID"], str)
    for status in (await opencode.session.status()).values():
        if status["type"] == "retry":
            assert_type(status["attempt"], int)
    answer = await opencode.event.subscribe(max_events=1)
    for event in answer["events"]:
        if event["type"] == "session.updated":
            assert_type(event["properties"]["info"]["title"], str)


async def odd_names(opencode: OpenCode, operations: Operations) -> None:
    """A field may be named as no attribute can be."""
    assert_type((await opencode.config.get()).get("$schema"), str | None)
    assert_type((await operations.experimental.session.stats())["data"]["range"]["from"], float)


async def right_of_opencode_2(operations: Operations) -> None:
    """The same of the other generation; what is a keyword of Python ends in an underscore."""
    await operations.session.create(title="a title", model={"id": "m", "providerID": "p"})
    await operations.session.prompt(sessionID="ses_1", text="hello", delivery="queue")
    await operations.session.diff(sessionID="ses_1", from_="msg_1")
    await operations.experimental.session.wait(sessionID="ses_1")
    assert_type((await operations.agent.list())["data"][0]["id"], str)


async def right_of_a_generation(opencode: OpenCode[Literal[2]]) -> None:
    """A client has the operations and the events of its generation."""
    assert_type((await opencode.agent.list())["data"][0]["id"], str)
    async with OpenCode(generation=2) as of_two:
        assert_type(of_two, OpenCode[Literal[2]])
        async with of_two.events() as events:
            async for event in events:
                if event["type"] == "session.renamed":
                    assert_type(event["data"]["title"], str)
                elif event["type"] == "stream.lost":
                    assert_type(event["properties"]["reason"], str)
        await of_two.find.text(pattern="x")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    async with OpenCode(generation=1) as of_one, OpenCode() as of_default:
        assert_type(of_one, OpenCode)
        assert_type(of_default, OpenCode)
        async with of_one.events() as events_of_one:
            async for event_of_one in events_of_one:
                if (
                    event_of_one["type"] == "message.part.updated"
                    and event_of_one["properties"]["part"]["type"] == "text"
                ):
                    assert_type(event_of_one["properties"]["part"]["text"], str)
                elif event_of_one["type"] == "session.renamed":  # pyright: ignore[reportUnnecessaryComparison]
                    pass


async def errors(opencode: OpenCode, of_two: OpenCode[Literal[2]]) -> None:
    """An error has typed fields, and its body may be annotated with those that the document has."""
    try:
        await opencode.session.get(sessionID="ses_1")
        await of_two.session.get(sessionID="ses_1")
    except InvalidArguments as error:
        assert_type((error.operation, error.problems), tuple[str, list[str]])
    except APIError as error:
        assert_type((error.status, error.name, error.message, error.advice), tuple[int, str, str, str])
        body: operations.NotFoundError = error.body
        assert_type(body["data"]["message"], str)
        any_body: operations.ErrorBody = body
        assert "_tag" not in any_body
        body_of_two: operations2.ErrorBody = error.body
        if body_of_two["_tag"] == "SessionNotFoundError":
            assert_type(body_of_two["sessionID"], str)
    except WorkflowError as error:
        assert_type(error.session_id, str | None)


async def pages(opencode: OpenCode, of_two: OpenCode[Literal[2]]) -> None:
    """A list with pages is iterated over with the arguments of its operation; each page is its answer."""
    async for page in opencode.session.messages.pages(sessionID="ses_1", limit=50):
        assert_type(page[0]["info"]["id"], str)
    async for page_of_two in of_two.session.list.pages(order="asc"):
        assert_type(page_of_two["data"][0]["id"], str)
    assert_type((await of_two.session.list())["data"][0]["id"], str)
    opencode.session.get.pages(sessionID="ses_1")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    opencode.session.messages.pages(limit=50)  # pyright: ignore[reportCallIssue]


async def wrong_of_opencode_2(operations: Operations) -> None:
    """What only OpenCode 1 has is not there."""
    await operations.session.prompt(sessionID="ses_1", parts=[])  # pyright: ignore[reportCallIssue]
    await operations.session.switch_agent(sessionID="ses_1")  # pyright: ignore[reportCallIssue]


async def wrong(opencode: OpenCode) -> None:
    """Everything that the document does not have is seen in the editor."""
    await opencode.session.create(titel="a title")  # pyright: ignore[reportCallIssue]
    await opencode.session.create("a title")  # pyright: ignore[reportCallIssue]
    await opencode.session.get()  # pyright: ignore[reportCallIssue]
    await opencode.find.files(query=1)  # pyright: ignore[reportArgumentType]
    await opencode.vcs.diff(mode="svn")  # pyright: ignore[reportArgumentType]
    await opencode.session.creat()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    await opencode.session.prompt(sessionID="ses", parts=[{"type": "text"}])  # pyright: ignore[reportArgumentType]
