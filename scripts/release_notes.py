"""Print the notes of a release: its section of CHANGELOG.md.

python scripts/release_notes.py v1.2.3

Fails if the tag is not the version of the package, or the changelog has no dated section for it. Needs no installation.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def release_notes(tag: str, version: str, changelog: str) -> str:
    """Return the text below the heading of a version, up to the next one.

    Raises:
        ValueError: the tag is not that of the version, or the changelog has no section for it, or an empty one.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, and the version of the package is {version}")
    section = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}\n(.*?)(?=^## |^\[|\Z)", changelog, re.M | re.S
    )
    if section is None or not section[1].strip():
        raise ValueError(f"CHANGELOG.md has no dated section for {version}")
    return section[1].strip() + "\n"


def package_version() -> str:
    """Return the version of the package, from its source."""
    [version] = re.findall(r'^__version__ = "(.+)"$', (ROOT / "opencode_mcp" / "__init__.py").read_text(), re.M)
    return version


def main() -> None:
    """Print the notes of the tag that is named."""
    try:
        sys.stdout.write(release_notes(sys.argv[1], package_version(), (ROOT / "CHANGELOG.md").read_text()))
    except ValueError as error:
        sys.exit(f"release_notes: {error}")


if __name__ == "__main__":
    main()
