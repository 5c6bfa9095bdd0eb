"""Arguments: what is wrong is refused before anything is sent, what is right arrives as it was meant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import normpath
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opencode_mcp.catalog import Catalog
from opencode_mcp.exceptions import APIError, InvalidArguments
from opencode_mcp.opencode import AttachedServer, Endpoint, OpenCodeClient
from opencode_mcp.opencode.prepare import directory_misreading, query_pairs, split_arguments, validate
from tests.execute import prepare_and_execute

from .conftest import FAKE_ENDPOINT, Wire

pytestmark = pytest.mark.anyio

BAD_SEGMENTS = {
    "one dot": ".",
    "two dots": "..",
    "nothing": "",
    "two encoded dots": "%2e%2e",
    "half encoded dots": ".%2E",
    "two dots encoded twice": "%252e%252e",
    "two dots encoded three times": "%25252e%25252e",
    "a way up between names": "a/../b",
    "an encoded way up": "a%2f..%2fb",
    "a way up with a backslash": "..\\x",
    "a backslash": "a\\b",
    "an encoded backslash": "a%5cb",
    "a NUL": "a\0b",
    "an encoded NUL": "a%00b",
    "a newline": "a\nb",
    "an encoded carriage return": "a%0Db",
}
PATH_ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "session_get": ("sessionID", {}),
    "v2_session_get": ("sessionID", {}),
    "auth_set": ("providerID", {"body": {"type": "api", "key": "k"}}),
    "mcp_connect": ("name", {}),
    "v2_fs_read": ("path", {}),
}


@pytest.mark.parametrize("name", PATH_ARGUMENTS)
@pytest.mark.parametrize("value", BAD_SEGMENTS.values(), ids=BAD_SEGMENTS.keys())
async def test_a_path_value_that_could_change_the_route_is_refused(
    opencode: OpenCodeClient, wire: Wire, name: str, value: str
) -> None:
    """Encoded or not, no such value is sent, and the error names the argument."""
    argument, others = PATH_ARGUMENTS[name]

    with pytest.raises(InvalidArguments, match=argument):
        await prepare_and_execute(opencode, opencode.catalog[name], {argument: value, **others})
    assert wire.requests == []


@pytest.mark.parametrize("value", ["ses/../../global/health", "ses%2f..%2f..", "ses\\..\\x", "ses_1\0", "ses_1\n"])
async def test_a_valid_prefix_does_not_excuse_the_rest(opencode: OpenCodeClient, wire: Wire, value: str) -> None:
    """The schema's pattern holds only for the beginning of an id."""
    with pytest.raises(InvalidArguments, match="sessionID: must not contain"):
        await opencode.call("session_get", sessionID=value)
    assert wire.requests == []


@pytest.mark.parametrize("value", ["/etc/passwd", "src//main.py", "src/"])
async def test_a_file_to_read_is_named_by_a_relative_path(opencode: OpenCodeClient, wire: Wire, value: str) -> None:
    """An empty segment at the start would make the path absolute."""
    with pytest.raises(InvalidArguments, match="path: must be a relative path"):
        await opencode.call("v2_fs_read", path=value)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("name", "arguments", "sent"),
    [
        ("mcp_connect", {"name": "https://example.com"}, "/mcp/https%3A%2F%2Fexample.com/connect"),
        ("mcp_connect", {"name": "a b?c#d&e+f"}, "/mcp/a%20b%3Fc%23d%26e%2Bf/connect"),
        ("mcp_connect", {"name": "100%"}, "/mcp/100%25/connect"),
        ("mcp_connect", {"name": "a..b"}, "/mcp/a..b/connect"),
        ("mcp_connect", {"name": "übermut"}, "/mcp/%C3%BCbermut/connect"),
        ("session_get", {"sessionID": "ses/1"}, "/session/ses%2F1"),
        ("v2_fs_read", {"path": "src/a b.py"}, "/api/fs/read/src/a%20b.py"),
        ("v2_fs_read", {"path": "a%41?.py"}, "/api/fs/read/a%2541%3F.py"),
    ],
)
async def test_an_odd_but_harmless_path_value_is_encoded(
    opencode: OpenCodeClient, wire: Wire, name: str, arguments: dict[str, Any], sent: str
) -> None:
    """A slash in an id stays within its segment; only a file's path has segments of its own."""
    await prepare_and_execute(opencode, opencode.catalog[name], arguments)

    [request] = wire.requests
    assert request.url.host == FAKE_ENDPOINT.url.host
    assert request.url.raw_path.partition(b"?")[0].decode() == sent


