"""Build the documentation site into build/site, offline; a link to a missing page, heading or file is an error.

python scripts/build_site.py

The pages of docs and those of the project that they link to are copied into build/site-source. Links between them
stay links between pages; any other file of the repository that a page links to is copied beside them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE, SITE = Path("build", "site-source"), Path("build", "site")
STYLE = "site.css"
FILES = "files"
"""The folder of the site for files that are not pages."""

OTHER_PAGES = {
    "CHANGELOG.md": "changelog.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    ".github/SECURITY.md": "security-policy.md",
    "examples/scale/README.md": "scale-example.md",
}
"""Pages that are not in docs, and their names in the site."""

CODE_BLOCK = re.compile(r"^(```|~~~).*?^\1[^\S\n]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?![a-z][a-z+.-]*:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
"""The target and fragment of an inline link that is relative and names a file."""

EXTERNAL_RESOURCE = re.compile(
    r"""<(?:script|link)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^\s"'>]+|@import[^;]*//|url\(["']?https?:"""
)
"""A script, style or font that a page would load from another host."""


def site_pages() -> dict[str, str]:
    """Return every page of the site by its path in the repository."""
    return {f"docs/{page.name}": page.name for page in sorted((ROOT / "docs").glob("*.md"))} | OTHER_PAGES


def iter_links(text: str) -> Iterator[re.Match[str]]:
    """Yield the relative links of a page, those in code blocks left out."""
    code_blocks = [code_block.span() for code_block in CODE_BLOCK.finditer(text)]
    for link in LINK.finditer(text):
        if not any(start <= link.start() < end for start, end in code_blocks):
            yield link


def resolve_link(page: str, target: str) -> str:
    """Return the path in the repository that a page's link leads to."""
    return os.path.normpath(os.path.join(os.path.dirname(page), target)).replace(os.sep, "/")


def site_path(path: str, known: dict[str, str]) -> str:
    """Return where a path of the repository is in the site."""
    if path in known:
        return known[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FILES}/{path}"


def site_page(page: str, text: str, known: dict[str, str]) -> tuple[str, set[str]]:
    """Return a page as the site has it, and the files of the repository that it needs.

    Raises:
        SystemExit: it links to a file that does not exist.
    """
    needed, parts, end = set[str](), list[str](), 0
    for link in iter_links(text):
        path = resolve_link(page, link[1])
        if not (ROOT / path).exists():
            raise SystemExit(f"{page} links to {link[1]}, which does not exist")
        if path not in known:
            needed.add(path)
        parts += [text[end : link.start()], site_path(path, known), link[2] or ""]
        end = link.end()
    return "".join([*parts, text[end:]]), needed


def write_source(folder: Path) -> None:
    """Write the source of the site: every page, and the files that pages link to.

    Raises:
        SystemExit: a page links to a file that does not exist.
    """
    known, needed = site_pages(), {f"docs/{STYLE}"}
    folder.mkdir(parents=True)
    for page, name in known.items():
        text, files = site_page(page, (ROOT / page).read_text(encoding="utf-8"), known)
        (folder / name).write_text(text, encoding="utf-8")
        needed |= files
    for path in needed:
        target = folder / site_path(path, known)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)


def external_resources(site: Path) -> Iterator[str]:
    """Yield each file of a site that loads a script, style or font from another host, with the reference."""
    for file in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        for match in EXTERNAL_RESOURCE.finditer(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(site)}: {match[0]}"


def main() -> int:
    """Build the site; return 0, or 1 if zensical finds a broken link or a page loads something from another host."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    write_source(ROOT / SOURCE)
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT)
    external = list(external_resources(ROOT / SITE))
    print(*external, sep="\n", end="\n" if external else "")
    return int(built.returncode != 0 or bool(external))


if __name__ == "__main__":
    sys.exit(main())
