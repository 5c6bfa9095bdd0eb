"""The pages of the documentation: every link leads somewhere, in the repository and in the built site."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mcp import Client

from opencode_mcp.catalog import Catalog
from opencode_mcp.server import create_server
from opencode_mcp.settings import Settings
from scripts.build_site import (
    CODE_BLOCK,
    ROOT,
    external_resources,
    iter_links,
    resolve_link,
    site_page,
    site_pages,
    write_source,
)
from scripts.try_opencode2 import ROWS
from tests.e2e.assistants import ASSISTANTS
from tests.opencode2 import scenario_table as on_fake
from tests.opencode2_on_1 import scenario_table as on_opencode_1
from tests.scenarios import SCENARIOS

PAGES = sorted({"README.md", *site_pages(), *(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/**/*.md"))})
LINK_TARGET = re.compile(r"(?<=\]\()(?![a-z][a-z+.-]*:)([^)#\s]*)(?:#([^)\s]+))?(?=\))")
"""The target and fragment of each inline link that is relative, those within the page included."""


def heading_anchors(text: str) -> set[str]:
    """The fragments of a page's headings, as GitHub and the site make them."""
    headings: list[str] = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_point_to_existing_files_and_headings(page: str) -> None:
    """Of images too; external links are not followed."""
    text = (ROOT / page).read_text(encoding="utf-8")
    broken: list[str] = []
    for target, fragment in LINK_TARGET.findall(CODE_BLOCK.sub("", text)):
        path = ROOT / (resolve_link(page, target) if target else page)
        if not path.exists() or (fragment and fragment not in heading_anchors(path.read_text(encoding="utf-8"))):
            broken.append(f"{target}#{fragment}")

    assert broken == []


def test_the_page_about_clients_names_the_versions_that_the_tests_run() -> None:
    """Each has a row of the table."""
    rows = [line for line in (ROOT / "docs" / "clients.md").read_text(encoding="utf-8").splitlines() if "test" in line]

    assert [one.title for one in ASSISTANTS if not any(row.startswith(f"| {one.title} |") for row in rows)] == []


def test_broken_links_are_detected() -> None:
    """A missing page, a missing heading, and those in a code block left out."""
    text = "# One two\n\n[a](gone.md) [b](#one-two) ![c](gone.svg)\n\n```\n[d](code.md)\n# Three\n```\n"

    assert [link[1] for link in iter_links(text)] == ["gone.md", "gone.svg"]
    assert heading_anchors(text) == {"one-two"}
    with pytest.raises(SystemExit, match=r"docs/index\.md links to gone\.md, which does not exist"):
        site_page("docs/index.md", text, site_pages())


def test_the_navigation_has_every_page() -> None:
    """Once each."""
    navigation: list[str] = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)

    assert sorted(navigation) == sorted(site_pages().values())


@pytest.mark.parametrize("start", ["README.md", "docs/index.md"])
def test_every_page_of_docs_is_linked_from_the_start(start: str) -> None:
    """A reader finds each page from either of them."""
    linked = {resolve_link(start, link[1]) for link in iter_links((ROOT / start).read_text(encoding="utf-8"))}

    assert {page for page in site_pages() if page.startswith("docs/")} - {"docs/index.md"} - linked == set()


def test_the_site_has_what_its_pages_link_to(tmp_path: Path) -> None:
    """No link leaves the site, except to other hosts."""
    site = tmp_path / "site"
    write_source(site)
    targets = [
        (page.name, target)
        for page in site.glob("*.md")
        for target, _ in LINK_TARGET.findall(CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))
        if target
    ]

    assert {page for page, _ in targets} >= {"index.md", "scaling.md", "security-policy.md"}
    assert [one for one in targets if not (site / one[1]).resolve().is_relative_to(site.resolve())] == []
    assert [one for one in targets if not (site / one[1]).is_file()] == []


def test_the_page_about_tasks_has_every_field_and_state_of_a_report() -> None:
    """Those of the published output schema."""
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    section = text.partition("## The report\n")[2].partition("\n## ")[0]
    snapshot = json.loads((ROOT / "tests" / "tools" / "snapshots" / "report_task.json").read_text(encoding="utf-8"))
    fields = snapshot["outputSchema"]["properties"]

    named = set(re.findall(r"`(\w+)`", section))
    assert fields.keys() - named - {"turn_tokens", "family_tokens"} == set()
    assert set(fields["state"]["enum"]) <= named


def test_the_page_about_opencode_2_has_current_figures() -> None:
    """Of the scenario table on the fake, and on the v2 API of OpenCode 1."""
    text = " ".join((ROOT / "docs" / "opencode-2.md").read_text(encoding="utf-8").split())
    total, operations = len(SCENARIOS), len(Catalog.from_snapshot(2))

    assert f"{operations} of {operations} operations" in text
    assert f"{len(on_fake.playable())} of the {total} scenarios of tasks run on it" in text
    assert f"{len(on_fake.NOT_PLAYABLE)} have no counterpart" in text
    assert f"{len(on_opencode_1.playable())} of the {total} scenarios pass" in text
    assert f"plays {len(ROWS)} scenarios" in text


@pytest.mark.anyio
async def test_the_page_about_resources_has_each_resource_and_prompt(catalog: Catalog) -> None:
    """As the server lists them while no OpenCode runs."""
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "resources.md").read_text(encoding="utf-8"), re.MULTILINE)

    async with Client(create_server(Settings(), catalog)) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        prompts = (await client.list_prompts()).prompts

    listed = [*(str(resource.uri) for resource in resources), *(template.uri_template for template in templates)]
    assert sorted(rows) == sorted([*listed, *(prompt.name for prompt in prompts)])


def test_resources_from_another_host_are_detected(tmp_path: Path) -> None:
    """Links that a reader follows are not loaded."""
    (tmp_path / "page.html").write_text(
        '<a href="https://opencode.ai">x</a> <script src="a.js"></script> <script defer src="//host/b.js"></script>'
    )
    (tmp_path / "font.css").write_text("a { src: url(https://host/c.woff2) } b { src: url(d.woff2) }")

    assert list(external_resources(tmp_path)) == [
        "font.css: url(https:",
        'page.html: <script defer src="//host/b.js',
    ]