async def test_no_path_value_changes_the_route(opencode: OpenCodeClient) -> None:
    """Whatever stands in a path is refused, or arrives undamaged at the operation's own route and host."""

    @given(st.text() | st.text(alphabet="./\\%2eE5cfF0\0\n ~ab"))
    @example("..;/")
    @example("%c0%ae%c0%ae/")
    @example("//elsewhere.test")
    @example("@elsewhere.test")
    def check(value: str) -> None:
        for name, argument, route in (
            ("mcp_connect", "name", r"/mcp/([^/]+)/connect"),
            ("v2_fs_read", "path", r"/api/fs/read/(.+)"),
        ):
            operation = opencode.catalog[name]
            try:
                request = opencode.build_request(
                    operation, opencode.prepare(operation, {argument: value}).parts, FAKE_ENDPOINT
                )
            except InvalidArguments:
                continue
            path = request.url.raw_path.partition(b"?")[0].decode()
            found = re.fullmatch(route, path)
            assert found, path
            assert unquote(found[1]) == value
            assert normpath(unquote(path)).startswith(path[: found.start(1)])
            assert (request.url.scheme, request.url.host, request.url.port) == ("http", "opencode.test", 4096)

    check()


async def test_the_server_s_base_path_is_kept(catalog: Catalog) -> None:
    """Behind a proxy OpenCode may live below a path."""
    server = AttachedServer(FAKE_ENDPOINT)
    async with OpenCodeClient(server, catalog) as opencode:
        operation = catalog["session_get"]
        endpoint = Endpoint(FAKE_ENDPOINT.url.copy_with(path="/behind/proxy/"))
        request = opencode.build_request(operation, opencode.prepare(operation, {"sessionID": "ses_1"}).parts, endpoint)

    assert str(request.url) == "http://opencode.test:4096/behind/proxy/session/ses_1"


@pytest.mark.parametrize(
    ("name", "arguments", "problems"),
    [
        ("session_get", {}, ["sessionID: missing"]),
        ("session_get", {"sessionID": "abc"}, ['sessionID: must be a session\'s id, which starts with ses; got "abc"']),
        ("session_get", {"sessionID": 5}, ["sessionID: must be text; got 5"]),
        (
            "session_get",
            {"sessionID": "ses_1", "verbose": True},
            ["verbose: unknown; known: sessionID, directory, workspace"],
        ),
        (
            "session_list",
            {"roots": "yes", "limit": "many"},
            ['roots: must be true or false; got "yes"', 'limit: must be a number; got "many"'],
        ),
        ("find_files", {"query": "a", "limit": 500}, ["limit: must be at most 200; got 500"]),
        (
            "v2_location_get",
            {"location": {"folder": "/"}},
            ["location.folder: unknown; known: directory, workspace"],
        ),
        (
            "mcp_add",
            {"name": "m", "type": "remote", "url": "https://mcp.test"},
            [
                "config: missing",
                "type: unknown; it is a field of config",
                "url: unknown; it is a field of config",
            ],
        ),
        ("find_text", {"text": "TODO"}, ["text: unknown; did you mean pattern?", "pattern: missing"]),
        (
            "find_text",
            {"text": "TODO", "word": "x"},
            [
                "text: unknown; known: pattern, directory, workspace",
                "word: unknown; known: pattern, directory, workspace",
                "pattern: missing",
            ],
        ),
    ],
)
async def test_an_error_names_the_argument_the_expected_type_and_the_value(
    opencode: OpenCodeClient, wire: Wire, name: str, arguments: dict[str, Any], problems: list[str]
) -> None:
    """A model can mend its call from the words of the error alone."""
    with pytest.raises(InvalidArguments) as caught:
        await opencode.call(name, **arguments)

    assert caught.value.problems == problems
    assert caught.value.operation == name
    assert str(caught.value).startswith(f"Invalid arguments for {name}; nothing was sent:\n- {problems[0]}")
    assert wire.requests == []


@pytest.mark.parametrize(
    ("given_part", "problem"),
    [
        ({"type": "text", "text": 5}, "parts.0.text: must be text; got 5"),
        ({"type": "text"}, "parts.0.text: missing"),
        ({"type": "file", "mime": "image/png"}, "parts.0.url: missing"),
        ({"type": "picture"}, 'parts.0.type: must be text, file, agent or subtask; got "picture"'),
        ("hello", 'parts.0: must be an object; got "hello"'),
    ],
)
async def test_an_error_describes_the_closest_alternative(catalog: Catalog, given_part: Any, problem: str) -> None:
    """A prompt's part has four forms; `not valid under any of them` would not help."""
    with pytest.raises(InvalidArguments) as caught:
        validate(catalog["session_prompt"], {"sessionID": "ses_1", "parts": [given_part]})

    assert caught.value.problems == [problem]


