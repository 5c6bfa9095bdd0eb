"""MCP Apps: the page of the board, the tools that show it, and its Content-Security-Policy. No OpenCode is needed."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client import advertise
from mcp_types import TextResourceContents

from opencode_mcp import board
from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from opencode_mcp.tasks.answers import ANSWERED_BEFORE
from opencode_mcp.tasks.pending_requests import describe_excess

pytestmark = pytest.mark.anyio

MAX_PAGE_BYTES = 61_440
APPS = advertise("io.modelcontextprotocol/ui", {"mimeTypes": ["text/html;profile=mcp-app"]})
SHOWING = {"run_tasks", "wait_for_tasks", "report_task", "collect_changes"}


def make_settings(directory: Path, **more: Any) -> Settings:
    """Return the settings of a bridge whose OpenCode does not run, and whose results are shorter than the page."""
    return Settings(url="http://127.0.0.1:9", directory=str(directory), max_result_chars=1_000, **more)


async def list_metas(catalog: Catalog, settings: Settings, mode: str, **client: Any) -> Mapping[str, Any]:
    """Return the `_meta` of every tool, by name."""
    async with Client(create_server(settings, catalog), mode=mode, **client) as connected:
        return {tool.name: dict(tool.meta or {}) for tool in (await connected.list_tools()).tools}


async def test_the_page_is_read_whole_and_unchanged(catalog: Catalog, mode: str, tmp_path: Path) -> None:
    """In both eras, with the type that hosts expect, a border, and for as long as a skill."""
    async with Client(create_server(make_settings(tmp_path), catalog), mode=mode) as client:
        read = await client.read_resource("ui://opencode/board")
        (listed,) = (one for one in (await client.list_resources()).resources if one.uri == "ui://opencode/board")
    (content,) = read.contents

    assert isinstance(content, TextResourceContents)
    assert (content.text, content.mime_type) == (board.read_page(), "text/html;profile=mcp-app")
    assert content.meta == {"ui": {"prefersBorder": True}}
    assert listed.mime_type == content.mime_type
    if mode == "auto":  # earlier versions have no caching
        assert (read.ttl_ms, read.cache_scope) == (3_600_000, "public")


async def test_tools_show_the_board_to_every_client(catalog: Catalog, mode: str, tmp_path: Path) -> None:
    """The list is the same with MCP Apps and without, as clients and proxies cache it."""
    settings = make_settings(tmp_path)
    plain = await list_metas(catalog, settings, mode)
    with_apps = await list_metas(catalog, settings, mode, extensions=[APPS])

    assert plain == with_apps
    shown = {"anthropic/alwaysLoad": True, "ui": {"resourceUri": "ui://opencode/board"}}
    for_page_only = {"ui": {"resourceUri": "ui://opencode/board", "visibility": ["app"]}}
    linked = {name: meta for name, meta in plain.items() if "ui" in meta}
    assert linked == {**dict.fromkeys(SHOWING, shown), "list_tasks": for_page_only}


async def test_a_view_without_the_tools_has_no_link(catalog: Catalog, tmp_path: Path) -> None:
    """The page stays readable: a client that shows it learns from `list_tasks` what it may call."""
    metas = await list_metas(catalog, make_settings(tmp_path, tools=("session_list",)), "auto")

    assert not [name for name, meta in metas.items() if "ui" in meta]


class PageParser(HTMLParser):
    """Collects the inline scripts, the policies, and the start tags of a page."""

    def __init__(self) -> None:
        """Begin with a page without tags."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        """Note the text of a script."""
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        """Text after a tag is not in it."""
        self.tags.append((f"/{tag}", {}))


def parse_page() -> tuple[PageParser, dict[str, str]]:
    """Return the parsed page, and its policy by directive."""
    parser = PageParser()
    parser.feed(board.read_page())
    (policy,) = (a["content"] for _, a in parser.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    return parser, {name: value for name, _, value in (part.strip().partition(" ") for part in policy.split(";"))}


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else() -> None:
    """Each script by its hash: a script that got in otherwise does not run."""
    parser, policy = parse_page()
    hashes = [base64.b64encode(sha256(script.encode()).digest()).decode() for script in parser.scripts]

    assert parser.scripts
    assert policy == {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{digest}'" for digest in hashes),
        "style-src": "'unsafe-inline'",
        "connect-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_the_policy_comes_first() -> None:
    """A policy in the page restricts only what follows it."""
    tags = [(tag, attributes) for tag, attributes in parse_page()[0].tags if tag in {"meta", "script", "style", "link"}]

    assert tags[0] == ("meta", {"charset": "utf-8"})
    assert tags[1][1].get("http-equiv") == "Content-Security-Policy"


def test_the_page_is_a_single_small_file() -> None:
    """Hosts show it in a frame without network: whatever it shows is in it."""
    parser, _ = parse_page()
    loads = [(tag, attributes) for tag, attributes in parser.tags if attributes.keys() & {"src", "href", "srcset"}]
    handlers = [name for _, attributes in parser.tags for name in attributes if name.startswith("on")]

    assert (loads, handlers) == ([], [])
    assert not re.search(r"@import|url\((?!['\"]?data:)|\beval\(|new Function", board.read_page())
    assert len(board.read_page().encode()) <= MAX_PAGE_BYTES


def test_the_page_finds_what_the_server_says_in_words() -> None:
    """That a command is cut, and that another client had answered."""
    page = board.read_page()
    [cut] = re.findall(r"/( … .*?)/\.test\(", page)

    assert re.search(cut, f"bash: x{describe_excess(9)}")
    assert re.findall(r'note\?\.includes\("(.*?)"\)', page) == [ANSWERED_BEFORE]


def test_the_page_is_sent_without_what_only_a_reader_of_its_source_needs() -> None:
    """Indentation, comments, empty lines and most spaces of the style sheet stay in the file, all else is sent.

    So no text spans lines of the source.
    """
    source = board.PAGE.read_text(encoding="utf-8").splitlines()
    script = source[source.index("<script>") + 1 : source.index("</script>")]
    needed = [
        re.sub(r""" // [^"'`/]*$""", "", line.lstrip())
        for line in source
        if line.strip() and not line.lstrip().startswith(("//", "/**"))
    ]
    sent = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", board.read_page()).splitlines()

    start, end, needed_end = needed.index("<style>"), sent.index("</style>"), needed.index("</style>")
    style, needed_style = "\n".join(sent[start:end]), "\n".join(needed[start:needed_end])

    assert sent[:start] + sent[end:] == needed[:start] + needed[needed_end:]
    assert "".join(style.split()) == "".join(needed_style.split()).replace(";}", "}")
    assert style.count(" ") == len(re.findall("(?<![{};:,]) (?![{}])", needed_style))
    assert [line for line in script if line.count("`") % 2] == []
    assert [line for line in source if line.lstrip().startswith("/**") and not line.endswith("*/")] == []