async def test_an_error_stays_short_however_much_is_wrong(catalog: Catalog) -> None:
    """A thousand wrong parts of a thousand letters do not make a megabyte of error."""
    with pytest.raises(InvalidArguments) as caught:
        validate(catalog["session_prompt"], {"sessionID": "ses_1", "parts": ["x" * 1000] * 1000})

    assert len(caught.value.problems) == 10
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    ("name", "arguments", "query"),
    [
        ("session_list", {"roots": True}, [("roots", "true")]),
        ("session_list", {"roots": False}, [("roots", "false")]),
        ("session_list", {"roots": "true"}, [("roots", "true")]),
        ("find_files", {"query": "a b&c", "dirs": True}, [("query", "a b&c"), ("dirs", "true")]),
        ("find_files", {"query": "", "limit": 7}, [("query", ""), ("limit", "7")]),
        ("session_list", {"start": 1.5}, [("start", "1.5")]),
        ("v2_fs_find", {"query": "", "limit": 3}, [("query", ""), ("limit", "3")]),
        (
            "v2_location_get",
            {"location": {"directory": "/a b", "workspace": "wrk_1"}},
            [("location[directory]", "/a b"), ("location[workspace]", "wrk_1")],
        ),
    ],
)
async def test_a_query_is_written_as_opencode_reads_it(
    catalog: Catalog, name: str, arguments: dict[str, Any], query: list[tuple[str, str]]
) -> None:
    """Booleans in lower case, numbers as in JSON, a deepObject as one pair for each key."""
    validate(catalog[name], arguments)

    assert sorted(split_arguments(catalog[name], arguments, None).query) == sorted(query)


async def test_an_array_is_written_as_a_repeated_name() -> None:
    """No operation of 1.18.33 takes one; OpenAPI's default form is what a newer one would use."""
    assert list(query_pairs("types", ["a", True, 2], None)) == [("types", "a"), ("types", "true"), ("types", "2")]


async def test_control_arguments_are_not_sent(catalog: Catalog) -> None:
    """What bounds a stream is ours alone; defaults hold for what is not given."""
    parts = split_arguments(catalog["event_subscribe"], {"timeout_seconds": 3}, None)

    assert parts.query == ()
    assert parts.controls == {"timeout_seconds": 3, "max_events": 50, "types": None}


@pytest.mark.parametrize(
    ("name", "arguments", "query"),
    [
        ("path_get", {}, {"directory": "/project"}),
        ("path_get", {"directory": "/other"}, {"directory": "/other"}),
        ("path_get", {"workspace": "wrk_1"}, {"workspace": "wrk_1"}),
        ("v2_location_get", {}, {"location[directory]": "/project"}),
        ("v2_location_get", {"location": {}}, {"location[directory]": "/project"}),
        ("v2_location_get", {"location": {"workspace": "wrk_1"}}, {"location[workspace]": "wrk_1"}),
        ("global_health", {}, {}),
        ("v2_session_get", {"sessionID": "ses_1"}, {}),
    ],
)
async def test_the_project_directory_is_the_default(
    opencode: OpenCodeClient, wire: Wire, name: str, arguments: dict[str, Any], query: dict[str, str]
) -> None:
    """Only to operations that take one, in the form that they take, and never beside a workspace."""
    await opencode.call(name, **arguments)

    [request] = wire.requests
    assert dict(request.url.params) == query


async def test_without_a_project_directory_none_is_sent(catalog: Catalog) -> None:
    """OpenCode then works in the directory that it was started in."""
    assert split_arguments(catalog["path_get"], {}, None).query == ()
    assert split_arguments(catalog["v2_location_get"], {}, None).query == ()


@pytest.mark.parametrize(
    ("name", "arguments", "sent"),
    [
        ("session_list", {}, "/project"),
        ("experimental_session_list", {}, None),
        ("v2_session_list", {}, "/project"),
        ("v2_session_list", {"project": "other"}, None),
        ("experimental_session_list", {"directory": "/other"}, "/other"),
    ],
)
def test_a_list_of_projects_has_no_default_directory(
    catalog: Catalog, name: str, arguments: dict[str, Any], sent: str | None
) -> None:
    """With one, OpenCode would list the sessions of exactly that directory."""
    assert dict(split_arguments(catalog[name], arguments, "/project").query).get("directory") == sent


@pytest.mark.parametrize(
    ("location", "sent"),
    [({}, "/project"), ({"location": {"directory": "/other"}}, "/other")],
    ids=["not given", "given"],
)
def test_a_location_in_a_body_defaults_to_the_project(catalog: Catalog, location: dict[str, Any], sent: str) -> None:
    """Else a session of the v2 API would work wherever its server was started."""
    parts = split_arguments(catalog["v2_session_create"], location, "/project")

    assert parts.body == {"location": {"directory": sent}}
    assert split_arguments(catalog["v2_session_create"], {}, None).body == {}


async def test_the_body_has_the_given_fields(catalog: Catalog) -> None:
    """A field beside the parameters goes into the body alone, `body` is the body, and none is an empty one."""
    assert split_arguments(catalog["session_update"], {"sessionID": "ses_1", "title": "t"}, None).body == {"title": "t"}
    assert split_arguments(catalog["session_create"], {}, None).body == {}
    assert split_arguments(catalog["sync_history_list"], {}, None).body == {}
    assert split_arguments(catalog["sync_history_list"], {"body": {"ses_1": 3}}, None).body == {"ses_1": 3}
    assert split_arguments(catalog["session_get"], {"sessionID": "ses_1"}, None).body is None


@pytest.mark.parametrize("name", ["a/b", "session/status", "https://example.com", "%41", "a b", "a%2fb"])
async def test_on_a_real_opencode_an_encoded_slash_reaches_its_own_route(
    endpoint: Endpoint, catalog: Catalog, project: Path, name: str
) -> None:
    """The error is that of the operation, about exactly the name that was given."""
    async with OpenCodeClient(AttachedServer(endpoint), catalog, str(project)) as opencode:
        with pytest.raises(APIError) as caught:
            await opencode.call("mcp_connect", name=name)

    assert (caught.value.status, caught.value.name) == (404, "McpServerNotFoundError")
    assert caught.value.message == f"MCP server not found: {name}"


async def test_on_a_real_opencode_a_credential_is_kept_under_its_provider_s_url(
    endpoint: Endpoint, catalog: Catalog
) -> None:
    """A provider may be named by a URL, all of which is its id."""
    credential = {"type": "api", "key": "the-key"}
    async with OpenCodeClient(AttachedServer(endpoint), catalog) as opencode:
        home = (await opencode.call("path_get"))["home"]
        await opencode.call("auth_set", providerID="https://example.com", body=credential)
        assert read_credentials(home)["https://example.com"] == credential
        await opencode.call("auth_remove", providerID="https://example.com")
        assert "https://example.com" not in read_credentials(home)


def read_credentials(home: str) -> dict[str, Any]:
    """Read the credentials that OpenCode has stored, by provider."""
    return json.loads(Path(home, ".local/share/opencode/auth.json").read_text())


@pytest.mark.parametrize("name", ["a%41b", "100%", "a b+c&d#e?f=g", "ünï-日本"])
async def test_on_a_real_opencode_a_project_may_have_any_name(
    endpoint: Endpoint, catalog: Catalog, tmp_path: Path, name: str
) -> None:
    """OpenCode decodes `directory` twice and `location[directory]` once; both must find the same folder."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "here.txt").write_text("x")
    async with (
        OpenCodeClient(AttachedServer(endpoint), catalog, str(folder)) as at_home,
        OpenCodeClient(AttachedServer(endpoint), catalog, "/nowhere") as elsewhere,
    ):
        paths = [await at_home.call("path_get"), await elsewhere.call("path_get", directory=str(folder))]
        files = await at_home.call("file_list", path=".")
        location = {"directory": str(folder)}
        locations = [await at_home.call("v2_location_get"), await elsewhere.call("v2_location_get", location=location)]

    assert [answer["directory"] for answer in paths + locations] == [str(folder)] * 4
    assert [file["name"] for file in files] == ["here.txt"]


async def create_by_hand(endpoint: Endpoint, folder: Path) -> dict[str, Any]:
    """Create a session as another program does."""
    where = {"directory": str(folder).replace("%", "%25")}
    async with httpx2.AsyncClient(auth=endpoint.auth, trust_env=False) as http:
        answer = await http.post(f"{endpoint.base_url}/session", params=where, json={})
    return answer.raise_for_status().json()


@pytest.mark.parametrize("name", ["a%41b", "100%", "a b+c&d#e?f=g", "ünï-日本"])
async def test_on_a_real_opencode_sessions_are_listed_by_both_engines_whatever_the_project_s_name(
    endpoint: Endpoint, catalog: Catalog, tmp_path: Path, name: str
) -> None:
    """`directory` is a project to v1's list, decoded twice, and a filter to v2's, decoded once.

    Where OpenCode would take the name for another, only other programs create a session.
    """
    folder = tmp_path / name
    folder.mkdir()
    async with OpenCodeClient(AttachedServer(endpoint), catalog, str(folder)) as opencode:
        if directory_misreading(str(folder)):
            with pytest.raises(InvalidArguments, match="OpenCode decodes"):
                await opencode.call("session_create", title="odd")
            created = await create_by_hand(endpoint, folder)
        else:
            created = await opencode.call("session_create", title="odd")
        v1 = await opencode.call("session_list")
        v2 = await opencode.call("v2_session_list")

    assert [session["id"] for session in v1] == [created["id"]]
    assert [session["id"] for session in v2["data"]] == [created["id"]]
